//! Making, listing and removing routes.

use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use sonagi_wire::Body;

use super::RouteApi;
use super::document::{self, Endpoint};
use super::gateway;
use crate::api::{self, Api, Limit, Query};
use crate::errors::{Style, WhiskError};
use crate::names::OWN;

/// Where upstream has the web actions that manage routes.
pub(crate) const MANAGEMENT: &str = "/api/v1/web/whisk.system/apimgmt/";

/// APIs of one namespace.
const APIS: usize = 1000;

/// Upstream's actions fail as application errors, which this is.
fn failed(what: &str, why: impl std::fmt::Display) -> WhiskError {
    WhiskError::new(StatusCode::BAD_GATEWAY, format!("{what}{why}"))
}

fn invalid(why: impl std::fmt::Display) -> WhiskError {
    failed("", why)
}

impl Api {
    /// Answers a request below [`MANAGEMENT`].
    pub(crate) async fn manage_routes(&self, parts: &Parts, body: Incoming, transaction: &str) -> Response<Body> {
        let answered = Box::pin(self.manage(parts, body)).await;
        let mut response = answered.map_or_else(
            |error| error.response(transaction, Style::Compact),
            |value| api::document(StatusCode::OK, &value),
        );
        api::allow_origins(response.headers_mut());
        response
    }

    async fn manage(&self, parts: &Parts, body: Incoming) -> Result<Value, WhiskError> {
        let name = parts.uri.path().strip_prefix(MANAGEMENT).unwrap_or_default();
        let name = name
            .strip_suffix(".http")
            .or_else(|| name.strip_suffix(".json"))
            .unwrap_or(name);
        let wanted = match name {
            "createApi" => Method::POST,
            "getApi" => Method::GET,
            "deleteApi" => Method::DELETE,
            _ => return Err(WhiskError::missing()),
        };
        if parts.method == Method::OPTIONS {
            return Ok(json!({}));
        }
        if parts.method != wanted {
            return Err(WhiskError::method(wanted.as_str()));
        }
        let own = self.accounts.authenticate(&parts.headers)?.namespace.clone();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let origin = gateway::origin(parts);
        if wanted == Method::POST {
            let limit = Limit {
                what: "Request",
                bytes: self.limits.payload,
                told: self.limits.payload,
            };
            let body = api::read(body, &parts.headers, limit).await?;
            let message: Map<String, Value> = serde_json::from_slice(&body).map_err(WhiskError::malformed)?;
            return self.create_route(&own, &message, &query, &origin).await;
        }
        if wanted == Method::DELETE {
            return self.delete_route(&own, &query).await;
        }
        let apis = match query.get("basepath").filter(|text| !text.is_empty()) {
            Some(name) => self.route_api(&own, name).into_iter().collect(),
            None => self.estate.routes.of(&own),
        };
        let narrowed = apis.iter().filter_map(|api| {
            let api = narrowed(api, query.get("relpath"), query.get("operation"))?;
            Some(json!({ "id": format!("API:{own}:{}", api.base), "key": own, "value": shown(&own, &api, &origin) }))
        });
        Ok(json!({ "apis": narrowed.collect::<Vec<_>>() }))
    }

