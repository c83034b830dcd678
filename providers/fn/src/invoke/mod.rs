//! Calls of functions: by id, by trigger, now or detached.
//! Source: fnproject/fn 0.3.753, `api/server/runner_fninvoke.go`, `runner_httptrigger.go`, `api/agent`.

mod headers;
mod targets;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use sonagi_dispatch::{Answer, Finished, LogTail, Refused, Request};
use sonagi_model::{EventId, InvocationId, Mebibytes, Outcome};
use sonagi_ports::{AcceptError, Accepted, Attributes, EventRoute, NewEvent, Token};
use sonagi_wire::Body;

use crate::accounts::Account;
use crate::api::{self, Api};
use crate::errors::FnError;
use crate::estate::Held;
use crate::ids;
use crate::runtime::{CONTRACT, attributes, envelope};

pub use targets::FnTargets;

/// Header that says whether the answer is waited for.
const INVOKE_TYPE: &str = "fn-invoke-type";
/// Its value where it is not.
const DETACHED: &str = "detached";
/// Header with the id of a call.
const CALL_ID: &str = "fn-call-id";

/// For how long sending a token again is the same call.
const TOKEN_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Runs functions now or later.
#[async_trait]
pub trait Runner: Send + Sync + std::fmt::Debug {
    /// Runs one attempt.
    ///
    /// # Errors
    /// [`Refused`]: nothing ran.
    async fn run(&self, request: Request) -> Result<Answer, Refused>;

    /// Accepts an event; when it returns, the event is durable.
    ///
    /// # Errors
    /// [`AcceptError`]: the event was not accepted.
    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError>;
}

/// How a request came in, and so what of its answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Invoke,
    Trigger,
}

/// A call, not yet made.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) held: Held,
    pub(crate) invocation: InvocationId,
    pub(crate) payload: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) log_tail: LogTail,
}

/// Makes calls.
#[derive(Debug)]
pub(crate) struct Invoker {
    pub(crate) api: Arc<Api>,
    pub(crate) runner: Arc<dyn Runner>,
    /// Memory for all instances together.
    pub(crate) node_memory: Mebibytes,
}

impl Invoker {
    /// `POST /invoke/{id}`.
    pub(crate) async fn by_id(&self, parts: &Parts, body: Incoming, id: &str) -> Response<Body> {
        let prepared = async {
            if parts.method != Method::POST {
                return Err(api::no_method(parts));
            }
            let account = self.api.accounts.authenticate(&parts.headers)?;
            let held = self.api.estate.function(&account.name, id)?;
            let payload = api::read(body, self.api.limits.request).await?;
            Ok((held, payload, headers::of_call(&parts.headers)))
        };
        match prepared.await {
            Ok((held, payload, headers)) => self.call(parts, Gate::Invoke, held, payload, headers).await,
            Err(error) => error.response(),
        }
    }

    /// Any method below `/t/{app}`.
    pub(crate) async fn by_trigger(&self, parts: &Parts, body: Incoming) -> Response<Body> {
        let prepared = async {
            let held = self.triggered(parts)?;
            let payload = api::read(body, self.api.limits.request).await?;
            let first = self.api.base(&parts.headers, "").url;
            Ok::<_, FnError>((held, payload, headers::of_gateway(parts, &first)))
        };
        match prepared.await {
            Ok((held, payload, headers)) => self.call(parts, Gate::Trigger, held, payload, headers).await,
            Err(error) => error.response(),
        }
    }

    /// The function of a trigger's address: `/t/APP/SOURCE`, or `/t/ACCOUNT:APP/SOURCE` of an account besides the first.
    fn triggered(&self, parts: &Parts) -> Result<Held, FnError> {
        let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8();
        let path = path.map_err(|_| FnError::no_trigger())?;
        let rest = path.strip_prefix("/t/").ok_or_else(|| api::no_path(parts))?;
        let (app, source) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let first = self.api.accounts.first();
        let (account, app): (Option<Arc<Account>>, &str) = match app.split_once(':') {
            Some((account, app)) => (self.api.accounts.get(account), app),
            None => (first, app),
        };
        let account = account.ok_or_else(FnError::no_app)?;
        let app = self
            .api
            .estate
            .app_named(&account.name, app)
            .ok_or_else(FnError::no_app)?;
        let triggers = self.api.estate.triggers_of(&app.id);
        let source = if source.is_empty() { "/" } else { source };
        let trigger = triggers.iter().find(|trigger| trigger.source == source);
        let trigger = trigger.ok_or_else(FnError::no_trigger)?;
        self.api.estate.function(&account.name, &trigger.function)
    }

