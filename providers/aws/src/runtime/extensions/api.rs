//! The requests of extensions: the Extensions API (2020-01-01), the Telemetry API (2022-07-01) and the Logs API
//! (2020-08-15), at the address of the Runtime API.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use sonagi_wire::read_limited;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::registry::{Refused, Registry, Wants};
use super::subscription::{self, Api};
use super::telemetry::Telemetry;
use crate::runtime::answers::{self, Answer};
use crate::runtime::socket;

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const EVENT_IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-event-identifier");
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
const ACCEPT_FEATURE: &str = "lambda-extension-accept-feature";

/// Bytes of a request's body. Source: the emulator, which limits all but responses to 1 MiB.
const BODY: usize = 1024 * 1024;

/// Whether a path is one of these APIs.
pub(crate) fn is_extension_path(path: &str) -> bool {
    path.starts_with("/2020-01-01/extension/") || Api::of(path).is_some()
}

/// Answers for one instance.
#[derive(Debug)]
pub(crate) struct ExtensionApi {
    pub(crate) registry: Arc<Registry>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) function: Described,
}

/// What `register` says of the function.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) handler: String,
    pub(crate) account: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

impl ExtensionApi {
    /// Answers one request to a path of these APIs.
    pub(crate) async fn answer(&self, request: Request<Incoming>, stream: &TcpStream) -> Answer {
        let path = request.uri().path().to_owned();
        if let Some(api) = Api::of(&path) {
            return self.subscribe(api, request).await;
        }
        let call = path.strip_prefix("/2020-01-01/extension/").unwrap_or_default();
        let method = match call {
            "register" | "init/error" | "exit/error" => Method::POST,
            "event/next" => Method::GET,
            _ => return answers::not_found(),
        };
        if request.method() != method {
            return answers::method_not_allowed();
        }
        let answered = match call {
            "register" => self.register(request).await,
            "event/next" => self.next(&request, stream).await,
            "init/error" => self.give_notice(&request, "Extension.InitError"),
            _ => self.give_notice(&request, "Extension.ExitError"),
        };
        answered.unwrap_or_else(|refused| answers::forbidden(refused.kind, &refused.text))
    }

    async fn register(&self, request: Request<Incoming>) -> Result<Answer, Refused> {
        let name = text(&request, NAME).filter(|name| !name.is_empty() && name.len() <= 128);
        let name = name.ok_or_else(|| Refused::new("Extension.InvalidExtensionName", "Empty extension name"))?;
        let wants_account = text(&request, ACCEPT_FEATURE).is_some_and(|list| {
            let mut features = list.split(',');
            features.any(|feature| feature.trim() == "accountId")
        });
        let invalid = |text: String| Refused::new("InvalidRequestFormat", text);
        let body = read_limited(request.into_body(), BODY).await;
        let body = body.map_err(|error| invalid(error.to_string()))?;
        let input: Registration = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
        let mut wants = Wants::default();
        for event in &input.events {
            match event.as_str() {
                "INVOKE" => wants.invoke = true,
                "SHUTDOWN" => wants.shutdown = true,
                other => {
                    let text = format!("{other}: unknown event type");
                    return Err(Refused::new("Extension.InvalidEventType", text));
                }
            }
        }
        let id = self.registry.register(&name, wants)?;
        let function = &self.function;
        let mut said = json!({
            "functionName": function.name,
            "functionVersion": function.version,
            "handler": function.handler,
        });
        if wants_account {
            said["accountId"] = function.account.as_str().into();
        }
        let mut answer = answers::said(StatusCode::OK, said.to_string().into());
        answer.headers_mut().insert(IDENTIFIER, header(id));
        Ok(answer)
    }

    async fn next(&self, request: &Request<Incoming>, stream: &TcpStream) -> Result<Answer, Refused> {
        let id = identifier(request)?;
        let told = tokio::select! {
            biased;
            told = self.registry.next(id) => told?,
            () = socket::gone(stream) => return Err(Refused::new("Extension.InvalidExtensionState", "gone")),
        };
        let mut answer = answers::said(StatusCode::OK, told.body);
        answer.headers_mut().insert(EVENT_IDENTIFIER, header(told.id));
        Ok(answer)
    }

    fn give_notice(&self, request: &Request<Incoming>, kind: &'static str) -> Result<Answer, Refused> {
        let id = identifier(request)?;
        let said = text(request, ERROR_TYPE).filter(|said| !said.is_empty());
        let said = said.ok_or_else(|| {
            let text = "Lambda-Extension-Function-Error-Type header is missing";
            Refused::new("Extension.MissingHeader", text)
        })?;
        self.registry.give_notice(id, kind, &said)?;
        Ok(answers::accepted())
    }

    async fn subscribe(&self, api: Api, request: Request<Incoming>) -> Answer {
        if request.method() != Method::PUT {
            return answers::method_not_allowed();
        }
        let id = match identifier(&request) {
            Ok(id) => id,
            Err(refused) => return answers::forbidden(refused.kind, &refused.text),
        };
        let name = match self.registry.name(id) {
            Ok(name) => name,
            Err(refused) => return answers::forbidden(refused.kind, &refused.text),
        };
        if !self.registry.initializes() {
            return answers::forbidden(api.closed(), "Subscription is closed already");
        }
        let body = match read_limited(request.into_body(), BODY).await {
            Ok(body) => body,
            Err(_) => return answers::truncated(),
        };
        let wanted = match subscription::read(api, &body) {
            Ok(wanted) => wanted,
            Err(text) => return answers::invalid(&text),
        };
        match self.telemetry.subscribe(id, &name, wanted) {
            Ok(()) => answers::said(StatusCode::OK, Bytes::from_static(b"\"OK\"")),
            Err(text) => answers::unsupported(api.unsupported(), &text),
        }
    }
}

fn identifier(request: &Request<Incoming>) -> Result<Uuid, Refused> {
    let text = text(request, IDENTIFIER.as_str()).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        let text = "Missing Lambda-Extension-Identifier header";
        Refused::new("Extension.MissingExtensionIdentifier", text)
    })?;
    text.parse().map_err(|_| {
        let text = "Invalid Lambda-Extension-Identifier";
        Refused::new("Extension.InvalidExtensionIdentifier", text)
    })
}

fn text(request: &Request<Incoming>, name: &str) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn header(id: Uuid) -> HeaderValue {
    HeaderValue::from_str(&id.to_string()).expect("digits and dashes")
}
