//! Where requests come in: who calls is known by then; signatures of the whole request, and of its body's chunks, are
//! checked here.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3ErrorCode, S3Request, S3Result};
use sonagi_objects::ObjectStore;
use sonagi_ports::Clock;
use sonagi_wire::{Body, BoxError};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::errors::refuse;
use crate::notify::Targets;

/// Bytes of a document in a request.
const DOCUMENT_MAX: usize = 2 * 1024 * 1024;

/// The secrets of keys.
pub trait Keys: Send + Sync + std::fmt::Debug {
    /// The secret of a key; `None` if there is no such key.
    fn secret(&self, access_key: &str) -> Option<String>;
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Caller {
    /// The key that the request is signed with.
    pub access_key: String,
    /// The account that it acts for.
    pub account: String,
    /// The region of the request.
    pub region: String,
    /// What events say about who did it.
    pub principal: String,
    /// The address that the request came from.
    pub address: String,
    /// The id of the request.
    pub request: String,
}

impl S3Caller {
    /// Who sent a request.
    pub(crate) fn of<T>(req: &S3Request<T>) -> S3Result<Self> {
        let found = req.extensions.get::<Self>().cloned();
        found.ok_or_else(|| refuse(S3ErrorCode::AccessDenied, "Access Denied"))
    }
}

/// What the endpoint stands on.
#[derive(Debug)]
pub struct S3Options {
    /// The objects.
    pub store: ObjectStore,
    /// Keys of callers.
    pub keys: Arc<dyn Keys>,
    /// Who is told of changes.
    pub targets: Arc<dyn Targets>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Buckets are also found as `BUCKET.s3.DOMAIN`, `BUCKET.s3.REGION.DOMAIN` and `BUCKET.DOMAIN`.
    pub base_domain: String,
}

/// The endpoint.
#[derive(Debug)]
pub struct S3 {
    service: S3Service,
    store: ObjectStore,
    targets: Arc<dyn Targets>,
    clock: Arc<dyn Clock>,
}

impl S3 {
    /// Puts the endpoint together.
    #[must_use]
    pub fn new(options: S3Options) -> Self {
        let S3Options {
            store,
            keys,
            targets,
            clock,
            base_domain,
        } = options;
        let api = Api::new(store.clone(), Arc::clone(&targets), Arc::clone(&clock));
        let mut builder = S3ServiceBuilder::new(api);
        builder.set_auth(Auth { keys });
        builder.set_access(OnlySigned);
        builder.set_host(Hosts { base_domain });
        let mut config = S3Config::default();
        config.xml_max_body_size = DOCUMENT_MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self {
            service: builder.build(),
            store,
            targets,
            clock,
        }
    }

    pub(crate) fn now(&self) -> sonagi_model::Timestamp {
        self.clock.now()
    }

    pub(crate) fn targets(&self) -> &dyn Targets {
        self.targets.as_ref()
    }

    /// Passes on what buckets tell until told to stop. To be run once, by whoever owns the endpoint.
    pub async fn pass_on(&self, stop: CancellationToken) {
        crate::notify::pass_on(self.store.clone(), Arc::clone(&self.targets), stop).await;
    }

    /// The objects.
    #[must_use]
    pub const fn store(&self) -> &ObjectStore {
        &self.store
    }

    /// Answers a request of a caller whose key is known to be good, and whose signature is not yet.
    pub async fn serve<B>(&self, mut request: Request<B>, caller: S3Caller) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let id = caller.request.clone();
        request.extensions_mut().insert(caller);
        let answer = self
            .service
            .call(request.map(|body| s3s::Body::http_body_unsync(body.map_err(Into::into))))
            .await;
        let mut response = match answer {
            Ok(response) => response.map(|body| body.map_err(BoxError::from).boxed_unsync()),
            Err(error) => {
                tracing::error!(?error, "a request for an object could not be answered");
                let mut response = Response::new(sonagi_wire::full(Bytes::new()));
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        if let Ok(id) = id.parse() {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        response
    }
}

/// Secrets for the check of signatures.
struct Auth {
    keys: Arc<dyn Keys>,
}

#[async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.keys.secret(access_key);
        secret.map(SecretKey::from).ok_or_else(|| {
            refuse(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            )
        })
    }
}

/// The key of the signature must be the one that was found good before.
struct OnlySigned;

#[async_trait]
impl S3Access for OnlySigned {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let signed = cx.credentials().map(|credentials| credentials.access_key.clone());
        let caller = cx.extensions_mut().get::<S3Caller>();
        match (signed, caller) {
            (Some(key), Some(caller)) if key == caller.access_key => Ok(()),
            _ => Err(refuse(S3ErrorCode::AccessDenied, "Access Denied")),
        }
    }
}

/// Buckets in host names.
struct Hosts {
    base_domain: String,
}

impl Hosts {
    fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let rest = name.strip_suffix(self.base_domain.as_str())?.strip_suffix('.')?;
        let bucket = match rest.rsplit_once(".s3") {
            Some((bucket, "")) => bucket,
            Some((bucket, region)) if region.starts_with('.') && !region[1..].contains('.') => bucket,
            Some(_) | None => rest,
        };
        (bucket != "s3" && !bucket.starts_with("s3.") && !bucket.is_empty()).then_some(bucket)
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_found_in_hosts_of_ours_only() {
        let hosts = Hosts {
            base_domain: "localhost".to_owned(),
        };
        let cases = [
            ("localhost:4747", None),
            ("s3.localhost", None),
            ("s3.us-east-1.localhost", None),
            ("photos.s3.localhost:4747", Some("photos")),
            ("my.photos.s3.eu-west-1.localhost", Some("my.photos")),
            ("photos.localhost", Some("photos")),
            ("photos.s3.example.com", None),
        ];
        for (host, bucket) in cases {
            assert_eq!(hosts.bucket(host), bucket, "{host}");
        }
    }
}
