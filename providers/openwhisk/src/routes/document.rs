//! An API's document: a Swagger 2.0 text with upstream's extensions. `x-openwhisk` of an operation tells people which web
//! action it leads to; `x-ibm-configuration` tells the gateway: the address, and headers that are set on the way.

use serde_json::{Value, json};

/// Operations of one API.
const OPERATIONS: usize = 500;
/// What stands in an address for the path of the request.
const REQUEST_PATH: &str = "$(request.path)";
/// What the path of every web action's address begins with.
const WEB: &str = "/api/v1/web/";

/// One operation to add.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Endpoint {
    pub(super) path: String,
    pub(super) method: String,
    /// Where the platform is, with its scheme.
    pub(super) origin: String,
    pub(super) namespace: String,
    pub(super) package: String,
    pub(super) action: String,
    /// Of the web action's address, without its dot.
    pub(super) extension: String,
    /// The secret that the web action wants of its callers.
    pub(super) secure_key: Option<String>,
    /// Descriptions of the parameters in the path.
    pub(super) parameters: Option<Value>,
}

/// An API without operations.
pub(super) fn empty(base: &str, title: &str) -> Value {
    json!({
        "swagger": "2.0",
        "basePath": base,
        "info": { "title": title, "version": "1.0.0" },
        "paths": {},
        "x-ibm-configuration": { "cors": { "enabled": true }, "assembly": { "execute": [{ "operation-switch": { "case": [] } }] } },
    })
}

fn operation_id(method: &str, path: &str) -> String {
    format!("{method}-{path}")
}

/// The instructions for the gateway.
fn cases(document: &Value) -> Option<&Vec<Value>> {
    document
        .pointer("/x-ibm-configuration/assembly/execute/0/operation-switch/case")?
        .as_array()
}

fn cases_mut(document: &mut Value) -> Option<&mut Vec<Value>> {
    document
        .pointer_mut("/x-ibm-configuration/assembly/execute/0/operation-switch/case")?
        .as_array_mut()
}

fn is_of(case: &Value, operation: &str) -> bool {
    case["operations"][0] == operation
}

/// Adds an operation, or replaces the one of its path and method.
///
/// # Errors
/// What is wrong with the document or the operation.
pub(super) fn add(document: &mut Value, endpoint: &Endpoint) -> Result<(), String> {
    let Endpoint {
        origin,
        namespace,
        package,
        action,
        extension,
        ..
    } = endpoint;
    let id = operation_id(&endpoint.method, &endpoint.path);
    let url = format!("{origin}{WEB}{namespace}/{package}/{action}.{extension}");
    // As upstream: only an action that makes the whole answer is given the path.
    let target = if extension == "http" {
        format!("{url}{REQUEST_PATH}")
    } else {
        url.clone()
    };
    let mut operation = json!({
        "operationId": id,
        "x-openwhisk": { "action": action, "namespace": namespace, "package": package, "url": url },
        "responses": { "default": { "description": "Default response" } },
    });
    if let Some(parameters) = &endpoint.parameters {
        operation["parameters"] = parameters.clone();
    }
    let paths = document["paths"].as_object_mut().ok_or("the API has no paths")?;
    let path = paths.entry(&endpoint.path).or_insert_with(|| json!({}));
    path[&endpoint.method] = operation;
    let mut steps = vec![json!({ "invoke": { "target-url": target, "verb": "keep" } })];
    if let Some(key) = &endpoint.secure_key {
        let set = json!({ "set": "message.headers.X-Require-Whisk-Auth", "value": key });
        steps.push(json!({ "set-variable": { "actions": [set] } }));
    }
    let cases = cases_mut(document).ok_or("the API was not made operation by operation: replace the whole document")?;
    cases.retain(|case| !is_of(case, &id));
    cases.push(json!({ "operations": [id], "execute": steps }));
    check(document)
}

/// Removes a path, or one operation of it.
///
/// # Errors
/// It is not there.
pub(super) fn remove(document: &mut Value, path: &str, method: Option<&str>) -> Result<(), String> {
    let missing = || match method {
        None => format!("path '{path}' does not exist in the API"),
        Some(method) => format!("path '{path}' with operation '{method}' does not exist in the API"),
    };
    let paths = document["paths"].as_object_mut().ok_or_else(missing)?;
    let operations = paths.get_mut(path).and_then(Value::as_object_mut).ok_or_else(missing)?;
    let removed: Vec<Value> = match method {
        None => operations.values().cloned().collect(),
        Some(method) => vec![operations.shift_remove(method).ok_or_else(missing)?],
    };
    if method.is_none() || operations.is_empty() {
        paths.shift_remove(path);
    }
    if let Some(cases) = cases_mut(document) {
        for operation in removed {
            let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
            cases.retain(|case| !is_of(case, &id));
        }
    }
    Ok(())
}

