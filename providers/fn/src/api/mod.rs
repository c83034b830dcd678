//! The REST API below `/v2`.
//! Source: fnproject/fn 0.3.753, `api/server`, and the server itself, observed.

mod apps;
mod fns;
mod page;
mod sources;
mod triggers;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sonagi_wire::{Body, BodyError, read_limited};

use crate::accounts::{Account, Accounts, FIRST};
use crate::errors::FnError;
use crate::estate::{Code, Estate};
use crate::limits::FnLimits;
use crate::records::{Base, Recipe};
use crate::source::{Sources, is_reference};

pub(crate) use apps::fresh as fresh_app;
pub(crate) use fns::FnBody;
pub(crate) use triggers::TriggerBody;

/// How long a body may take to arrive.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// Everything that answers need.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) estate: Arc<Estate>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) limits: Arc<FnLimits>,
    /// The address that the platform listens on, for clients that say none.
    pub(crate) address: std::net::SocketAddr,
}

/// One request, read and authenticated.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) account: Arc<Account>,
    pub(crate) query: HashMap<String, String>,
    pub(crate) body: Bytes,
    pub(crate) base: Base,
}

impl Call {
    /// The body as a document of this form.
    ///
    /// # Errors
    /// 400 `Invalid JSON`, also for an empty one and for members of another type.
    fn document<T: DeserializeOwned>(&self) -> Result<T, FnError> {
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| FnError::invalid_json())?;
        if !value.is_object() {
            return Err(FnError::invalid_json());
        }
        serde_json::from_value(value).map_err(|_| FnError::invalid_json())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }
}

pub(crate) type Answer = Result<Response<Body>, FnError>;

/// An answer with a document.
pub(crate) fn document(value: &Value) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(value.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

fn ok(value: &Value) -> Answer {
    Ok(document(value))
}

fn no_content() -> Answer {
    let mut response = Response::new(sonagi_wire::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// What upstream says of a path that it does not have.
pub(crate) fn no_path(parts: &Parts) -> FnError {
    FnError::missing(format!("Path not found: {} {}", parts.method, parts.uri.path()))
}

/// What upstream says of a method that a path does not have.
pub(crate) fn no_method(parts: &Parts) -> FnError {
    let text = format!("Method not allowed: {} {}", parts.method, parts.uri.path());
    FnError::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

impl Api {
    /// Answers a request below `/v2`.
    pub(crate) async fn answer(&self, parts: &Parts, body: Incoming) -> Answer {
        let path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let Some((&"v2", rest)) = path.split_first() else {
            return Err(no_path(parts));
        };
        let account = self.accounts.authenticate(&parts.headers)?;
        let limit = if rest == ["sources"] {
            self.limits.source
        } else {
            self.limits.document
        };
        let call = Call {
            base: self.base(&parts.headers, &account.name),
            query: query(parts.uri.query().unwrap_or_default()),
            body: read(body, limit).await?,
            account,
        };
        match (rest, &parts.method) {
            (["apps"], &Method::GET) => self.list_apps(&call),
            (["apps"], &Method::POST) => self.create_app(&call).await,
            (["apps", id], &Method::GET) => self.get_app(&call, id),
            (["apps", id], &Method::PUT) => self.update_app(&call, id).await,
            (["apps", id], &Method::DELETE) => self.delete_app(&call, id).await,
            (["fns"], &Method::GET) => self.list_fns(&call),
            (["fns"], &Method::POST) => self.create_fn(&call).await,
            (["fns", id], &Method::GET) => self.get_fn(&call, id),
            (["fns", id], &Method::PUT) => self.update_fn(&call, id).await,
            (["fns", id], &Method::DELETE) => self.delete_fn(&call, id).await,
            // Upstream had records of calls once.
            (["fns", _, "calls", ..], &Method::GET) => gone(),
            (["triggers"], &Method::GET) => self.list_triggers(&call),
            (["triggers"], &Method::POST) => self.create_trigger(&call).await,
            (["triggers", id], &Method::GET) => self.get_trigger(&call, id),
            (["triggers", id], &Method::PUT) => self.update_trigger(&call, id).await,
            (["triggers", id], &Method::DELETE) => self.delete_trigger(&call, id).await,
            (["sources"], &Method::POST) => self.upload(&call).await,
            (["apps" | "fns" | "triggers"] | ["apps" | "fns" | "triggers", _] | ["sources"], _) => {
                Err(no_method(parts))
            }
            _ => Err(no_path(parts)),
        }
    }

    /// The beginning of the addresses that a client is told: the host that it asked.
    pub(crate) fn base(&self, headers: &HeaderMap, account: &str) -> Base {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let url = host.map_or_else(|| format!("http://{}", self.address), |host| format!("http://{host}"));
        self.base_at(url, account)
    }

    pub(crate) fn base_at(&self, url: String, account: &str) -> Base {
        let first = self.accounts.first().map(|first| first.name.clone());
        let is_first = first.as_deref().unwrap_or(FIRST) == account;
        Base {
            url,
            prefix: if is_first { String::new() } else { format!("{account}:") },
        }
    }

    /// The code that an image means.
    ///
    /// # Errors
    /// 404 for the reference of an upload that this account does not have.
    pub(crate) fn code(&self, account: &str, image: &str) -> Result<(Code, Option<Recipe>), FnError> {
        match self.sources.find(account, image) {
            Some(source) => Ok((Code::Of(source.artifact.clone()), Some(source.recipe.clone()))),
            None if is_reference(image) => Err(FnError::no_image(
                image,
                "no such folder was uploaded; POST it to /v2/sources",
            )),
            None => Ok((Code::None, None)),
        }
    }
}

fn gone() -> Answer {
    let mut response = Response::new(sonagi_wire::empty());
    *response.status_mut() = StatusCode::GONE;
    Ok(response)
}

fn query(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Reads a body within its bound.
///
/// # Errors
/// 413, 400 for one that breaks off, 408 for one that does not come.
pub(crate) async fn read(body: Incoming, limit: usize) -> Result<Bytes, FnError> {
    match tokio::time::timeout(PATIENCE, read_limited(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::TooLarge { .. })) => Err(FnError::too_large()),
        Ok(Err(BodyError::Broken(_))) => Err(FnError::bad("the body broke off")),
        Err(_elapsed) => Err(FnError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )),
    }
}
