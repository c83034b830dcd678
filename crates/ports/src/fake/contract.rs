//! A contract whose functions are scripts of a test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sonagi_model::{FunctionError, InstanceId, InstanceLimits, Revision, RevisionSpec};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::{
    Call, CellKind, Contract, ContractError, ContractLimits, InitFailure, Launch, LaunchPlan, Moment, Mount, Opening,
    Reply, ReplyBody, Session, SessionError, StreamPart,
};

/// How the function's initialization goes.
#[derive(Debug, Clone)]
pub struct FakeInit {
    /// How long it takes; `None`: for ever.
    pub takes: Option<Duration>,
    /// How it ends.
    pub result: Result<(), InitFailure>,
}

impl Default for FakeInit {
    fn default() -> Self {
        Self {
            takes: Some(Duration::ZERO),
            result: Ok(()),
        }
    }
}

/// What the function does with one event.
#[derive(Debug, Clone)]
pub enum FakeAct {
    /// Sends the event back.
    Echo,
    /// Answers after a while.
    Answer(Duration, Result<Bytes, FunctionError>),
    /// Streams these parts, each after a while, and ends as said.
    Stream(Vec<(Duration, Bytes)>, FakeEnd),
    /// Never answers.
    Hang,
    /// The session fails.
    Fails(SessionError),
}

/// How a stream ends.
#[derive(Debug, Clone)]
pub enum FakeEnd {
    /// In order.
    End,
    /// With an error of the function.
    Failed(FunctionError),
    /// By breaking off.
    BreaksOff,
    /// Never.
    Hangs,
}

/// A [`Contract`] named `test`.
#[derive(Debug)]
pub struct FakeContract {
    limits: Mutex<ContractLimits>,
    inits: Mutex<VecDeque<FakeInit>>,
    acts: Arc<Acts>,
    plan_errors: Mutex<VecDeque<ContractError>>,
    sessions: Mutex<Vec<Arc<FakeSession>>>,
}

#[derive(Debug)]
struct Acts {
    next: Mutex<VecDeque<FakeAct>>,
    otherwise: Mutex<FakeAct>,
    drain: Mutex<Duration>,
    /// The tasks that feed streams. They end with their receivers.
    feeders: TaskTracker,
}

impl Default for FakeContract {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeContract {
    /// Functions become ready at once and echo.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Mutex::new(ContractLimits {
                init: Duration::from_secs(10),
                response: 1024,
                stream: 4096,
            }),
            inits: Mutex::default(),
            acts: Arc::new(Acts {
                next: Mutex::default(),
                otherwise: Mutex::new(FakeAct::Echo),
                drain: Mutex::default(),
                feeders: TaskTracker::new(),
            }),
            plan_errors: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The numbers from now on.
    pub fn set_limits(&self, limits: ContractLimits) {
        *self.limits.lock() = limits;
    }

    /// The next initializations go like this, in this order.
    pub fn script_inits(&self, inits: impl IntoIterator<Item = FakeInit>) {
        self.inits.lock().extend(inits);
    }

    /// The next events are answered like this, in this order, by whichever instance takes them.
    pub fn script_acts(&self, acts: impl IntoIterator<Item = FakeAct>) {
        self.acts.next.lock().extend(acts);
    }

    /// Every other event is answered like this.
    pub fn otherwise(&self, act: FakeAct) {
        *self.acts.otherwise.lock() = act;
    }

    /// Reading what an instance sent before its end takes so long from now on.
    pub fn set_drain(&self, takes: Duration) {
        *self.acts.drain.lock() = takes;
    }

    /// The next plans fail like this.
    pub fn script_plan_errors(&self, errors: impl IntoIterator<Item = ContractError>) {
        self.plan_errors.lock().extend(errors);
    }

    /// Every session ever opened, in order.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<FakeSession>> {
        self.sessions.lock().clone()
    }
}

fn plan_for(launch: &Launch<'_>) -> LaunchPlan {
    let spec = &launch.revision.spec;
    LaunchPlan {
        instance: launch.instance,
        cell: CellKind {
            mounts: Vec::new(),
            stem: None,
            outside: sonagi_model::Outside::Open,
        },
        code: Mount {
            source: launch.tree.to_owned(),
            target: "/code".to_owned(),
            executable: true,
        },
        program: vec!["/code/program".to_owned()],
        environment: spec.environment.clone().into_iter().collect(),
        working_directory: "/code".to_owned(),
        listeners: Vec::new(),
        sockets: Vec::new(),
        channel: false,
        meets_in_scratch: false,
        limits: InstanceLimits::for_sizes(spec.memory, spec.scratch),
    }
}