/// Whether no operation is left.
pub(super) fn is_empty(document: &Value) -> bool {
    document["paths"].as_object().is_none_or(serde_json::Map::is_empty)
}

/// Whether a document is one by which requests can be led.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(document: &Value) -> Result<(), String> {
    for field in ["security", "x-ibm-rate-limit"] {
        let given = &document[field];
        if given.is_object() || given.as_array().is_some_and(|all| !all.is_empty()) {
            return Err(format!(
                "swagger has '{field}', which routes of this platform do not enforce; remove it and check callers in the \
                 action"
            ));
        }
    }
    let base = document["basePath"].as_str().unwrap_or_default();
    if !base.starts_with('/') {
        return Err(format!("the base path '{base}' must begin with '/'"));
    }
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        if !path.starts_with('/') {
            return Err(format!("the path '{path}' must begin with '/'"));
        }
        let operations = operations
            .as_object()
            .ok_or_else(|| format!("path '{path}' must be an object of operations"))?;
        for (method, operation) in operations {
            count += 1;
            if target(document, operation).is_none() {
                return Err(format!(
                    "operation '{method}' of path '{path}' leads to no web action: it needs x-openwhisk.url, an address \
                     with {WEB}NAMESPACE/PACKAGE/ACTION"
                ));
            }
        }
    }
    if count > OPERATIONS {
        return Err(format!("the API has {count} operations, more than {OPERATIONS}"));
    }
    Ok(())
}

/// Where an operation leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Below the path of all web actions, with a slash in front.
    pub(super) web_path: String,
    /// Whether the path of the request follows.
    pub(super) with_path: bool,
    /// The secret that the web action wants.
    pub(super) secure_key: Option<String>,
}

