//! Web actions: actions that anybody may call by HTTP, their requests and answers.
//! Source: apache/openwhisk (commit 1fae641), `WebActions.scala`.

mod request;
mod response;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use sonagi_wire::Body;

use crate::accounts::Account;
use crate::api::{self, Api, Limit};
use crate::entities::KeyValues;
use crate::errors::{NOT_ALLOWED, Style, WhiskError};
use crate::estate::Callable;
use crate::invoke::{self, Activation, Caller, Order, Waited, id_text};
use crate::names::FullName;
use crate::runtime::classify::Status;

pub(crate) use request::headers_of;

/// The prefix of web actions' paths.
pub(crate) const PATH: &str = "/api/v1/web";

/// What an answer is made of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Http,
    Json,
    Html,
    Svg,
    Text,
}

impl Extension {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "json" => Some(Self::Json),
            "html" => Some(Self::Html),
            "svg" => Some(Self::Svg),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    action: FullName,
    extension: Extension,
    /// What follows, with its slash, or nothing.
    rest: String,
}

/// Reads a path below [`PATH`].
fn route(path: &str) -> Option<Route> {
    let mut parts = path.trim_start_matches('/').splitn(4, '/');
    let mut segment = || {
        let text = parts.next().filter(|text| !text.is_empty())?;
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    let (namespace, package, action) = (segment()?, segment()?, segment()?);
    let rest = parts.next().map_or_else(String::new, |rest| format!("/{rest}"));
    let rest = percent_encoding::percent_decode_str(&rest)
        .decode_utf8_lossy()
        .into_owned();
    let (name, extension) = match action.rsplit_once('.') {
        Some((name, extension)) => match Extension::parse(extension) {
            Some(extension) if !name.is_empty() => (name.to_owned(), extension),
            Some(_) | None => (action.clone(), Extension::Http),
        },
        None => (action.clone(), Extension::Http),
    };
    let package = (package != "default").then_some(package);
    let action = FullName::new(&namespace, package.as_deref(), &name);
    Some(Route {
        action,
        extension,
        rest,
    })
}

/// What an action's annotations say about its requests.
struct Manner<'a>(&'a KeyValues);

impl Manner<'_> {
    fn is_true(&self, key: &str) -> bool {
        self.0.get(key) == Some(&Value::Bool(true))
    }

    /// Whether the action answers `OPTIONS` itself.
    fn own_options(&self) -> bool {
        self.is_true("web-custom-options")
    }

    /// Whether a request may pass.
    fn admits(&self, headers: &HeaderMap, user: Option<&Arc<Account>>) -> bool {
        let given = |wanted: &str| {
            let header = headers
                .get("x-require-whisk-auth")
                .and_then(|value| value.to_str().ok());
            header.is_some_and(|header| bool::from(subtle::ConstantTimeEq::ct_eq(header.as_bytes(), wanted.as_bytes())))
        };
        match self.0.get("require-whisk-auth") {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Bool(true)) => user.is_some(),
            Some(Value::String(wanted)) => given(wanted),
            Some(Value::Number(wanted)) => given(&wanted.to_string()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) => false,
        }
    }
}

impl Api {
    /// Answers a request of a web action.
    pub(crate) async fn web(&self, parts: &Parts, body: Incoming, transaction: &str) -> Response<Body> {
        let path = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
        self.web_at(parts, path, body, transaction).await
    }

    /// Answers a request with the web action at a path below [`PATH`].
    pub(crate) async fn web_at(&self, parts: &Parts, path: &str, body: Incoming, transaction: &str) -> Response<Body> {
        let answered = Box::pin(self.web_action(parts, path, body, transaction)).await;
        answered.unwrap_or_else(|error| error.response(transaction, Style::Pretty))
    }

