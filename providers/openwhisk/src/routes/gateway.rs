//! Requests of routes: led to the web action that their API's document names.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::body::Incoming;
use sonagi_wire::Body;

use super::RouteApi;
use super::document::{self, Found, Target};
use super::manage::host;
use crate::api::{self, Api};
use crate::errors::{Style, WhiskError};

/// What paths of routes begin with, before their namespace. Upstream's gateway has an id of its own making there.
pub(crate) const PREFIX: &str = "/api/gw-";

/// What stands for a namespace in paths.
pub(super) fn tenant(namespace: &str) -> String {
    format!("gw-{namespace}")
}

/// The path of an API.
pub(super) fn address(namespace: &str, base: &str) -> String {
    format!("{PREFIX}{namespace}{}", base.trim_end_matches('/'))
}

/// Where the client found the platform.
pub(super) fn origin(parts: &Parts) -> String {
    let scheme = parts
        .headers
        .get("x-forwarded-proto")
        .and_then(|scheme| scheme.to_str().ok());
    let scheme = scheme.filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{}", host(parts).unwrap_or("localhost"))
}

/// The API whose base path is the longest in front of a path, and the rest.
fn choose(apis: Vec<Arc<RouteApi>>, path: &str) -> Option<(Arc<RouteApi>, &str)> {
    let fitting = apis.into_iter().filter_map(|api| {
        let rest = path.strip_prefix(api.base.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some((api, rest))
    });
    fitting.min_by_key(|(_, rest)| rest.len())
}

impl Api {
    /// Answers a request below [`PREFIX`].
    pub(crate) async fn routed(&self, parts: Parts, body: Incoming, transaction: &str) -> Response<Body> {
        let led = self.lead(&parts);
        let answered = match led {
            Ok(Led::To(target, path)) => Ok(self.pass(parts, target, &path, body, transaction).await),
            Ok(Led::Preflight) => {
                let mut response = Response::new(sonagi_wire::empty());
                crate::web::allow_origins(response.headers_mut(), &parts.headers);
                Ok(response)
            }
            Err(error) => Err(error),
        };
        answered.unwrap_or_else(|error| {
            let mut response = error.response(transaction, Style::Compact);
            api::allow_origins(response.headers_mut());
            response
        })
    }

    fn lead(&self, parts: &Parts) -> Result<Led, WhiskError> {
        let below = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let (namespace, path) = below.split_at(below.find('/').unwrap_or(below.len()));
        let (api, rest) = choose(self.estate.routes.of(namespace), path).ok_or_else(WhiskError::missing)?;
        match document::find(&api.document, parts.method.as_str(), rest) {
            Found::Operation(target) => Ok(Led::To(target, path.to_owned())),
            Found::OtherMethods(_) if parts.method == Method::OPTIONS => Ok(Led::Preflight),
            Found::OtherMethods(methods) => Err(WhiskError::method(&methods)),
            Found::Nothing => Err(WhiskError::missing()),
        }
    }

    async fn pass(
        &self,
        mut parts: Parts,
        target: Target,
        path: &str,
        body: Incoming,
        transaction: &str,
    ) -> Response<Body> {
        // What the web action is shown is the gateway's word, never the caller's.
        parts.headers.remove("x-require-whisk-auth");
        if let Some(key) = target.secure_key.and_then(|key| HeaderValue::from_str(&key).ok()) {
            parts.headers.insert("x-require-whisk-auth", key);
        }
        let mut web_path = target.web_path;
        if target.with_path {
            web_path.push_str(path);
        }
        self.web_at(&parts, &web_path, body, transaction).await
    }
}

/// Where a request of a route leads.
enum Led {
    /// To a web action, with the path below the namespace.
    To(Target, String),
    /// A browser asks what it may ask.
    Preflight,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_base_path_is_chosen_at_whole_segments() {
        let apis = || -> Vec<Arc<RouteApi>> {
            let api = |base: &str| {
                Arc::new(RouteApi {
                    base: base.to_owned(),
                    document: json!({}),
                })
            };
            vec![api("/"), api("/club"), api("/club/new")]
        };
        for (path, base, rest) in [
            ("/club/books", "/club", "/books"),
            ("/club", "/club", ""),
            ("/club/new/x", "/club/new", "/x"),
            ("/clubs", "/", "/clubs"),
            ("", "/", ""),
        ] {
            let (api, left) = choose(apis(), path).unwrap();
            assert_eq!((api.base.as_str(), left), (base, rest), "{path}");
        }
        assert!(choose(apis().split_off(1), "/x").is_none());
        assert_eq!(address("guest", "/"), "/api/gw-guest");
        assert_eq!(address("guest", "/club"), "/api/gw-guest/club");
    }
}
