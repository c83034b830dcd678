//! Function URLs: which URL leads where, and the HTTP that is spoken there.
//! Source: "Function URLs" of the Lambda documentation; answers recorded from the real service.

mod answer;
mod cors;
mod event;
mod plane;
mod prelude;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sonagi_control::{Catalog, FunctionEntry};
use sonagi_model::FunctionId;
use sonagi_ports::Entropy;

use crate::arn::{LATEST, Named, Qualifier};
use crate::control::statement::url_allowed;
use crate::errors::LambdaError;
use crate::place::{Place, Region};
use crate::records::{Cors, FunctionRecord, Statement, UrlAuth, UrlMode, read};

pub(crate) use plane::{UrlCall, UrlPlane};

/// Characters of a URL's id.
const ID_LENGTH: usize = 32;

/// First part of paths that carry the id of a URL, for clients that cannot resolve its host name.
pub(crate) const URL_PATH: &str = "/_url/";

/// The label in a host name that makes it one of a function URL: `ID.lambda-url.REGION.DOMAIN`.
const HOST_LABEL: &str = "lambda-url";

/// How function URLs are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlAddress {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Base of the host names.
    pub(crate) base_domain: String,
    /// The port that clients connect to.
    pub(crate) port: u16,
}

impl UrlAddress {
    /// The URL of an id.
    pub(crate) fn of(&self, id: &str, region: &Region) -> String {
        format!("{}://{}:{}/", self.scheme, self.host(id, region), self.port)
    }

    /// The host name of an id, without a port.
    pub(crate) fn host(&self, id: &str, region: &Region) -> String {
        format!("{id}.{HOST_LABEL}.{region}.{}", self.base_domain)
    }
}

/// A new id: 160 random bits and more, so that it cannot be guessed.
pub(crate) fn new_id(entropy: &dyn Entropy) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; ID_LENGTH];
    entropy.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 36)]))
        .collect()
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The id in a host name, if it is one of a function URL.
pub(crate) fn id_of_host(host: &str) -> Option<&str> {
    let (id, rest) = host.split_once('.')?;
    let label = rest.split('.').next()?;
    (label.eq_ignore_ascii_case(HOST_LABEL) && is_id(id)).then_some(id)
}

/// Whether a host name is meant to be one of a function URL, whatever its id.
pub(crate) fn is_url_host(host: &str) -> bool {
    host.split('.')
        .nth(1)
        .is_some_and(|label| label.eq_ignore_ascii_case(HOST_LABEL))
}

/// The id in a path, and the path that the function sees.
pub(crate) fn id_of_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(URL_PATH)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (id, path) = rest.split_at(at);
    Some((id, if path.is_empty() { "/" } else { path }))
}

/// Where a URL leads. Everything that a call needs, so that no document is read on the way.
#[derive(Debug)]
pub(crate) struct UrlRoute {
    pub(crate) id: String,
    pub(crate) function: FunctionId,
    pub(crate) place: Place,
    /// An alias, or `$LATEST` unqualified.
    pub(crate) qualifier: Option<Qualifier>,
    /// The ARN that the function is told.
    pub(crate) arn: String,
    /// `domainName` of events.
    pub(crate) host: String,
    pub(crate) auth: UrlAuth,
    pub(crate) mode: UrlMode,
    pub(crate) cors: Option<Cors>,
    /// Whether the policy lets in those who do not sign.
    pub(crate) public: bool,
    /// The policy, for callers of other accounts.
    pub(crate) statements: Vec<Statement>,
}

/// All function URLs of this node, kept in step with the catalog.
#[derive(Debug)]
pub(crate) struct UrlRoutes {
    address: Arc<UrlAddress>,
    by_id: papaya::HashMap<String, Arc<UrlRoute>>,
    /// The ids of each function. Holding it, a function's routes are brought in step: the last one to do so reads the
    /// newest entry, so a slow one cannot bring back an older state.
    of_function: Mutex<HashMap<FunctionId, Vec<String>>>,
}

impl UrlRoutes {
    pub(crate) fn new(address: Arc<UrlAddress>) -> Self {
        Self {
            address,
            by_id: papaya::HashMap::new(),
            of_function: Mutex::default(),
        }
    }

    /// The route of an id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<UrlRoute>> {
        self.by_id.pin().get(id).cloned()
    }

    /// Brings the routes of every function in step.
    pub(crate) fn load(&self, catalog: &Catalog) {
        for entry in catalog.all() {
            self.sync(catalog, entry.function.id);
        }
    }

    /// Brings the routes of a function in step with the catalog. To be called after every change of its URLs, policies
    /// and aliases, and of itself.
    pub(crate) fn sync(&self, catalog: &Catalog, function: FunctionId) {
        let mut of_function = self.of_function.lock();
        let routes = match catalog.get(function).map(|entry| self.routes_of(&entry)) {
            Some(Ok(routes)) => routes,
            Some(Err(error)) => {
                tracing::error!(%function, %error, "the URLs of a function are not served");
                Vec::new()
            }
            None => Vec::new(),
        };
        let by_id = self.by_id.pin();
        let ids: Vec<String> = routes.iter().map(|route| route.id.clone()).collect();
        for route in routes {
            by_id.insert(route.id.clone(), Arc::new(route));
        }
        let old = if ids.is_empty() {
            of_function.remove(&function)
        } else {
            of_function.insert(function, ids.clone())
        };
        for gone in old.into_iter().flatten().filter(|id| !ids.contains(id)) {
            by_id.remove(&gone);
        }
    }

    fn routes_of(&self, entry: &FunctionEntry) -> Result<Vec<UrlRoute>, LambdaError> {
        let function = &entry.function;
        let Some(place) = Place::of(&function.namespace) else {
            return Ok(Vec::new());
        };
        let mut record: FunctionRecord = read(&function.document)?;
        let routes = record.urls.into_iter().map(|(key, url)| {
            let statements = record.policies.remove(&key).unwrap_or_default();
            let qualifier = if key == LATEST { None } else { Qualifier::parse(&key) };
            let named = Named {
                place: place.clone(),
                name: function.name.clone(),
                qualifier,
            };
            UrlRoute {
                function: function.id,
                arn: named.qualified_arn(),
                host: self.address.host(&url.id, &place.region),
                id: url.id,
                place: named.place,
                qualifier: named.qualifier,
                auth: url.auth,
                mode: url.mode,
                cors: url.cors,
                public: url_allowed(&statements, &[], UrlAuth::None),
                statements,
            }
        });
        Ok(routes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_hosts_and_paths() {
        let id = "abcdefghijklmnopqrstuvwxyz012345";
        let host = format!("{id}.lambda-url.us-east-1.localhost");
        assert_eq!(id_of_host(&host), Some(id));
        assert_eq!(id_of_host(&host.to_uppercase()), None);
        assert!(is_url_host("nobody.lambda-url.us-east-1.localhost") && !is_url_host("localhost"));
        assert_eq!(id_of_host("short.lambda-url.us-east-1.localhost"), None);
        assert_eq!(id_of_path("/_url/x/a%20b/c"), Some(("x", "/a%20b/c")));
        assert_eq!(id_of_path("/_url/x"), Some(("x", "/")));
        assert_eq!(id_of_path("/x"), None);
        let address = UrlAddress {
            scheme: "http",
            base_domain: "localhost".to_owned(),
            port: 4747,
        };
        let region = Region::parse("us-east-1").unwrap();
        assert_eq!(address.of(id, &region), format!("http://{host}:4747/"));
        let made = new_id(&sonagi_ports::fake::SeededEntropy::default());
        assert!(is_id(&made));
    }
}