impl Contract for FakeContract {
    fn name(&self) -> &'static str {
        "test"
    }

    fn plan(&self, launch: &Launch<'_>) -> Result<LaunchPlan, ContractError> {
        match self.plan_errors.lock().pop_front() {
            Some(error) => Err(error),
            None => Ok(plan_for(launch)),
        }
    }

    fn cell(&self, _: &RevisionSpec) -> Option<CellKind> {
        Some(CellKind {
            mounts: Vec::new(),
            stem: None,
            outside: sonagi_model::Outside::Open,
        })
    }

    fn open(&self, opening: Opening) -> Arc<dyn Session> {
        let session = Arc::new(FakeSession {
            revision: opening.revision,
            instance: opening.instance,
            init: self.inits.lock().pop_front().unwrap_or_default(),
            acts: self.acts.clone(),
            calls: Mutex::default(),
            closed: watch::Sender::new(false),
            open: AtomicU32::new(0),
        });
        self.sessions.lock().push(session.clone());
        session
    }

    fn limits(&self) -> ContractLimits {
        self.limits.lock().clone()
    }

    fn billed_ms(&self, init: Duration, duration: Duration) -> u64 {
        u64::try_from((init + duration).as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    fn narrate(&self, moment: &Moment<'_>) -> Vec<String> {
        vec![match moment {
            Moment::InitStart { revision, .. } => format!("INIT {}", revision.label),
            Moment::InitFailed { status, .. } => format!("INIT FAILED {status}"),
            Moment::Start { invocation, .. } => format!("START {invocation}"),
            Moment::TimedOut {
                invocation, timeout, ..
            } => {
                format!("TIMED OUT {invocation} {} ms", timeout.as_millis())
            }
            Moment::End { record, .. } => format!("END {} {:?}", record.invocation, record.status),
        }]
    }
}

/// A [`Session`] of a [`FakeContract`].
#[derive(Debug)]
pub struct FakeSession {
    revision: Arc<Revision>,
    instance: InstanceId,
    init: FakeInit,
    acts: Arc<Acts>,
    calls: Mutex<Vec<Call>>,
    closed: watch::Sender<bool>,
    /// Events that it works on.
    open: AtomicU32,
}

impl FakeSession {
    /// The revision it serves.
    #[must_use]
    pub const fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }

    /// Its instance.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Every event handed over, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    fn next_act(&self) -> FakeAct {
        let scripted = self.acts.next.lock().pop_front();
        scripted.unwrap_or_else(|| self.acts.otherwise.lock().clone())
    }
}

/// One event that a session works on, its future dropped or not.
struct OpenEvent<'a>(&'a AtomicU32);

impl<'a> OpenEvent<'a> {
    /// Panics when the session gets more at once than its revision takes.
    fn new(open: &'a AtomicU32, limit: u32) -> Self {
        let others = open.fetch_add(1, Ordering::SeqCst);
        let event = Self(open);
        assert!(others < limit, "an instance got {} events at once", others + 1);
        event
    }
}

impl Drop for OpenEvent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn whole(result: Result<Bytes, FunctionError>) -> Reply {
    Reply {
        content_type: None,
        body: ReplyBody::Whole(result),
    }
}

async fn feed(parts: Vec<(Duration, Bytes)>, end: FakeEnd, to: mpsc::Sender<StreamPart>) {
    for (wait, data) in parts {
        tokio::time::sleep(wait).await;
        if to.send(StreamPart::Data(data)).await.is_err() {
            return;
        }
    }
    // A receiver that has gone is the end of the matter: nobody is left to be told.
    match end {
        FakeEnd::End => drop(to.send(StreamPart::End).await),
        FakeEnd::Failed(error) => drop(to.send(StreamPart::Failed(error)).await),
        FakeEnd::BreaksOff => (),
        FakeEnd::Hangs => to.closed().await,
    }
}

#[async_trait]
impl Session for FakeSession {
    async fn ready(&self) -> Result<(), InitFailure> {
        match self.init.takes {
            None => std::future::pending().await,
            Some(takes) => {
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
                self.init.result.clone()
            }
        }
    }

    async fn invoke(&self, call: Call) -> Result<Reply, SessionError> {
        if self.is_closed() {
            return Err(SessionError::Closed);
        }
        let _open = OpenEvent::new(&self.open, self.revision.spec.concurrency.get());
        let payload = call.payload.clone();
        self.calls.lock().push(call);
        match self.next_act() {
            FakeAct::Echo => Ok(whole(Ok(payload))),
            FakeAct::Answer(after, result) => {
                tokio::time::sleep(after).await;
                Ok(whole(result))
            }
            FakeAct::Stream(parts, end) => {
                let (to, parts_read) = mpsc::channel(1);
                self.acts.feeders.spawn(feed(parts, end, to));
                Ok(Reply {
                    content_type: Some("text/plain".to_owned()),
                    body: ReplyBody::Stream(parts_read),
                })
            }
            FakeAct::Hang => std::future::pending().await,
            FakeAct::Fails(error) => Err(error),
        }
    }

    async fn drained(&self) {
        let takes = *self.acts.drain.lock();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
    }

    fn close(&self) {
        self.closed.send_replace(true);
    }
}
