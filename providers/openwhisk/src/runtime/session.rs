//! The conversation with one instance: its control connection, its requests to the platform's API, its end.
//!
//! An action is initialized with its first activation, as upstream does it: the environment of initialization holds that
//! activation's context and parameters. Initialization and run each have the action's whole time. Where an instance works
//! on several activations, those that come meanwhile wait for the initialization, and share its failure.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sonagi_model::{FunctionError, InstanceId};
use sonagi_ports::{Call, Clock, InitFailure, Reply, ReplyBody, Session, SessionError};
use sonagi_wire::{HttpLimits, accept_loop};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::classify::{self, Envelope, Status, Verdict};
use super::contract::FrontSlot;
use super::frames::{self, Answer, Came, Kind};
use super::lines;
use crate::entities::Form;

/// The status by which a runtime says that it takes no activation any more: another instance gets it.
/// Source: apache/openwhisk (commit 1fae641), `ContainerProxy.scala`.
const SHUTTING_DOWN: u16 = 503;

/// Connections of one instance to the platform's API at once.
const CONNECTIONS: usize = 64;

/// Names of the attributes that invokers give to sessions.
pub(crate) mod attributes {
    /// The invoking namespace.
    pub(crate) const NAMESPACE: &str = "namespace";
    /// The action's full name, with a slash in front.
    pub(crate) const ACTION: &str = "action_name";
    /// The action's version.
    pub(crate) const VERSION: &str = "action_version";
    /// The id of the request.
    pub(crate) const TRANSACTION: &str = "transaction_id";
    /// The caller's key; absent where the action is not given it.
    pub(crate) const API_KEY: &str = "api_key";
    /// Variables of initialization, a JSON object of texts.
    pub(crate) const INIT: &str = "init";
    /// All that a run's message has besides.
    pub(super) const CONTEXT: [&str; 5] = [NAMESPACE, ACTION, VERSION, TRANSACTION, API_KEY];
}

/// Invocations that were being initialized when their session ended, by which the invoker tells the two ends apart.
pub(crate) type Initializing = Mutex<std::collections::HashSet<sonagi_model::InvocationId>>;

/// How an instance is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Our bootstraps: frames.
    Frames,
    /// Executables: variables as lines for a shell, then a line for each run and for each answer.
    Lines,
}

/// What a session is about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) instance: InstanceId,
    pub(super) speech: Speech,
    pub(super) name: String,
    pub(super) main: String,
    pub(super) form: Form,
    pub(super) limit: Duration,
    /// Longest result, bytes.
    pub(super) result: usize,
    /// Whether activations overlap.
    pub(super) overlap: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) initializing: Arc<Initializing>,
}

#[derive(Debug, Default)]
struct State {
    booted: bool,
    closed: bool,
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
    numbers: u32,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn answer(&self, number: u32, answer: Answer) {
        let waiting = self.state.lock().waiting.remove(&number);
        if let Some(waiting) = waiting {
            // Whoever asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_waiters();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct WhiskSession {
    subject: Subject,
    shared: Arc<Shared>,
    writer: tokio::sync::Mutex<Writer>,
    /// The first activation holds this while it initializes the action.
    initialized: tokio::sync::Mutex<Initialized>,
    stop: CancellationToken,
    reading: TaskTracker,
    tasks: TaskTracker,
}

/// The sending half of the channel.
#[derive(Debug, Default)]
struct Writer {
    half: Option<OwnedWriteHalf>,
    /// Whether somebody gave up in the middle of a message: nothing can follow it. The half stays open, because its end
    /// would end the runtime, which may work on other activations.
    torn: bool,
}

impl Writer {
    /// Sends a whole message. If the future is dropped before that, nothing else is ever sent.
    async fn send(&mut self, message: &[u8]) -> Result<(), Unanswered> {
        if self.torn {
            return Err(Unanswered::Unsent);
        }
        let half = self.half.as_mut().ok_or(Unanswered::Closed)?;
        self.torn = true;
        half.write_all(message).await.map_err(|_broken| Unanswered::Closed)?;
        self.torn = false;
        Ok(())
    }
}

/// How far an action is initialized.
#[derive(Debug, Default)]
enum Initialized {
    #[default]
    No,
    /// Somebody began and gave up.
    Abandoned,
    Yes,
    /// It failed.
    Failed(Ended),
}

/// Why an activation got no answer.
enum Unanswered {
    Late,
    Closed,
    /// It was never sent.
    Unsent,
}

impl WhiskSession {
    /// Begins to serve the channel and the listener of the platform's API.
    pub(super) fn open(
        subject: Subject,
        front: &FrontSlot,
        channel: Option<UnixStream>,
        listeners: Vec<TcpListener>,
    ) -> Self {
        let (reader, writer) = match channel.map(tokio::net::UnixStream::from_std) {
            Some(Ok(channel)) => {
                let (reader, writer) = channel.into_split();
                (Some(reader), Some(writer))
            }
            Some(Err(_)) | None => (None, None),
        };
        let session = Self {
            subject,
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Notify::new(),
            }),
            writer: tokio::sync::Mutex::new(Writer {
                half: writer,
                torn: false,
            }),
            initialized: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            reading: TaskTracker::new(),
            tasks: TaskTracker::new(),
        };
        match reader {
            Some(reader) => session.listen(reader),
            None => session.shared.close(),
        }
        let mut listeners = listeners.into_iter();
        if let Some(listener) = session.adopt(listeners.next()) {
            session.serve_platform(listener, front);
        }
        session.reading.close();
        session
    }

