//! The REST API below `/api/v1`, web actions aside.
//! Source: apache/openwhisk (commit 1fae641), `RestAPIs.scala`, `ApiUtils.scala`, and what npm `openwhisk` 3.21.9 sends.

mod actions;
mod activations;
mod info;
mod packages;
mod query;
mod rules;
mod system;
mod triggers;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use sonagi_ports::Archive;
use sonagi_wire::{Body, BodyError, TooSlow, read_paced};

use crate::accounts::{Account, Accounts};
use crate::alarms::Alarms;
use crate::errors::{Style, WhiskError};
use crate::estate::Estate;
use crate::invoke::{Caller, Invoker};
use crate::limits::WhiskLimits;
use crate::names::{OWN, SYSTEM};

pub(crate) use info::root;
pub(crate) use query::Query;
pub(crate) use triggers::{Firing, fire};

/// Everything that answers need.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) estate: Arc<Estate>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) limits: Arc<WhiskLimits>,
    pub(crate) alarms: Arc<Alarms>,
}

/// One request, read and authenticated.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Decoded segments of the path below `/api/v1`.
    pub(crate) path: Vec<String>,
    /// Whether the path ends in a slash.
    pub(crate) slash: bool,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) transaction: String,
    pub(crate) account: Arc<Account>,
}

impl Call {
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            namespace: self.account.namespace.clone(),
            api_key: self.account.auth(),
        }
    }

    /// The body as a JSON object; an empty one is an empty object.
    pub(crate) fn document(&self) -> Result<Map<String, Value>, WhiskError> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(WhiskError::malformed("Object expected")),
            Err(error) => Err(WhiskError::malformed(error)),
        }
    }

    /// The body of something that is to be put, which must be there.
    pub(crate) fn description(&self) -> Result<Map<String, Value>, WhiskError> {
        if self.body.is_empty() {
            return Err(WhiskError::bad("Request entity expected but not supplied"));
        }
        self.document()
    }
}

pub(crate) type Answer = Result<Response<Body>, WhiskError>;

/// An answer with a document.
pub(crate) fn document(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn ok(value: &Value) -> Answer {
    Ok(document(StatusCode::OK, value))
}

/// An answer that names an activation.
pub(crate) fn with_activation(mut response: Response<Body>, id: &str) -> Response<Body> {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-openwhisk-activation-id", id);
    }
    response
}

/// Whether a member that must be a boolean is true.
pub(crate) fn flag(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, WhiskError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(WhiskError::malformed(format!("{name} must be true or false"))),
    }
}

/// The version that a request gives, or the one that follows.
pub(crate) fn version(
    body: &Map<String, Value>,
    old: Option<crate::entities::Version>,
) -> Result<crate::entities::Version, WhiskError> {
    match body.get("version") {
        None | Some(Value::Null) => Ok(old.map_or_else(Default::default, crate::entities::Version::next)),
        Some(Value::String(text)) => crate::entities::Version::parse(text),
        Some(_) => Err(WhiskError::malformed("version must be a text")),
    }
}

/// Newest first, a page of them, or their number.
pub(crate) fn page(query: &Query, limits: &WhiskLimits, collection: &str, mut rows: Vec<(i64, Value)>) -> Answer {
    let page = query.page(limits, collection)?;
    rows.sort_by_key(|(updated, _)| std::cmp::Reverse(*updated));
    let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
    if page.count {
        return ok(&json!({ collection: rows.len().saturating_sub(skip) }));
    }
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let rows = rows.into_iter().skip(skip).take(limit).map(|(_, row)| row);
    ok(&Value::Array(rows.collect()))
}

impl Api {
    /// Answers a request below `/api/v1` that is no web action.
    pub(crate) async fn answer(&self, parts: &Parts, body: Incoming, transaction: &str) -> Response<Body> {
        let answered = Box::pin(self.authenticated(parts, body, transaction)).await;
        let mut response = answered.unwrap_or_else(|error| error.response(transaction, Style::Compact));
        allow_origins(response.headers_mut());
        response
    }

