//! The control API: what each operation does to the catalog, one file per resource.

mod absent;
mod account;
pub(crate) mod aliases;
mod code;
pub(crate) mod concurrency;
mod configuration;
mod constraints;
mod event_invoke;
mod event_sources;
pub(crate) mod functions;
pub(crate) mod layers;
mod operations;
mod page;
mod perform;
pub(crate) mod policy;
pub(crate) mod provisioned;
mod render;
pub(crate) mod request;
pub(crate) mod settings;
pub(crate) mod statement;
mod tags;
mod text;
mod url_config;
pub(crate) mod validate;
pub(crate) mod versions;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde::de::Deserialize;
use sonagi_control::{Catalog, FunctionEntry};
use sonagi_model::Revision;
use sonagi_ports::{Clock, ContractError, Entropy};
use sonagi_wire::Body;

use crate::arn::{FunctionRef, Named, Qualifier};
use crate::auth::Caller;
use crate::errors::{Code, LambdaError};
use crate::invoke::Runner;
use crate::limits::LambdaLimits;
use crate::mappings::Mappings;
use crate::place::{AccountId, Place};
use crate::runtime::AwsContract;
use crate::sqs::Sqs;
use crate::url::{UrlAddress, UrlRoutes};

pub(crate) use code::{CodeLinks, DOWNLOAD_PATH};
pub(crate) use layers::{LayerUse, Layers};
pub(crate) use operations::{Operation, RunOperation, is_dated, route};
pub(crate) use policy::key_of as policy_key;
pub(crate) use statement::ServiceAccess;
pub(crate) use text::url_time;

/// The control API.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Arc<LambdaLimits>,
    pub(crate) routes: Arc<UrlRoutes>,
    pub(crate) address: Arc<UrlAddress>,
    pub(crate) links: CodeLinks,
    /// Which runtimes this host has.
    pub(crate) runtimes: Arc<dyn RuntimeCheck>,
    /// Queues whose messages functions are run with.
    pub(crate) mappings: Mappings,
    pub(crate) sqs: Sqs,
    /// Told about changed reservations.
    pub(crate) runner: Arc<dyn Runner>,
    /// Reservations of one account are decided one after the other: each depends on all others.
    pub(crate) reservations: tokio::sync::Mutex<()>,
    /// What functions share.
    pub(crate) layers: Arc<layers::Layers>,
    /// Where code in buckets is.
    pub(crate) objects: sonagi_objects::ObjectStore,
    /// Held while the engine is told what to keep loaded.
    pub(crate) floors: parking_lot::Mutex<()>,
}

/// Says which runtimes this host can run.
pub trait RuntimeCheck: Send + Sync + std::fmt::Debug {
    /// Whether functions with this runtime can run.
    ///
    /// # Errors
    /// [`ContractError::RuntimeMissing`] with a hint.
    fn check(&self, runtime: &str) -> Result<(), ContractError>;
}

impl RuntimeCheck for AwsContract {
    fn check(&self, runtime: &str) -> Result<(), ContractError> {
        self.check_runtime(runtime)
    }
}

/// One request of the control API, authenticated and read.
#[derive(Debug)]
pub(crate) struct ControlCall {
    pub(crate) caller: Caller,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
    /// The address under which the client reached the platform.
    pub(crate) host: String,
}

/// A request's query string, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(crate::auth::query_pairs(text))
    }

    /// The first value of this name that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Every value of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl ControlCall {
    fn place(&self) -> &Place {
        &self.caller.place
    }

    /// The body as an operation's input. No body is an empty object.
    ///
    /// # Errors
    /// `SerializationException`.
    fn input<'a, T: Deserialize<'a>>(&'a self) -> Result<T, LambdaError> {
        let text = if self.body.is_empty() {
            b"{}".as_slice()
        } else {
            &self.body
        };
        serde_json::from_slice(text).map_err(|error| {
            LambdaError::new(
                Code::Serialization,
                format!("The request body is not as expected: {error}"),
            )
        })
    }

    /// The function that the request names. Names of other accounts are refused without a word.
    ///
    /// # Errors
    /// [`LambdaError`].
    fn named(&self, name: &str) -> Result<Named, LambdaError> {
        self.named_as(name, self.query.get("Qualifier"))
    }

    fn named_as(&self, name: &str, qualifier: Option<&str>) -> Result<Named, LambdaError> {
        let named = FunctionRef::parse(name)?.resolve(self.place(), qualifier)?;
        if named.place.account != self.place().account {
            return Err(LambdaError::access_denied());
        }
        Ok(named)
    }
}

/// The revision that a qualifier stands for; for an alias the one that takes most calls.
///
/// # Errors
/// 404 with the qualified ARN.
pub(crate) fn revision_of<'a>(entry: &'a FunctionEntry, named: &Named) -> Result<&'a Arc<Revision>, LambdaError> {
    let found = match &named.qualifier {
        None | Some(Qualifier::Latest) => Some(entry.latest()),
        Some(Qualifier::Version(number)) => entry.labelled(&number.to_string()),
        Some(Qualifier::Alias(name)) => entry
            .aliases
            .get(name)
            .and_then(|alias| entry.revisions.get(&alias.route.primary)),
    };
    found.ok_or_else(|| LambdaError::function_not_found(&named.qualified_arn()))
}

impl Control {
    /// The function, which must exist.
    ///
    /// # Errors
    /// 404 with the unqualified ARN.
    pub(crate) fn entry(&self, named: &Named) -> Result<Arc<FunctionEntry>, LambdaError> {
        self.catalog
            .find(&named.place.namespace(), &named.name)
            .ok_or_else(|| LambdaError::function_not_found(&named.arn()))
    }

    /// Whether this host can run a runtime.
    ///
    /// # Errors
    /// 400 with a hint.
    pub(crate) fn check_runtime(&self, runtime: &str) -> Result<(), LambdaError> {
        self.runtimes
            .check(runtime)
            .map_err(|error| LambdaError::invalid(error.to_string()))
    }

    /// Functions of an account, all regions.
    pub(crate) fn of_account(&self, account: &AccountId) -> Vec<Arc<FunctionEntry>> {
        let tenant = account.tenant();
        self.catalog
            .all()
            .into_iter()
            .filter(|entry| entry.function.tenant == tenant)
            .collect()
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).expect("answers have text keys and no failing serializer");
    let mut response = Response::new(sonagi_wire::full(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a body.
pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(sonagi_wire::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