    fn listen(&self, reader: OwnedReadHalf) {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        let (keep, speech) = (self.subject.result, self.subject.speech);
        self.reading.spawn(async move {
            let listening = async {
                match speech {
                    Speech::Frames => hear_frames(reader, &shared, keep).await,
                    Speech::Lines => hear_lines(reader, &shared, keep).await,
                }
            };
            let heard = stop.run_until_cancelled(listening).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, "a channel ended");
            }
            shared.close();
        });
    }

    fn adopt(&self, listener: Option<TcpListener>) -> Option<tokio::net::TcpListener> {
        match tokio::net::TcpListener::from_std(listener?) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::error!(instance = %self.subject.instance, %error, "a listener of an instance cannot be served");
                self.shared.close();
                None
            }
        }
    }

    fn serve_platform(&self, listener: tokio::net::TcpListener, front: &FrontSlot) {
        let limits = HttpLimits {
            connections: CONNECTIONS,
            // A frozen instance cannot notice that its kept connection was closed.
            head_timeout: None,
            idle_timeout: None,
            ..HttpLimits::default()
        };
        let front = Arc::clone(front);
        let accepting = accept_loop(
            listener,
            limits,
            self.tasks.clone(),
            self.stop.clone(),
            move |_peer, _count| {
                let front = front.get().cloned();
                service_fn(move |request: hyper::Request<Incoming>| {
                    let front = front.clone();
                    async move {
                        Ok::<_, std::convert::Infallible>(match front {
                            Some(front) => front.serve_inside(request).await,
                            None => unavailable(),
                        })
                    }
                })
            },
        );
        self.tasks.spawn(accepting);
    }

    /// Sends a message and waits for its answer, at most the action's time.
    async fn exchange(&self, kind: Kind, body: &[u8]) -> Result<Answer, Unanswered> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Err(Unanswered::Closed);
            }
            state.numbers = state.numbers.wrapping_add(1);
            let number = state.numbers;
            state.waiting.insert(number, sender);
            number
        };
        let frame = match self.subject.speech {
            Speech::Frames => frames::write(kind, number, body),
            Speech::Lines if kind == Kind::Init => Bytes::copy_from_slice(body),
            Speech::Lines => lines::write(body),
        };
        let exchanged = tokio::time::timeout(self.subject.limit, async {
            self.writer.lock().await.send(&frame).await?;
            answer.await.map_err(|_closed| Unanswered::Closed)
        });
        let exchanged = exchanged.await;
        self.shared.state.lock().waiting.remove(&number);
        exchanged.unwrap_or(Err(Unanswered::Late))
    }

    /// Gives an executable its variables, and waits until the shell is about to execute it. It has no way to say that it has
    /// begun; that it lives for a moment has to do.
    /// Source: apache/openwhisk-runtime-go (commit 1b00151), `executor.go`: 5 ms.
    async fn start_loop(&self, variables: &Map<String, Value>) -> Result<(), Ended> {
        let begun = Instant::now();
        let told = self.exchange(Kind::Init, &lines::variables(variables)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if told.is_ok() && !self.shared.state.lock().closed {
            return Ok(());
        }
        let text = "Cannot start action. Check logs for details.";
        Err(Ended::Init(begun.elapsed(), Verdict::developer(text)))
    }

    /// Initializes the action, if that was not done; how long it took if it was done now.
    async fn initialize(&self, call: &Call) -> Result<Option<Duration>, Ended> {
        let mut initialized = self.initialized.lock().await;
        match &*initialized {
            Initialized::Yes => return Ok(None),
            Initialized::Abandoned => return Err(Ended::Undelivered),
            Initialized::Failed(ended) => {
                if matches!(ended, Ended::Closed) {
                    self.subject.initializing.lock().insert(call.invocation);
                }
                return Err(ended.clone());
            }
            Initialized::No => *initialized = Initialized::Abandoned,
        }
        let begun = Instant::now();
        let done = match self.subject.speech {
            Speech::Lines => self.start_loop(&environment(call)).await,
            Speech::Frames => self.load(call).await,
        };
        *initialized = match &done {
            Ok(()) => Initialized::Yes,
            Err(ended) => Initialized::Failed(ended.clone()),
        };
        done.map(|()| Some(begun.elapsed()))
    }

    /// Has a bootstrap load the action.
    async fn load(&self, call: &Call) -> Result<(), Ended> {
        let begun = Instant::now();
        let message = json!({
            "name": self.subject.name,
            "main": self.subject.main,
            "form": self.subject.form,
            "overlap": self.subject.overlap,
            "env": environment(call),
        });
        self.subject.initializing.lock().insert(call.invocation);
        let answer = self.exchange(Kind::Init, message.to_string().as_bytes()).await;
        if !matches!(answer, Err(Unanswered::Closed)) {
            self.subject.initializing.lock().remove(&call.invocation);
        }
        match answer {
            Ok(answer) => match classify::init(answer.status, &answer.body) {
                None => Ok(()),
                Some(verdict) => Err(Ended::Init(begun.elapsed(), verdict)),
            },
            Err(Unanswered::Late) => Err(Ended::InitLate),
            Err(Unanswered::Closed) => Err(Ended::Closed),
            Err(Unanswered::Unsent) => Err(Ended::Undelivered),
        }
    }
}

