//! Where AWS requests come in: function URLs by host or path, everything signed by its service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use sonagi_model::{InstanceId, InvocationId};
use sonagi_wire::{Body, Claim, Head, Surface};

use crate::auth::{AuthMode, Door, Verifier};
use crate::control::{CodeLinks, Control, ControlCall, DOWNLOAD_PATH, Operation, Query, RunOperation, is_dated, route};
use crate::errors::{Code, LambdaError};
use crate::eventing::{self, Bridge, Scheduler};
use crate::intake::{self, Intake};
use crate::invoke::{InvokeCall, Invoker, REQUEST_ID, is_event};
use crate::limits::LambdaLimits;
use crate::runtime::InstanceFront;
use crate::services::{Service, foreign};
use crate::sqs::{self, Sqs};
use crate::url::{URL_PATH, UrlCall, UrlPlane, id_of_host, id_of_path, is_url_host};
use crate::{storage, sts};

/// Bytes of a request to a service that is not Lambda: only small ones are answered at all.
const FOREIGN_REQUEST: usize = 64 * 1024;

/// The entry of everything that AWS clients send. Clones are handles on the same front.
#[derive(Debug, Clone)]
pub struct Front {
    parts: Arc<FrontParts>,
}

/// What a front is made of.
#[derive(Debug)]
pub(crate) struct FrontParts {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) control: Arc<Control>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) urls: UrlPlane,
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) sqs: Sqs,
    pub(crate) storage: Arc<sonagi_aws_s3::S3>,
    pub(crate) limits: Arc<LambdaLimits>,
    /// Base of host names that are this platform's own, for requests that are not authenticated.
    pub(crate) base_domain: String,
}

impl Front {
    pub(crate) fn new(parts: FrontParts) -> Self {
        Self { parts: Arc::new(parts) }
    }
}

#[async_trait]
impl Surface for Front {
    /// Ours are function URLs by their host, dated paths, links that we made, and whatever is signed.
    fn claim(&self, head: &Head<'_>) -> Claim {
        let path = head.uri.path();
        if head.host().is_some_and(is_url_host) {
            Claim::Host
        } else if is_dated(path)
            || path.starts_with(URL_PATH)
            || path.starts_with(DOWNLOAD_PATH)
            || head.uri.host().is_some_and(is_url_host)
            || is_signed(head.headers, head.uri)
        {
            Claim::Path
        } else {
            Claim::None
        }
    }

    async fn serve(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        with_request_id(self.parts.handle(request, peer).await)
    }
}

/// From inside instances: only signed requests, only with the instance's own key.
impl InstanceFront for Front {
    fn serve(&self, request: Request<Incoming>, instance: InstanceId) -> BoxFuture<'static, Response<Body>> {
        let front = Arc::clone(&self.parts);
        async move {
            let (parts, body) = request.into_parts();
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            with_request_id(front.signed(&parts, body, Door::Instance(instance), address).await)
        }
        .boxed()
    }
}

