//! The conversation with one instance: its listeners, its tasks, its end.

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use sonagi_model::{InstanceId, RunRecord};
use sonagi_ports::{Call, InitFailure, LogTap, Reply, Session, SessionError};
use sonagi_wire::{HttpLimits, serve_stream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::InstanceFront;
use super::channel::{Dialect, Line};
use super::exchange::Exchange;
use super::extensions::{Company, Steward};
use super::server::{self, CONNECTIONS, Ending, RuntimeApi};
use super::system::RuntimeVersion;
use super::talk::{Facts, Talk};
use crate::credentials::TemporaryCredentials;

/// Where the front will be, once it is attached.
pub(super) type FrontSlot = Arc<OnceLock<Arc<dyn InstanceFront>>>;

/// A session of this contract.
#[derive(Debug)]
pub(super) struct AwsSession {
    instance: InstanceId,
    exchange: Arc<Exchange>,
    /// The channel, if the instance has one.
    talk: Option<Talk>,
    /// The runtime has asked for its first event over the channel: it does not use the Runtime API.
    talks: AtomicBool,
    credentials: Arc<TemporaryCredentials>,
    runtime: Ending,
    front: Ending,
    /// Extensions, if there are any.
    company: Company,
    /// What runs it, for those who want to know.
    version: RuntimeVersion,
    /// Whatever concerns programs beside the runtime.
    beside: Ending,
}

impl AwsSession {
    /// Begins to serve. Listeners: the Runtime API's, the platform API's, then the supervisor's if there is one.
    pub(super) fn open(
        instance: InstanceId,
        api: RuntimeApi,
        credentials: Arc<TemporaryCredentials>,
        front: &FrontSlot,
        (listeners, channel): (Vec<TcpListener>, Option<(UnixStream, Dialect)>),
        (mut company, version): (Company, RuntimeVersion),
    ) -> Self {
        let stop = CancellationToken::new();
        let ending = || Ending {
            stop: stop.clone(),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let runtime = ending();
        let talk = channel.and_then(|channel| talk(instance, channel, &api, &runtime));
        let mut listeners = listeners.into_iter();
        let (for_runtime, for_front) = (listeners.next(), listeners.next());
        let beside = ending();
        if let Some(listener) = listeners.next() {
            company.steward = steward(instance, listener, &company, &beside);
        }
        let session = Self {
            instance,
            exchange: Arc::clone(&api.exchange),
            talk,
            talks: AtomicBool::new(false),
            credentials,
            runtime,
            front: ending(),
            company,
            version,
            beside,
        };
        let api = Arc::new(api);
        session.listen(for_runtime, &session.runtime, move |stream| {
            Arc::clone(&api).serve(stream)
        });
        let (front, stop) = (Arc::clone(front), session.front.stop.clone());
        session.listen(for_front, &session.front, move |stream| {
            serve_front(Arc::clone(&front), instance, stream, stop.clone())
        });
        session
    }

    fn listen<F>(
        &self,
        listener: Option<TcpListener>,
        ending: &Ending,
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(listener) = listener else { return };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                ending.tasks.spawn(server::accept(listener, ending.clone(), serve));
            }
            Err(error) => {
                tracing::error!(instance = %self.instance, %error, "a listener of an instance cannot be served");
                self.close();
            }
        }
    }
}

/// Whoever looks after programs beside the runtime. Without one none is started, nor the runtime, and the start fails in
/// time.
fn steward(instance: InstanceId, listener: TcpListener, company: &Company, ending: &Ending) -> Option<Arc<Steward>> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .inspect_err(|error| tracing::error!(%instance, %error, "a listener of an instance cannot be served"))
        .ok()?;
    let (registry, telemetry) = (Arc::clone(&company.registry), Arc::clone(&company.telemetry));
    let steward = Steward::open(
        listener,
        registry,
        Arc::clone(&telemetry),
        Arc::clone(&company.clock),
        ending.clone(),
    );
    telemetry.attach(&steward);
    Some(steward)
}

/// The conversation over a channel. Without one that can be used the function gets no event, and its start fails in time.
fn talk(
    instance: InstanceId,
    (channel, dialect): (UnixStream, Dialect),
    api: &RuntimeApi,
    ending: &Ending,
) -> Option<Talk> {
    let limits = &api.limits;
    let line = Line::new(channel, dialect, usize::try_from(limits.response).unwrap_or(usize::MAX));
    let line = line
        .inspect_err(|error| tracing::error!(%instance, %error, "the channel of an instance cannot be used"))
        .ok()?;
    let facts = Facts {
        function_arn: api.defaults.function_arn.clone(),
        response: limits.response,
        stream: limits.stream,
        clock: Arc::clone(&api.clock),
        entropy: Arc::clone(&api.entropy),
    };
    Some(Talk::new(line, &ending.stop, ending.tasks.clone(), facts))
}