    async fn web_action(
        &self,
        parts: &Parts,
        path: &str,
        body: Incoming,
        transaction: &str,
    ) -> Result<Response<Body>, WhiskError> {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::PATCH,
        ];
        if !known.contains(&parts.method) {
            return Err(WhiskError::method("OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"));
        }
        let Route {
            action,
            extension,
            rest,
        } = route(path).ok_or_else(WhiskError::missing)?;
        let owner = self.accounts.get(&action.namespace).ok_or_else(WhiskError::missing)?;
        let callable = self
            .estate
            .callable(&owner.namespace, &action)
            .map_err(|_| WhiskError::missing())?;
        let manner = Manner(&callable.record.head.annotations);
        if !manner.is_true("web-export") {
            return Err(WhiskError::missing());
        }
        let user = self
            .accounts
            .authenticate(&parts.headers)
            .ok()
            .filter(|_| parts.headers.contains_key(http::header::AUTHORIZATION));
        let own_options = manner.own_options();
        let answered = if parts.method == Method::OPTIONS && !own_options {
            Ok(Response::new(sonagi_wire::empty()))
        } else if parts.method != Method::OPTIONS && !manner.admits(&parts.headers, user.as_ref()) {
            Err(WhiskError::unauthorized())
        } else {
            let call = WebCall {
                parts,
                rest: &rest,
                extension,
                user: user.as_deref(),
                owner: &owner,
                transaction,
            };
            self.run_web(call, callable, body).await
        };
        let mut response = answered.unwrap_or_else(|error| error.response(transaction, Style::Pretty));
        if !own_options {
            allow_origins(response.headers_mut(), &parts.headers);
        }
        Ok(response)
    }

    async fn run_web(
        &self,
        call: WebCall<'_>,
        callable: Callable,
        body: Incoming,
    ) -> Result<Response<Body>, WhiskError> {
        let limit = Limit {
            what: "Request",
            bytes: self.limits.payload,
            told: self.limits.payload,
        };
        let body = api::read(body, &call.parts.headers, limit).await?;
        let annotations = &callable.record.head.annotations;
        let raw = annotations.get("raw-http") == Some(&Value::Bool(true));
        let arguments = request::arguments(&call, &body, raw)?;
        if annotations.is_truthy("final") && request::redefines(&arguments, &callable) {
            return Err(WhiskError::bad(NOT_ALLOWED));
        }
        let now = self.estate.clock.now();
        let running = self.invoker.throttle.invoke(&call.owner.namespace, now, &self.limits)?;
        let order = Order {
            id: invoke::new_id(),
            caller: Caller {
                namespace: call.owner.namespace.clone(),
                api_key: call.owner.auth(),
            },
            arguments: invoke::given(&callable, Value::Object(arguments)),
            callable,
            cause: None,
            in_sequence: false,
            transaction: call.transaction.to_owned(),
            asked: self.estate.now_ms(),
        };
        let id = id_text(order.id);
        let waited = Arc::clone(&self.invoker)
            .wait_for(order, running, self.limits.blocking)
            .await;
        let answered = match waited {
            Waited::Over(activation) => answer(&activation, call.extension),
            Waited::Running => Err(WhiskError::new(StatusCode::ACCEPTED, "Response not yet ready.")),
            Waited::Lost => Err(WhiskError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "There was an internal server error.",
            )),
        };
        let response = answered.unwrap_or_else(|error| error.response(call.transaction, Style::Pretty));
        Ok(api::with_activation(response, &id))
    }
}

/// A request of a web action.
pub(crate) struct WebCall<'a> {
    parts: &'a Parts,
    rest: &'a str,
    extension: Extension,
    user: Option<&'a Account>,
    owner: &'a Account,
    transaction: &'a str,
}

fn answer(activation: &Activation, extension: Extension) -> Result<Response<Body>, WhiskError> {
    let result = match activation.verdict.status {
        Status::Success => activation.verdict.result.clone(),
        Status::ApplicationError => activation.verdict.result.get("error").cloned().unwrap_or_default(),
        Status::DeveloperError | Status::InternalError => {
            return Err(WhiskError::bad("There was an error processing your request."));
        }
    };
    response::of(result, extension)
}

/// Who may read answers of web actions: everybody.
pub(crate) fn allow_origins(headers: &mut HeaderMap, request: &HeaderMap) {
    let standard = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent";
    let asked = request.get(http::header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static("OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"),
    );
    headers.insert(
        "access-control-allow-headers",
        asked.unwrap_or(HeaderValue::from_static(standard)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_actions_with_their_extension() {
        let check = |path: &str, expected: Option<(&str, Extension, &str)>| {
            let found = route(path);
            let found = found
                .as_ref()
                .map(|route| (route.action.to_string(), route.extension, route.rest.clone()));
            let expected = expected.map(|(name, extension, rest)| (name.to_owned(), extension, rest.to_owned()));
            assert_eq!(found, expected, "{path}");
        };
        check("/ns/p/a", Some(("ns/p/a", Extension::Http, "")));
        check("/ns/default/a.json/x/y%20z", Some(("ns/a", Extension::Json, "/x/y z")));
        check("/ns/p/a.b.text", Some(("ns/p/a.b", Extension::Text, "")));
        check("/ns/p/a.exe/", Some(("ns/p/a.exe", Extension::Http, "/")));
        check("/ns/p", None);
        check("/ns", None);
        check("", None);
    }
}