    /// An API by its base path, or by its name where that does not begin with a slash.
    fn route_api(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<RouteApi>> {
        if name.starts_with('/') {
            return self.estate.routes.get(namespace, name);
        }
        self.estate
            .routes
            .of(namespace)
            .into_iter()
            .find(|api| api.title() == name)
    }

    pub(crate) async fn create_route(
        &self,
        own: &str,
        message: &Map<String, Value>,
        query: &Query,
        origin: &str,
    ) -> Result<Value, WhiskError> {
        let given = parsed(message.get("apidoc"), "apidoc")?;
        let swagger = given.get("swagger").filter(|swagger| !swagger.is_null());
        let _turn = self.estate.turn(own).await;
        let document = if swagger.is_some() {
            if given.contains_key("gatewayBasePath") {
                return Err(invalid(
                    "swagger and gatewayBasePath are mutually exclusive and cannot be specified together.",
                ));
            }
            let mut document = Value::Object(parsed(swagger, "swagger")?);
            for field in ["basePath", "paths", "info"] {
                if document[field].is_null() {
                    return Err(invalid(format!("swagger is missing the {field} field.")));
                }
            }
            if document["info"]["title"].is_null() {
                document["info"]["title"] = document["basePath"].clone();
            }
            document::check(&document).map_err(|why| failed("API creation failure: ", why))?;
            document
        } else {
            let base = text(&given, "apidoc", "gatewayBasePath")?;
            let responses = query
                .get("responsetype")
                .or_else(|| message.get("responsetype")?.as_str());
            let endpoint = endpoint(&given, own, responses.unwrap_or("json"), origin)?;
            let title = given.get("apiName").and_then(Value::as_str).unwrap_or(base);
            let known = self.estate.routes.get(own, base);
            let mut document = known.map_or_else(|| document::empty(base, title), |api| api.document.clone());
            document::add(&mut document, &endpoint).map_err(|why| failed("API creation failure: ", why))?;
            document
        };
        let base = document["basePath"].as_str().unwrap_or("/").to_owned();
        let size = document.to_string().len();
        if size > self.limits.payload {
            return Err(WhiskError::too_large("swagger", size, self.limits.payload));
        }
        if self.estate.routes.get(own, &base).is_none() && self.estate.routes.of(own).len() >= APIS {
            return Err(failed(
                "API creation failure: ",
                format!("the namespace has {APIS} APIs already"),
            ));
        }
        let api = RouteApi {
            base: base.clone(),
            document,
        };
        let api = self.estate.routes.put(own, &base, api).await?;
        Ok(shown(own, &api, origin))
    }

    async fn delete_route(&self, own: &str, query: &Query) -> Result<Value, WhiskError> {
        let named = |name: &str| query.get(name).filter(|text| !text.is_empty());
        let name = named("basepath").ok_or_else(|| invalid("basepath is required."))?;
        let method = named("operation").map(str::to_lowercase);
        let path = named("relpath");
        if path.is_none() && method.is_some() {
            return Err(invalid("When specifying an operation, the path is required."));
        }
        let _turn = self.estate.turn(own).await;
        let failed = |why: String| failed("API deletion failure: ", why);
        let api = self
            .route_api(own, name)
            .ok_or_else(|| failed(format!("API '{name}' does not exist.")))?;
        let mut document = api.document.clone();
        if let Some(path) = path {
            document::remove(&mut document, path, method.as_deref()).map_err(failed)?;
        }
        if path.is_none() || document::is_empty(&document) {
            self.estate.routes.remove(own, &api.base).await?;
        } else {
            let base = api.base.clone();
            let changed = RouteApi {
                base: base.clone(),
                document,
            };
            self.estate.routes.put(own, &base, changed).await?;
        }
        Ok(json!({}))
    }
}

/// An object, or a text with one.
fn parsed(value: Option<&Value>, name: &str) -> Result<Map<String, Value>, WhiskError> {
    match value {
        None | Some(Value::Null) => Err(invalid(format!("{name} is required."))),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|_| invalid(format!("{name} field cannot be parsed. Ensure it is valid JSON."))),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_)) => Err(invalid(format!(
            "{name} field should be a JSON object or a JSON string."
        ))),
    }
}

fn text<'a>(object: &'a Map<String, Value>, of: &str, name: &str) -> Result<&'a str, WhiskError> {
    let found = object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| invalid(format!("{of} is missing the {name} field")))
}

/// The operation that a message describes.
fn endpoint(given: &Map<String, Value>, own: &str, extension: &str, origin: &str) -> Result<Endpoint, WhiskError> {
    if !["http", "json", "html", "svg", "text"].contains(&extension) {
        return Err(invalid(format!(
            "responsetype '{extension}' is none of http, json, html, svg, text"
        )));
    }
    let path = text(given, "apidoc", "gatewayPath")?.to_owned();
    let method = text(given, "apidoc", "gatewayMethod")?.to_lowercase();
    let action = given
        .get("action")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("apidoc is missing the action field."))?;
    for name in ["backendMethod", "backendUrl", "authkey"] {
        text(action, "action", name)?;
    }
    let space = text(action, "action", "namespace")?;
    let name = text(action, "action", "name")?;
    let parts: Vec<&str> = name.trim_matches('/').split('/').collect();
    let (package, short) = match parts.as_slice() {
        [short] => ("default", *short),
        [package, short] | [_, package, short] => (*package, *short),
        _ => return Err(invalid(format!("action name '{name}' is not valid"))),
    };
    let secure_key = action.get("secureKey").and_then(|key| match key {
        Value::String(key) => Some(key.clone()),
        Value::Number(key) => Some(key.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    Ok(Endpoint {
        path,
        method,
        origin: origin.to_owned(),
        namespace: (if space == OWN { own } else { space }).to_owned(),
        package: package.to_owned(),
        action: short.to_owned(),
        extension: extension.to_owned(),
        secure_key,
        parameters: given.get("pathParameters").filter(|all| all.is_array()).cloned(),
    })
}

/// An API with only what was asked for; `None`: it has nothing of that.
fn narrowed(api: &RouteApi, path: Option<&str>, method: Option<&str>) -> Option<RouteApi> {
    let mut api = api.clone();
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Some(api);
    };
    let paths = api.document["paths"].as_object_mut()?;
    paths.retain(|known, _| known == path);
    let operations = paths.get_mut(path)?.as_object_mut()?;
    if let Some(method) = method.filter(|method| !method.is_empty()) {
        operations.retain(|known, _| known.eq_ignore_ascii_case(method));
    }
    (!operations.is_empty()).then_some(api)
}

/// What clients are shown of an API.
fn shown(namespace: &str, api: &RouteApi, origin: &str) -> Value {
    let address = gateway::address(namespace, &api.base);
    json!({
        "namespace": namespace,
        "tenantId": gateway::tenant(namespace),
        "gwApiActivated": true,
        "gwApiUrl": format!("{origin}{address}"),
        "apidoc": api.document,
    })
}

/// The header that names the host, for addresses in answers.
pub(super) fn host(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
}