/// Serves one connection to the platform's own API.
async fn serve_front(front: FrontSlot, instance: InstanceId, stream: TcpStream, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let front = front.get().cloned();
        async move {
            Ok::<_, Infallible>(match front {
                Some(front) => front.serve(request, instance).await,
                None => unavailable(),
            })
        }
    });
    // No time limit between requests: a frozen instance cannot notice that its kept connection was closed.
    let limits = HttpLimits {
        connections: CONNECTIONS,
        head_timeout: None,
        ..HttpLimits::default()
    };
    serve_stream(stream, limits, service, stop, None).await;
}

fn unavailable() -> Response<sonagi_wire::Body> {
    let mut answer = Response::new(sonagi_wire::full("the platform is starting\n"));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

impl AwsSession {
    /// Waits until the runtime has asked for its first event.
    async fn runtime_ready(&self) -> Result<(), InitFailure> {
        let asked = std::future::poll_fn(|cx| self.exchange.poll_ready(cx));
        let Some(talk) = &self.talk else { return asked.await };
        // A wrapper script may have started a runtime that knows nothing of the channel.
        tokio::select! {
            biased;
            result = talk.ready() => {
                self.talks.store(result.is_ok(), Ordering::Release);
                result
            }
            result = asked => result,
        }
    }

    /// Hands an event to the runtime.
    async fn invoke_runtime(&self, call: Call) -> Result<Reply, SessionError> {
        if let Some(talk) = &self.talk {
            // Which way the runtime speaks is known once it has asked for an event.
            if !self.talks.load(Ordering::Acquire) && self.runtime_ready().await.is_err() {
                return Err(SessionError::NotDelivered);
            }
            if self.talks.load(Ordering::Acquire) {
                return talk.invoke(call).await;
            }
        }
        let answer = self.exchange.deliver(call)?;
        // The sender is dropped without an answer only when the session ends while the answer is being read.
        answer.await.unwrap_or(Err(SessionError::Closed))
    }

    /// The same where others hear of it too.
    async fn invoke_together(&self, mut call: Call) -> Result<Reply, SessionError> {
        let id = call.invocation;
        let underway = self.company.hand_out(&mut call);
        let result = tokio::select! {
            biased;
            result = self.invoke_runtime(call) => result,
            failure = self.company.failed() => Err(SessionError::Broken(failure.error(Some(&id.to_string())))),
        };
        underway.answered(&result);
        result
    }
}

#[async_trait]
impl Session for AwsSession {
    async fn ready(&self) -> Result<(), InitFailure> {
        let (company, begun) = (&self.company, Instant::now());
        let ready = async {
            company.start(self.instance, || self.version.clone()).await;
            let runtime = self.runtime_ready().await;
            company.initialized(runtime, begun).await
        };
        tokio::select! {
            biased;
            failure = company.failed() => Err(InitFailure::Reported(failure.error(None))),
            ready = ready => ready,
        }
    }

    async fn invoke(&self, call: Call) -> Result<Reply, SessionError> {
        if self.company.any() {
            return Box::pin(self.invoke_together(call)).await;
        }
        self.invoke_runtime(call).await
    }

    fn lingers(&self) -> bool {
        self.company.any()
    }

    async fn settled(&self) -> Result<(), SessionError> {
        self.company.settled().await
    }

    fn metered(&self, record: &RunRecord) {
        self.company.metered(record);
    }

    fn takes_leave(&self) -> bool {
        self.company.steward.is_some()
    }

    async fn farewell(&self) {
        if let Some(steward) = &self.company.steward {
            steward.farewell().await;
        }
    }

    fn log_tap(&self) -> Option<Arc<dyn LogTap>> {
        self.company.log_tap()
    }

    async fn drained(&self) {
        self.runtime.drain.cancel();
        if let Some(talk) = &self.talk {
            talk.drained().await;
        }
        self.runtime.tasks.close();
        self.runtime.tasks.wait().await;
        self.exchange.close();
        if let Some(talk) = &self.talk {
            talk.finish();
        }
    }

    fn close(&self) {
        self.credentials.revoke(self.instance);
        self.exchange.close();
        self.company.registry.close();
        if let Some(talk) = &self.talk {
            talk.close();
        }
        for ending in [&self.runtime, &self.front, &self.beside] {
            ending.stop.cancel();
            ending.tasks.close();
        }
    }
}

impl Drop for AwsSession {
    fn drop(&mut self) {
        self.close();
    }
}