    async fn authenticated(&self, parts: &Parts, body: Incoming, transaction: &str) -> Answer {
        let raw = parts.uri.path().strip_prefix("/api/v1").unwrap_or_default();
        if parts.method == Method::OPTIONS {
            return Ok(Response::new(sonagi_wire::empty()));
        }
        let path = segments(raw)?;
        match path.first().map(String::as_str) {
            None if parts.method == Method::GET || parts.method == Method::HEAD => return ok(&info::version()),
            Some("api-docs") => return ok(&info::api_docs()),
            None => return Err(WhiskError::method("GET")),
            Some(_) => {}
        }
        let account = self.accounts.authenticate(&parts.headers)?;
        let limit = self.body_limit(&parts.method, &path);
        let call = Call {
            method: parts.method.clone(),
            slash: raw.len() > 1 && raw.ends_with('/'),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            headers: parts.headers.clone(),
            body: read(body, &parts.headers, limit).await?,
            transaction: transaction.to_owned(),
            account,
            path,
        };
        Box::pin(self.route(call)).await
    }

    /// How much of a body is read: code is large, everything else is small.
    fn body_limit(&self, method: &Method, path: &[String]) -> Limit {
        if *method == Method::PUT {
            Limit {
                what: "exec",
                bytes: self.limits.code + 4 * self.limits.payload,
                told: self.limits.code,
            }
        } else {
            let what = if path
                .get(2)
                .is_some_and(|collection| collection == "triggers" || collection == "actions")
            {
                "Request"
            } else {
                "Body"
            };
            Limit {
                what,
                bytes: self.limits.payload,
                told: self.limits.payload,
            }
        }
    }

    /// Answers an authenticated request.
    pub(crate) async fn route(&self, call: Call) -> Answer {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let own = call.account.namespace.clone();
        let unknown = || WhiskError::new(StatusCode::NOT_FOUND, "The requested resource could not be found.");
        let (namespace, collection, rest) = match path.as_slice() {
            ["namespaces"] => {
                return match call.method {
                    Method::GET | Method::HEAD => ok(&json!([own])),
                    _ => Err(WhiskError::method("GET")),
                };
            }
            ["namespaces", namespace] => {
                let namespace = if *namespace == OWN { own.as_str() } else { namespace };
                return self.namespace(&call, namespace);
            }
            ["namespaces", namespace, collection, rest @ ..] => (*namespace, *collection, rest),
            _ => return Err(unknown()),
        };
        let namespace = if namespace == OWN { own.as_str() } else { namespace };
        if namespace == SYSTEM {
            return self.system(&call, collection, rest).await;
        }
        match collection {
            "limits" if rest.is_empty() => self.namespace_limits(&call, namespace),
            "actions" => Box::pin(self.actions(&call, namespace, rest)).await,
            "packages" => self.packages(&call, namespace, rest).await,
            "triggers" => self.triggers(&call, namespace, rest).await,
            "rules" => self.rules(&call, namespace, rest).await,
            "activations" => self.activations(&call, namespace, rest).await,
            _ => Err(unknown()),
        }
    }
}

/// A namespace that must be the caller's own.
pub(crate) fn own_only(call: &Call, namespace: &str, entity: &str) -> Result<(), WhiskError> {
    if call.account.namespace == namespace {
        Ok(())
    } else if entity.is_empty() {
        Err(WhiskError::forbidden(namespace))
    } else {
        Err(WhiskError::forbidden(format!("{namespace}/{entity}")))
    }
}

/// The decoded segments of a path.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, WhiskError> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            percent_encoding::percent_decode_str(part)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| WhiskError::malformed("the path is not UTF-8"))
        })
        .collect()
}

/// A bound of a body, and what is said of one that is larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) what: &'static str,
    pub(crate) bytes: usize,
    pub(crate) told: usize,
}

/// Reads a body within its bound.
///
/// # Errors
/// 413, 400 for one that breaks off, 408 for one that does not come.
pub(crate) async fn read(body: Incoming, headers: &HeaderMap, limit: Limit) -> Result<Bytes, WhiskError> {
    match read_paced(body, limit.bytes).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::TooLarge { .. })) => {
            let declared = headers
                .get(header::CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
            let actual = declared.unwrap_or(limit.bytes + 1);
            Err(WhiskError::too_large(
                limit.what,
                actual.max(limit.told + 1),
                limit.told,
            ))
        }
        Ok(Err(BodyError::Broken(_))) => Err(WhiskError::malformed("the body broke off")),
        Err(TooSlow) => Err(WhiskError::new(
            StatusCode::REQUEST_TIMEOUT,
            "The request body did not arrive in time.",
        )),
    }
}

/// Every answer of the API may be read by pages from anywhere.
pub(crate) fn allow_origins(headers: &mut HeaderMap) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-headers",
            "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
        ),
        ("access-control-allow-methods", "GET, DELETE, POST, PUT, HEAD"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
