//! Accepted events: durable before they are acknowledged, run at least once, tried again by their rules, settled exactly
//! once. What is to be done is decided by [`sonagi_events::Core`]; here it is done: the store is asked, attempts run,
//! destinations are given their messages. Nothing runs and no timer ticks while nothing is due.

mod attempt;
mod keep;
mod lost;
mod wall;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_crash::crash_point;
use sonagi_events::{Command, Core, CoreOptions, Input};
use sonagi_model::{EventId, Timestamp};
use sonagi_ports::{
    AcceptError, Accepted, Cancelled, Clock, Destination, EventHead, EventIntake, EventQueue, EventTargets, Lane,
    Lease, NewEvent, QueuedEvent, RetryRules, RunStore, StoreError,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatcher::Dispatcher;
use crate::persist::{Home, Persist};
use attempt::Done;
use wall::Wall;

/// Settings of asynchronous invocations.
#[derive(Debug, Clone)]
pub struct AsynchronousOptions {
    /// How many events are worked on at once.
    pub core: CoreOptions,
    /// Events that are being stored at once; more are refused as busy at once. Default 768, less than the store's writer
    /// lets wait, so that ends of events always find room.
    pub accepting: usize,
    /// Longest time for a destination to take a message. Default 30 s.
    pub delivery_timeout: Duration,
    /// When messages are offered again to destinations that did not take them.
    pub delivery_rules: RetryRules,
}

impl Default for AsynchronousOptions {
    fn default() -> Self {
        Self {
            core: CoreOptions::default(),
            accepting: 768,
            delivery_timeout: Duration::from_secs(30),
            delivery_rules: RetryRules {
                delays: Vec::new(),
                ..RetryRules::default()
            },
        }
    }
}

/// Where events go: functions by their contract's name, destinations by their adapter's.
#[derive(Clone, Default)]
pub struct Routes {
    functions: HashMap<String, Arc<dyn EventTargets>>,
    destinations: HashMap<String, Arc<dyn Destination>>,
}

impl Routes {
    /// No route yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With functions of a contract.
    #[must_use]
    pub fn functions(mut self, contract: impl Into<String>, targets: Arc<dyn EventTargets>) -> Self {
        self.functions.insert(contract.into(), targets);
        self
    }

    /// With destinations of an adapter.
    #[must_use]
    pub fn destination(mut self, adapter: impl Into<String>, destination: Arc<dyn Destination>) -> Self {
        self.destinations.insert(adapter.into(), destination);
        self
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.functions.keys().chain(self.destinations.keys()))
            .finish()
    }
}

/// Runs accepted events. Cloning gives another handle on the same runner. Ends with [`Asynchronous::stop`].
#[derive(Debug, Clone)]
pub struct Asynchronous {
    runner: Arc<Runner>,
}

/// What is known of an event that is worked on, beside the machine's own words.
#[derive(Debug, Default)]
struct Work {
    event: Option<QueuedEvent>,
    done: Option<Done>,
}

#[derive(Debug)]
struct Runner {
    options: AsynchronousOptions,
    queue: Arc<dyn EventQueue>,
    runs: Arc<dyn RunStore>,
    routes: Routes,
    dispatcher: Dispatcher,
    wall: Wall,
    core: Mutex<Core>,
    /// As many as the machine has in flight.
    work: Mutex<HashMap<EventId, Work>>,
    accepting: Arc<Semaphore>,
    /// The moment of the timer may have changed.
    rearm: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Home for Arc<Runner> {
    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Asynchronous {
    /// Settles what an earlier process left under way, and begins to run events. To be called on a tokio runtime, before
    /// anything else accepts events into the queue.
    ///
    /// # Errors
    /// [`StoreError`]: what was left cannot be read or written.
    pub async fn start(
        options: AsynchronousOptions,
        queue: Arc<dyn EventQueue>,
        runs: Arc<dyn RunStore>,
        routes: Routes,
        dispatcher: Dispatcher,
        clock: &dyn Clock,
    ) -> Result<Self, StoreError> {
        let runner = Arc::new(Runner {
            core: Mutex::new(Core::new(options.core)),
            accepting: Arc::new(Semaphore::new(options.accepting)),
            options,
            queue,
            runs,
            routes,
            dispatcher,
            wall: Wall::starting(clock.now()),
            work: Mutex::default(),
            rearm: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        runner.recover().await?;
        let lanes = runner.queue.lanes().await?;
        runner.feed(Input::Found(lanes));
        runner.tasks.spawn(runner.clone().tick());
        Ok(Self { runner })
    }

    /// Takes an event: durable when this returns, then run as soon as it is due. Dropping the future does not undo what
    /// has begun.
    ///
    /// # Errors
    /// [`AcceptError`]: the event is not kept and its sender must be told.
    pub async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError> {
        let runner = self.runner.clone();
        if runner.stop.is_cancelled() {
            return Err(StoreError::Closed.into());
        }
        let Ok(place) = runner.accepting.clone().try_acquire_owned() else {
            return Err(AcceptError::Store(StoreError::Busy {
                what: "events being stored",
                limit: runner.options.accepting,
            }));
        };
        let accepting = async move {
            let accepted = runner.accept(event).await;
            drop(place);
            accepted
        };
        Persist::new(accepting, self.runner.clone()).await
    }

    /// Ends an event early: at once if it waits, after the attempt under way otherwise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel(&self, id: EventId) -> Result<Cancelled, StoreError> {
        let cancelled = self.runner.queue.cancel(id, self.runner.now()).await?;
        if cancelled == Cancelled::AfterAttempt {
            self.runner.feed(Input::Cancel(id));
        }
        Ok(cancelled)
    }

    /// Accepts the content of an ended event once more, under a new id; takes it from the dead letters if it is one.
    /// `None`: there is no such event, or its content is not kept any more.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub async fn repeat(&self, id: EventId) -> Result<Option<EventId>, AcceptError> {
        let new = EventId::generate();
        let repeated = self.runner.queue.repeat(id, new, self.runner.now()).await?;
        if let Some(event) = &repeated {
            let (lane, due) = (event.route.lane(), event.due);
            self.runner.feed(Input::Stored { lane, due });
        }
        Ok(repeated.map(|event| event.id))
    }

    /// Events that are worked on now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.runner.core.lock().in_flight()
    }

    /// Begins no further attempt, and returns when those under way are settled; their time is bounded by the
    /// functions' own deadlines. What is pending is run after the next start.
    pub async fn stop(&self) {
        self.runner.stop.cancel();
        self.runner.feed(Input::Stop);
        self.runner.tasks.close();
        self.runner.tasks.wait().await;
    }
}

#[async_trait]
impl EventIntake for Asynchronous {
    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError> {
        Self::accept(self, event).await
    }
}

impl Runner {
    fn now(&self) -> Timestamp {
        self.wall.now()
    }