fn target(document: &Value, operation: &Value) -> Option<Target> {
    let id = operation["operationId"].as_str();
    let case = cases(document).and_then(|cases| cases.iter().find(|case| id.is_some_and(|id| is_of(case, id))));
    let steps = case.and_then(|case| case["execute"].as_array());
    let steps = || steps.into_iter().flatten();
    let told = steps().find_map(|step| step["invoke"]["target-url"].as_str());
    let url = told.or_else(|| operation["x-openwhisk"]["url"].as_str())?;
    let (url, with_path) = match url.strip_suffix(REQUEST_PATH) {
        Some(url) => (url, true),
        None => (url, false),
    };
    let web_path = format!("/{}", url.split_once(WEB)?.1);
    let sets = steps().flat_map(|step| step["set-variable"]["actions"].as_array().into_iter().flatten());
    let mut keys = sets.filter(|set| {
        set["set"]
            .as_str()
            .is_some_and(|name| name.eq_ignore_ascii_case("message.headers.X-Require-Whisk-Auth"))
    });
    let secure_key = keys.next().and_then(|set| match &set["value"] {
        Value::String(key) => Some(key.clone()),
        Value::Number(key) => Some(key.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    Some(Target {
        web_path,
        with_path,
        secure_key,
    })
}

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Operation(Target),
    /// The path is there; its methods, for people.
    OtherMethods(String),
    Nothing,
}

/// How well a path fits a template: how many of its segments are as the template says them, parameters aside.
fn fit(template: &str, path: &str) -> Option<usize> {
    let parts = |text: &str| -> Vec<String> { text.trim_matches('/').split('/').map(str::to_owned).collect() };
    let (template, path) = (parts(template), parts(path));
    if template.len() != path.len() {
        return None;
    }
    let mut literal = 0;
    for (wanted, given) in template.iter().zip(&path) {
        if wanted.starts_with('{') && wanted.ends_with('}') {
            if given.is_empty() {
                return None;
            }
        } else if wanted == given {
            literal += 1;
        } else {
            return None;
        }
    }
    Some(literal)
}

/// Leads a request with this method and this path below the API's own.
pub(super) fn find(document: &Value, method: &str, path: &str) -> Found {
    let all = document["paths"].as_object().into_iter().flatten();
    let best = all
        .filter_map(|(template, operations)| Some((fit(template, path)?, operations)))
        .max_by_key(|(literal, _)| *literal);
    let Some((_, operations)) = best else {
        return Found::Nothing;
    };
    let operation = operations.get(method.to_ascii_lowercase());
    match operation.and_then(|operation| target(document, operation)) {
        Some(target) => Found::Operation(target),
        None => Found::OtherMethods(
            operations
                .as_object()
                .map(|operations| {
                    operations
                        .keys()
                        .map(|method| method.to_ascii_uppercase())
                        .collect::<Vec<_>>()
                })
                .unwrap_or_default()
                .join(", "),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(method: &str, path: &str, extension: &str) -> Endpoint {
        Endpoint {
            path: path.to_owned(),
            method: method.to_owned(),
            origin: "http://host:1".to_owned(),
            namespace: "guest".to_owned(),
            package: "default".to_owned(),
            action: "books".to_owned(),
            extension: extension.to_owned(),
            secure_key: None,
            parameters: None,
        }
    }

    fn leads(document: &Value, method: &str, path: &str) -> Option<String> {
        match find(document, method, path) {
            Found::Operation(target) => Some(target.web_path),
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn operations_come_and_go() {
        let mut api = empty("/club", "Club");
        assert!(is_empty(&api) && check(&api).is_ok());
        add(&mut api, &endpoint("get", "/books", "json")).unwrap();
        let kept = Endpoint {
            secure_key: Some("secret".to_owned()),
            ..endpoint("post", "/books", "http")
        };
        add(&mut api, &kept).unwrap();
        add(&mut api, &kept).unwrap();
        assert_eq!(cases(&api).unwrap().len(), 2, "adding again replaces");
        let Found::Operation(target) = find(&api, "POST", "/books/") else {
            panic!("no operation");
        };
        assert_eq!((target.with_path, target.secure_key.as_deref()), (true, Some("secret")));
        assert_eq!(
            leads(&api, "GET", "/books"),
            Some("/guest/default/books.json".to_owned())
        );
        assert_eq!(
            find(&api, "DELETE", "/books"),
            Found::OtherMethods("GET, POST".to_owned())
        );
        assert_eq!(find(&api, "GET", "/other"), Found::Nothing);
        assert!(
            remove(&mut api, "/books", Some("put"))
                .unwrap_err()
                .contains("operation 'put'")
        );
        remove(&mut api, "/books", Some("get")).unwrap();
        assert_eq!(cases(&api).unwrap().len(), 1);
        remove(&mut api, "/books", None).unwrap();
        assert!(is_empty(&api) && cases(&api).unwrap().is_empty());
        assert!(remove(&mut api, "/books", None).is_err());
    }

    #[test]
    fn the_path_with_more_literal_segments_wins() {
        let mut api = empty("/", "x");
        for (path, extension) in [
            ("/a/{id}", "json"),
            ("/a/b", "http"),
            ("/{x}/{y}", "text"),
            ("/", "html"),
        ] {
            add(&mut api, &endpoint("get", path, extension)).unwrap();
        }
        for (path, expected) in [
            ("/a/b", Some("http")),
            ("/a/c", Some("json")),
            ("/c/c", Some("text")),
            ("/", Some("html")),
            ("", Some("html")),
            ("/a", None),
            ("/a//", None),
            ("/a/b/c", None),
        ] {
            let found = leads(&api, "get", path);
            let extension = found.as_deref().and_then(|path| path.rsplit('.').next());
            assert_eq!(extension, expected, "{path}");
        }
    }

    #[test]
    fn documents_of_others_are_checked() {
        let good = json!({
            "swagger": "2.0", "basePath": "/x", "info": { "title": "t" },
            "paths": { "/p": { "get": { "operationId": "g", "x-openwhisk": { "url": "https://h/api/v1/web/ns/p/a.http" } } } },
        });
        assert_eq!(check(&good), Ok(()));
        assert_eq!(leads(&good, "GET", "/p"), Some("/ns/p/a.http".to_owned()));
        let with = |pointer: &str, value: Value| {
            let mut document = good.clone();
            match document.pointer_mut(pointer) {
                Some(place) => *place = value,
                None => document[&pointer[1..]] = value,
            }
            check(&document).unwrap_err()
        };
        assert!(with("/security", json!([{ "client_id": [] }])).contains("security"));
        assert!(with("/basePath", json!("x")).contains("must begin with '/'"));
        assert!(with("/paths/~1p/get/x-openwhisk/url", json!("https://h/other")).contains("leads to no web action"));
        assert!(with("/paths", json!({ "p": {} })).contains("must begin with '/'"));
        let many: serde_json::Map<_, _> = (0..501)
            .map(|i| (format!("/{i}"), good["paths"]["/p"].clone()))
            .collect();
        assert!(with("/paths", Value::Object(many)).contains("501 operations"));
    }
}