/// How an initialization ended that was not good.
#[derive(Debug, Clone)]
enum Ended {
    Init(Duration, Verdict),
    InitLate,
    Closed,
    /// The action never heard of it.
    Undelivered,
}

fn unavailable() -> http::Response<sonagi_wire::Body> {
    let mut answer = http::Response::new(sonagi_wire::full("the platform is starting\n"));
    *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// What a bootstrap says, to its end.
async fn hear_frames(reader: OwnedReadHalf, shared: &Shared, keep: usize) -> std::io::Result<()> {
    let mut reader = tokio::io::BufReader::with_capacity(16 * 1024, reader);
    loop {
        match frames::read(&mut reader, keep).await? {
            Came::Booted => {
                shared.state.lock().booted = true;
                shared.changed.notify_waiters();
            }
            Came::Answer(number, answer) => shared.answer(number, answer),
        }
    }
}

/// What an executable says, to its end: a line answers the one run that is open.
async fn hear_lines(reader: OwnedReadHalf, shared: &Shared, keep: usize) -> std::io::Result<()> {
    let mut reader = tokio::io::BufReader::with_capacity(16 * 1024, reader);
    loop {
        let answer = lines::read(&mut reader, keep).await?;
        let open = shared.state.lock().waiting.keys().next().copied();
        if let Some(number) = open {
            shared.answer(number, answer);
        }
    }
}

/// The variables of initialization: the action's own, then the activation's context.
fn environment(call: &Call) -> Map<String, Value> {
    let own = call.attributes.get(attributes::INIT);
    let mut variables: Map<String, Value> = own.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for (name, value) in context(call) {
        variables.insert(format!("__OW_{}", name.to_uppercase()), value);
    }
    variables
}

/// What a run's message has besides its arguments.
fn context(call: &Call) -> impl Iterator<Item = (&'static str, Value)> {
    let given = |name: &'static str| Some((name, Value::String(call.attributes.get(name)?.to_owned())));
    let activation = call.invocation.as_uuid().as_simple().to_string();
    let deadline = call.deadline.as_millis().to_string();
    attributes::CONTEXT
        .into_iter()
        .filter_map(given)
        .collect::<Vec<_>>()
        .into_iter()
        .chain([
            ("activation_id", Value::String(activation)),
            ("deadline", Value::String(deadline)),
        ])
}

/// A run's message; the arguments are copied as they are.
fn run_message(call: &Call) -> Option<Vec<u8>> {
    let value: &RawValue = serde_json::from_slice(&call.payload).ok()?;
    let mut message = b"{\"value\":".to_vec();
    message.extend_from_slice(value.get().as_bytes());
    for (name, value) in context(call) {
        message.extend(format!(",\"{name}\":{value}").as_bytes());
    }
    message.push(b'}');
    Some(message)
}

impl WhiskSession {
    fn now(&self) -> i64 {
        self.subject.clock.now().as_millis()
    }

    /// The deadline that the action is told is its own time, not the longer one that covers initialization too.
    fn own_deadline(&self, call: &mut Call) {
        call.deadline = self.subject.clock.now().plus(self.subject.limit);
    }

    fn seal(verdict: Verdict, init: Option<Duration>, begun: i64, ended: i64) -> Bytes {
        Envelope {
            status: verdict.status,
            init_ms: init.map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
            begun,
            ended,
            result: verdict.result,
        }
        .seal()
    }
}

fn failure(kind: Status, body: Bytes) -> FunctionError {
    FunctionError {
        kind: Some(kind.text().to_owned()),
        body: body.into(),
    }
}

#[async_trait]
impl Session for WhiskSession {
    async fn ready(&self) -> Result<(), InitFailure> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.shared.state.lock();
                if state.booted || self.subject.speech == Speech::Lines && !state.closed {
                    return Ok(());
                }
                if state.closed {
                    return Err(InitFailure::Violation("the runtime did not connect"));
                }
            }
            changed.await;
        }
    }

    async fn invoke(&self, mut call: Call) -> Result<Reply, SessionError> {
        if self.shared.state.lock().closed {
            return Err(SessionError::NotDelivered);
        }
        let mut begun = self.now();
        self.own_deadline(&mut call);
        let init = match self.initialize(&call).await {
            Ok(init) => init,
            Err(Ended::Init(took, verdict)) => {
                let body = Self::seal(verdict, Some(took), begun, self.now());
                return Err(SessionError::Broken(failure(Status::DeveloperError, body)));
            }
            Err(Ended::InitLate) => return Err(SessionError::InitTimedOut),
            Err(Ended::Closed) => return Err(SessionError::Closed),
            Err(Ended::Undelivered) => return Err(SessionError::NotDelivered),
        };
        if self.subject.overlap && init.is_none() {
            // Waiting for another's initialization is no time of its own.
            begun = self.now();
        }
        self.own_deadline(&mut call);
        let message = run_message(&call).ok_or(SessionError::Violation("the arguments are no JSON"))?;
        let answer = match self.exchange(Kind::Run, &message).await {
            Ok(answer) => answer,
            Err(Unanswered::Late) => return Err(SessionError::TimedOut),
            Err(Unanswered::Closed) => return Err(SessionError::Closed),
            Err(Unanswered::Unsent) => return Err(SessionError::NotDelivered),
        };
        if answer.status == SHUTTING_DOWN {
            return Err(SessionError::NotDelivered);
        }
        let verdict = classify::run(answer.status, &answer.body, answer.length, self.subject.result);
        let status = verdict.status;
        let body = Self::seal(verdict, init, begun, self.now());
        let whole = |body| {
            Ok(Reply {
                content_type: None,
                body: ReplyBody::Whole(body),
            })
        };
        match status {
            Status::Success => whole(Ok(body)),
            Status::ApplicationError => whole(Err(failure(status, body))),
            Status::DeveloperError | Status::InternalError => Err(SessionError::Broken(failure(status, body))),
        }
    }

    async fn drained(&self) {
        self.reading.wait().await;
    }

    fn close(&self) {
        self.stop.cancel();
        self.shared.close();
        self.tasks.close();
    }
}

impl Drop for WhiskSession {
    fn drop(&mut self) {
        self.close();
    }
}