impl FrontParts {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let host = host_of(&parts.headers).or_else(|| parts.uri.host());
        if let Some(host) = host.filter(|host| is_url_host(host)) {
            // An id that is malformed is unknown: it finds no route.
            let (id, path) = (id_of_host(host).unwrap_or_default(), parts.uri.path());
            Box::pin(self.urls.serve(
                UrlCall {
                    id,
                    path,
                    parts: &parts,
                    peer,
                },
                body,
            ))
            .await
        } else if let Some((id, path)) = id_of_path(parts.uri.path()) {
            Box::pin(self.urls.serve(
                UrlCall {
                    id,
                    path,
                    parts: &parts,
                    peer,
                },
                body,
            ))
            .await
        } else if parts.uri.path().starts_with(DOWNLOAD_PATH) {
            self.download(&parts).await
        } else {
            Box::pin(self.signed(&parts, body, Door::Front, peer.ip())).await
        }
    }

    async fn download(&self, parts: &Parts) -> Response<Body> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return LambdaError::new(Code::UnknownOperation, "A code link can only be downloaded.").response();
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let links: &CodeLinks = &self.control.links;
        match links
            .download((&self.control.catalog, &self.control.layers), parts.uri.path(), &query)
            .await
        {
            Ok(response) => response,
            Err(error) => error.response(),
        }
    }

    /// A request that must be signed.
    async fn signed(&self, parts: &Parts, body: Incoming, door: Door, address: IpAddr) -> Response<Body> {
        if let Err(error) = self.check_origin(parts, door) {
            return error.response();
        }
        if let Some(key) = storage::old_form(parts).filter(|_| door == Door::Front) {
            let unknown = || {
                LambdaError::new(
                    Code::UnrecognizedClient,
                    "The AWS Access Key Id you provided does not exist.",
                )
            };
            return match self.verifier.holder(&key).ok_or_else(unknown) {
                Ok(holder) => {
                    let caller = storage::caller(&holder, address);
                    self.storage.serve(storage::request(parts, body), caller).await
                }
                Err(error) => storage::in_xml(&error),
            };
        }
        let pending = match self.verifier.begin(parts, door) {
            Ok(pending) => pending,
            Err(error) if storage::is_ours(parts) => return storage::in_xml(&error),
            Err(error) => return refusal(parts, &error),
        };
        let service = Service::parse(&pending.service);
        if service == Service::S3 {
            // The signature covers a body that is not read yet: the endpoint checks it, with the key that was checked here.
            let caller = storage::caller(pending.caller(), address);
            return self.storage.serve(storage::request(parts, body), caller).await;
        }
        if service == Service::Lambda {
            return match self.lambda(parts, body, pending).await {
                Ok(response) => response,
                Err(error) => error.response(),
            };
        }
        let limit = match service {
            Service::Sqs => sqs::REQUEST_MAX,
            Service::Events | Service::Scheduler => eventing::REQUEST_MAX,
            Service::Lambda | Service::Sts | Service::Query(_) | Service::S3 | Service::Json(_) => FOREIGN_REQUEST,
        };
        let too_large = LambdaError::new(
            Code::RequestEntityTooLarge,
            format!("Request must be smaller than {limit} bytes"),
        );
        let read = intake::read(body, Intake { limit, too_large }).await;
        let verified = read.and_then(|body| pending.finish(parts, &body).map(|caller| (caller, body)));
        match verified {
            Ok((caller, body)) => match service {
                Service::Sts => sts::answer(parts, &body, &caller, (&self.verifier.sessions, &*self.verifier.clock)),
                Service::Events => self.bridge.serve(parts, &body, &caller).await,
                Service::Scheduler => self.scheduler.serve(parts, &body, &caller).await,
                Service::Sqs => Box::pin(self.sqs.serve(parts, &body, &caller)).await,
                Service::Lambda | Service::Query(_) | Service::S3 | Service::Json(_) => foreign(&service),
            },
            Err(error) => refusal(parts, &error),
        }
    }

    async fn lambda(
        &self,
        parts: &Parts,
        body: Incoming,
        pending: crate::auth::Pending,
    ) -> Result<Response<Body>, LambdaError> {
        let routed = route(&parts.method, parts.uri.path()).ok_or_else(|| {
            LambdaError::new(
                Code::UnknownOperation,
                format!("No operation has the method {} and this path.", parts.method),
            )
        })?;
        let body = intake::read(body, self.intake(routed.operation, &parts.headers)).await?;
        let caller = pending.finish(parts, &body)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        match routed.operation {
            Operation::Run(operation) => {
                let name = routed.names.first().map(String::as_str).unwrap_or_default();
                let qualifier = query.get("Qualifier");
                let call = InvokeCall {
                    caller: &caller,
                    name,
                    qualifier,
                    headers: &parts.headers,
                    payload: body,
                };
                match operation {
                    RunOperation::Invoke => self.invoker.invoke(call).await,
                    RunOperation::InvokeWithResponseStream => self.invoker.invoke_streaming(call).await,
                    RunOperation::InvokeAsync => self.invoker.invoke_async(call).await,
                }
            }
            Operation::Control(operation) => {
                let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
                let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
                let host = host.unwrap_or("localhost").to_owned();
                let call = ControlCall {
                    caller,
                    query,
                    body,
                    host,
                };
                Box::pin(self.control.perform(operation, &routed.names, &call)).await
            }
        }
    }

    /// How much of a request's body is taken.
    fn intake(&self, operation: Operation, headers: &HeaderMap) -> Intake {
        let limits = &self.limits;
        let bound = |limit: usize, code: Code, operation: String| {
            let text = format!("Request must be smaller than {limit} bytes for the {operation} operation");
            Intake {
                limit,
                too_large: LambdaError::new(code, text),
            }
        };
        match operation {
            Operation::Run(run) => {
                let (limit, name) = match run {
                    RunOperation::Invoke if is_event(headers) => (limits.async_payload, "InvokeFunction"),
                    RunOperation::Invoke => (limits.payload, "InvokeFunction"),
                    RunOperation::InvokeWithResponseStream => (limits.payload, "InvokeWithResponseStream"),
                    RunOperation::InvokeAsync => (limits.async_payload, "InvokeAsync"),
                };
                bound(limit, Code::RequestTooLarge, name.to_owned())
            }
            Operation::Control(control) => {
                let limit = if control.carries_code() {
                    limits.code_request
                } else {
                    limits.control_request
                };
                bound(limit, Code::RequestEntityTooLarge, format!("{control:?}"))
            }
        }
    }

    /// Without authentication a web page must not reach the platform through its reader's browser: neither openly nor by
    /// a host name that is made to resolve to this address.
    fn check_origin(&self, parts: &Parts, door: Door) -> Result<(), LambdaError> {
        if self.verifier.mode == AuthMode::Required || door != Door::Front {
            return Ok(());
        }
        let host = host_of(&parts.headers).or_else(|| parts.uri.host()).unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let ours = bare.parse::<std::net::IpAddr>().is_ok()
            || host == "localhost"
            || host == self.base_domain
            || host
                .strip_suffix(&self.base_domain)
                .is_some_and(|rest| rest.ends_with('.'));
        if parts.headers.contains_key(header::ORIGIN) || !ours {
            let text = "Without authentication, requests of web pages and for foreign host names are refused.";
            return Err(LambdaError::new(Code::AccessDenied, text));
        }
        Ok(())
    }
}

/// An error before an operation begins, in the shape that the client reads.
fn refusal(parts: &Parts, error: &LambdaError) -> Response<Body> {
    if parts.headers.contains_key("x-amz-target") {
        return error.json_response();
    }
    error.response()
}

/// Every answer has a request id.
fn with_request_id(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&InvocationId::generate().to_string())
    {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
    response
}

/// The host of a request, without its port.
fn host_of(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    // An IPv6 address in brackets has colons of its own.
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    Some(&host[..end])
}

fn is_signed(headers: &HeaderMap, uri: &Uri) -> bool {
    let by_header = |value: &HeaderValue| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256");
    headers.get_all(header::AUTHORIZATION).iter().any(by_header)
        || uri.query().is_some_and(|query| {
            let presigned = ["X-Amz-Algorithm=", "X-Amz-Signature=", "AWSAccessKeyId="];
            presigned.iter().any(|parameter| query.contains(parameter))
        })
}
