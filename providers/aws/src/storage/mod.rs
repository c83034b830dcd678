//! S3 for the accounts of this platform: whose keys sign, and who is told of changes. The protocol itself is the crate
//! beside this one.

mod errors;
mod keys;
mod targets;

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use http::request::Parts;
use sonagi_aws_s3::{S3, S3Caller, S3Options};
use sonagi_model::InvocationId;
use sonagi_objects::ObjectStore;
use sonagi_ports::Clock;
use sonagi_queues::Queues;

pub(crate) use errors::in_xml;
use keys::AccountKeys;
use targets::BucketTargets;

use crate::auth::{Caller, Sessions};
use crate::credentials::TemporaryCredentials;
use crate::invoke::Runner;

/// What the endpoint stands on.
pub(crate) struct StorageDeps {
    pub(crate) store: ObjectStore,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) temporary: Arc<TemporaryCredentials>,
    pub(crate) catalog: Arc<sonagi_control::Catalog>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) queues: Queues,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) base_domain: String,
}

/// Puts the endpoint together.
pub(crate) fn endpoint(deps: StorageDeps) -> S3 {
    S3::new(S3Options {
        store: deps.store,
        keys: Arc::new(AccountKeys {
            sessions: deps.sessions,
            temporary: deps.temporary,
        }),
        targets: Arc::new(BucketTargets {
            catalog: deps.catalog,
            runner: deps.runner,
            queues: deps.queues,
        }),
        clock: deps.clock,
        base_domain: deps.base_domain,
    })
}

/// Whether a request is signed for S3, whatever else is wrong with it.
pub(crate) fn is_ours(parts: &Parts) -> bool {
    const SCOPE: [&str; 2] = ["/s3/aws4_request", "%2Fs3%2Faws4_request"];
    let signed = |text: &str| SCOPE.iter().any(|scope| text.contains(scope));
    let header = parts.headers.get(http::header::AUTHORIZATION);
    header.and_then(|value| value.to_str().ok()).is_some_and(signed) || parts.uri.query().is_some_and(signed)
}

/// The key of a presigned address in the form of Signature Version 2, which the command line still makes.
/// Source: "Authenticating requests (AWS Signature Version 2)", query string request authentication.
pub(crate) fn old_form(parts: &Parts) -> Option<String> {
    let pairs = crate::auth::query_pairs(parts.uri.query()?);
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    get("Signature")?;
    get("Expires")?;
    get("AWSAccessKeyId")
}

/// A request in the form in which the endpoint takes it.
pub(crate) fn request<B>(parts: &Parts, body: B) -> Request<B> {
    Request::from_parts(parts.clone(), body)
}

/// A caller in the words of the endpoint.
pub(crate) fn caller(caller: &Caller, address: IpAddr) -> S3Caller {
    S3Caller {
        access_key: caller.access_key.clone(),
        account: caller.place.account.to_string(),
        region: caller.place.region.to_string(),
        principal: format!("AWS:{}", caller.access_key),
        address: address.to_string(),
        request: InvocationId::generate().to_string(),
    }
}