    async fn call(&self, parts: &Parts, gate: Gate, held: Held, payload: Bytes, headers: HeaderMap) -> Response<Body> {
        let invocation = InvocationId::generate();
        let order = Order {
            held,
            invocation,
            payload,
            headers,
            log_tail: LogTail::Omit,
        };
        let detached = parts
            .headers
            .get(INVOKE_TYPE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(DETACHED.as_bytes()));
        let answered = if detached {
            self.accept(order, None).await.map(|_| accepted())
        } else {
            match self.run(order).await {
                Ok(finished) => show(gate, &finished),
                Err(error) => Err(error),
            }
        };
        let mut response = answered.unwrap_or_else(|error| error.response());
        if let Ok(id) = HeaderValue::from_str(&ids::write(invocation.as_uuid())) {
            response.headers_mut().insert(CALL_ID, id);
        }
        response
    }

    /// Whether a function can be run at all.
    fn check(&self, held: &Held) -> Result<(), FnError> {
        let record = &held.record;
        if record.recipe.is_none() {
            return Err(FnError::no_image(
                &record.image,
                "this platform runs no container images; upload the function's folder to /v2/sources",
            ));
        }
        if record.memory > self.node_memory.0 {
            return Err(FnError::bad("Requested CPU/Memory cannot be allocated"));
        }
        Ok(())
    }

    /// Runs one attempt and waits for its end.
    ///
    /// # Errors
    /// Nothing ran.
    pub(crate) async fn run(&self, order: Order) -> Result<Finished, FnError> {
        self.check(&order.held)?;
        let mut given = Attributes::default();
        attributes::put(&order.headers, &mut given);
        let request = Request {
            function: Arc::clone(&order.held.entry.function),
            revision: Arc::clone(order.held.entry.latest()),
            invocation: order.invocation,
            attempt: 1,
            payload: order.payload,
            attributes: given,
            tenant_concurrency: self.api.limits.concurrent,
            log_tail: order.log_tail,
        };
        match self.runner.run(request).await? {
            Answer::Whole(finished) => Ok(finished),
            // No session of this provider streams; whatever comes is waited for.
            Answer::Stream(streaming) => streaming
                .finished
                .await
                .map_err(|_| FnError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")),
        }
    }

    /// Accepts a detached call; durable when this returns. The same `token` again is the same call.
    ///
    /// # Errors
    /// It was not accepted.
    pub(crate) async fn accept(&self, order: Order, token: Option<String>) -> Result<InvocationId, FnError> {
        self.check(&order.held)?;
        let function = &order.held.entry.function;
        let route = EventRoute::Function {
            contract: CONTRACT.to_owned(),
            function: function.id,
            qualifier: None,
        };
        let mut given = Attributes::default();
        attributes::put(&order.headers, &mut given);
        let event = NewEvent {
            id: EventId::from_uuid(*order.invocation.as_uuid()),
            attributes: given,
            token: token.map(|text| Token {
                scope: function.id.to_string(),
                text,
                window: TOKEN_WINDOW,
            }),
            ..NewEvent::new(
                route,
                function.namespace.clone(),
                function.name.to_string(),
                order.payload,
            )
        };
        Ok(self.runner.accept(event).await?.invocation())
    }
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(sonagi_wire::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// What a caller sees of the end of a call.
fn show(gate: Gate, finished: &Finished) -> Result<Response<Body>, FnError> {
    if let Some(error) = FnError::of_outcome(&finished.outcome) {
        if let Outcome::Platform(why) = &finished.outcome {
            tracing::error!(invocation = %finished.record.invocation, why, "a call failed through the platform's fault");
        }
        return Err(error);
    }
    let invalid = || FnError::new(StatusCode::BAD_GATEWAY, crate::errors::kinds::INVALID);
    let (head, body) = envelope::open(&finished.body).ok_or_else(invalid)?;
    let (status, headers) = match gate {
        Gate::Invoke => (StatusCode::OK, head),
        Gate::Trigger => headers::of_answer(&head).ok_or_else(invalid)?,
    };
    let mut response = Response::new(sonagi_wire::full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(response)
}