    /// Tells the machine what has happened, and does what it asks for.
    fn feed(self: &Arc<Self>, input: Input) {
        let (commands, changed) = {
            let mut core = self.core.lock();
            let before = core.wake();
            let commands = core.step(input, self.now());
            (commands, core.wake() != before)
        };
        for command in commands {
            match command {
                Command::Read { lane, limit } => self.spawn(self.clone().read(lane, limit)),
                Command::Lease(heads) => self.spawn(self.clone().lease(heads)),
                Command::Run(head) => self.spawn(self.clone().run(head)),
                Command::Keep { head, verdict } => self.spawn(self.clone().keep(head, verdict)),
            }
        }
        if changed {
            self.rearm.notify_one();
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Lets the machine know when time has passed. Sleeps without a timer while it waits for nothing.
    async fn tick(self: Arc<Self>) {
        loop {
            let wake = self.core.lock().wake();
            let passed = async {
                match wake {
                    Some(at) => tokio::time::sleep(at.since(self.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.rearm.notified() => (),
                () = passed => self.feed(Input::Tick),
            }
        }
    }

    async fn read(self: Arc<Self>, lane: Lane, limit: usize) {
        match self.queue.due(&lane, self.now(), limit).await {
            Ok(page) => self.feed(Input::Read {
                lane,
                heads: page.heads,
                next: page.next,
            }),
            Err(error) => {
                failed(&error, "the event queue cannot be read");
                self.feed(Input::ReadFailed(lane));
            }
        }
    }

    async fn lease(self: Arc<Self>, heads: Vec<EventHead>) {
        let wanted: Vec<EventId> = heads.iter().map(|head| head.id).collect();
        match self.queue.lease(heads).await {
            Ok(got) => {
                crash_point!("event/leased");
                self.feed(Input::Leased { wanted, got });
            }
            Err(error) => {
                failed(&error, "events cannot be leased");
                self.feed(Input::LeaseFailed(wanted));
            }
        }
    }

    async fn accept(self: Arc<Self>, event: NewEvent) -> Result<Accepted, AcceptError> {
        let lane = event.route.lane();
        let now = self.now();
        let admitted = event.delay.is_zero() && self.core.lock().admit(&lane, now);
        let lease = if admitted { Lease::Taken } else { Lease::Free };
        let (event, token) = event.accepted(now);
        let (head, due) = (event.head(), event.due);
        // A payload is in memory only while it is stored, or until its attempt has ended.
        let kept = admitted.then(|| event.clone());
        let accepted = self.queue.accept(event, token, lease).await;
        crash_point!("event/accepted");
        let is_new = matches!(accepted, Ok(Accepted::New(_)));
        match (is_new, admitted) {
            (true, true) => {
                let work = Work {
                    event: kept,
                    done: None,
                };
                self.work.lock().insert(head.id, work);
                crash_point!("event/admitted");
                self.feed(Input::Admitted(head));
            }
            (true, false) => self.feed(Input::Stored { lane, due }),
            (false, true) => self.feed(Input::NotAdmitted(lane)),
            (false, false) => {}
        }
        accepted
    }
}

fn failed(error: &StoreError, what: &str) {
    tracing::error!(error = error as &dyn std::error::Error, "{what}");
}
