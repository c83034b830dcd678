//! Accepted events: durable before they are acknowledged, run at least once, tried again by policy, settled exactly
//! once. One task looks for events that are due; each attempt is a task of its own; nothing runs while nothing is due.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sonagi_model::{Blame, EventId, RunRecord};
use sonagi_ports::{Clock, EventQueue, EventStatus, EventTargets, QueuedEvent, RunStore, Settlement, StoreError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Answer, Finished, LogTail, Refused, Request};
use crate::attempt::Keep;
use crate::dispatcher::Dispatcher;
use crate::retry::{Ended, History, Next, RetryPolicy, decide, is_expired};

/// Wait after a failure of the queue; doubles up to [`QUEUE_RETRY_LONGEST`].
const QUEUE_RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const QUEUE_RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Settings of asynchronous invocations.
#[derive(Debug, Clone)]
pub struct AsynchronousOptions {
    /// Events that are worked on at once; others wait in the queue. Default 64.
    pub in_flight: usize,
    /// When failed events are tried again.
    pub retry: RetryPolicy,
}

impl Default for AsynchronousOptions {
    fn default() -> Self {
        Self {
            in_flight: 64,
            retry: RetryPolicy::default(),
        }
    }
}

/// Who says where events of a contract go, by the contract's name.
#[derive(Clone, Default)]
pub struct Targets(Arc<HashMap<String, Arc<dyn EventTargets>>>);

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, Arc<dyn EventTargets>)> for Targets {
    fn from_iter<I: IntoIterator<Item = (String, Arc<dyn EventTargets>)>>(targets: I) -> Self {
        Self(Arc::new(targets.into_iter().collect()))
    }
}

/// Runs accepted events. Cloning gives another handle on the same runner. Ends with [`Asynchronous::stop`].
#[derive(Debug, Clone)]
pub struct Asynchronous {
    runner: Arc<Runner>,
}

#[derive(Debug)]
struct Runner {
    options: AsynchronousOptions,
    queue: Arc<dyn EventQueue>,
    runs: Arc<dyn RunStore>,
    targets: Targets,
    dispatcher: Dispatcher,
    clock: Arc<dyn Clock>,
    /// Something may be due, or may be taken.
    look: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At most [`AsynchronousOptions::in_flight`].
    working: HashSet<EventId>,
    /// Those of them that are no longer worked on. Only the task that reads the queue takes them out of `working`, and
    /// before it reads: so what it reads as due and not worked on really is.
    done: Vec<EventId>,
    /// How often in a row an event could not run. At most as many as events are pending; forgotten at a restart,
    /// after which delays begin anew.
    postponed: HashMap<EventId, u32>,
}

/// One event's place among those worked on.
struct Working<'a> {
    runner: &'a Runner,
    id: EventId,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.runner.state.lock().done.push(self.id);
        self.runner.look.notify_one();
    }
}

impl Asynchronous {
    /// Begins to run events, those that an earlier process left first. To be called on a tokio runtime.
    #[must_use]
    pub fn start(
        options: AsynchronousOptions,
        queue: Arc<dyn EventQueue>,
        runs: Arc<dyn RunStore>,
        targets: Targets,
        dispatcher: Dispatcher,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let runner = Arc::new(Runner {
            options,
            queue,
            runs,
            targets,
            dispatcher,
            clock,
            look: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
        });
        runner.tasks.spawn_on(runner.clone().run(), &Handle::current());
        Self { runner }
    }

    /// Takes an event: durable when it returns, then run as soon as it is due.
    ///
    /// # Errors
    /// [`StoreError`]: the event is not kept and its sender must be told.
    pub async fn accept(&self, event: QueuedEvent) -> Result<(), StoreError> {
        self.runner.queue.accept(event).await?;
        self.runner.look.notify_one();
        Ok(())
    }

    /// Begins no further attempt, and returns when those under way are settled; their time is bounded by the
    /// functions' own deadlines. What is pending is run after the next start.
    pub async fn stop(&self) {
        self.runner.stop.cancel();
        self.runner.tasks.close();
        self.runner.tasks.wait().await;
    }
}

impl Runner {
    async fn run(self: Arc<Self>) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let wait = match self.look().await {
                Ok(wait) => {
                    failures = 0;
                    wait
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the event queue cannot be read"
                    );
                    failures += 1;
                    Some(queue_delay(failures))
                }
            };
            let waited = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => (),
                () = self.look.notified() => (),
                () = waited => (),
            }
        }
    }

    /// Begins attempts for events that are due; after how long to look again at the latest.
    async fn look(self: &Arc<Self>) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.now();
        let limit = self.options.in_flight.max(1);
        if self.free(limit) == 0 {
            // Whoever finishes calls for another look.
            return Ok(None);
        }
        // Those worked on are among those due, and they are fewer than the limit: at least one of the rest is found.
        for event in self.queue.due(now, limit).await? {
            if self.claim(event.id, limit) {
                self.tasks.spawn(self.clone().attend(event));
            }
        }
        let next = self.queue.next_due(now).await?;
        Ok(next.map(|at| at.since(self.clock.now())))
    }

    /// How many more events may be worked on.
    fn free(&self, limit: usize) -> usize {
        let mut state = self.state.lock();
        let State { working, done, .. } = &mut *state;
        for id in done.drain(..) {
            working.remove(&id);
        }
        limit.saturating_sub(working.len())
    }

    fn claim(&self, id: EventId, limit: usize) -> bool {
        let mut state = self.state.lock();
        state.working.len() < limit && state.working.insert(id)
    }

    /// One attempt for one event, and what becomes of it.
    async fn attend(self: Arc<Self>, event: QueuedEvent) {
        let id = event.id;
        let _working = Working { runner: &self, id };
        let history = History {
            accepted: event.accepted,
            attempts: event.attempts,
            postponed: self.state.lock().postponed.get(&id).copied().unwrap_or(0),
        };
        let retry = &self.options.retry;
        if is_expired(&history, retry, self.clock.now()) {
            return self.keep(id, Next::Settle(EventStatus::Expired), None).await;
        }
        let Some((ended, record)) = self.attempt(event).await else {
            return;
        };
        let next = decide(&history, ended, retry, self.clock.now());
        self.note(id, ended, next);
        // An attempt that could not run is repeated under its number, so only the last of them leaves a record.
        let repeated = ended == Ended::CouldNotRun && matches!(next, Next::Retry { .. });
        self.keep(id, next, record.filter(|_| !repeated)).await;
    }

    /// Counts how often in a row an event could not run.
    fn note(&self, id: EventId, ended: Ended, next: Next) {
        let mut state = self.state.lock();
        match (next, ended) {
            (Next::Retry { .. }, Ended::CouldNotRun) => *state.postponed.entry(id).or_default() += 1,
            (Next::Retry { .. }, Ended::Succeeded | Ended::Failed | Ended::TargetGone) | (Next::Settle(_), _) => {
                state.postponed.remove(&id);
            }
        }
    }

    /// Runs the event's function; `None`: the platform is stopping.
    async fn attempt(&self, event: QueuedEvent) -> Option<(Ended, Option<RunRecord>)> {
        let target = self
            .targets
            .0
            .get(&event.contract)
            .and_then(|targets| targets.resolve(&event).ok());
        let Some(target) = target else {
            return Some((Ended::TargetGone, None));
        };
        let request = Request {
            function: target.function,
            revision: target.revision,
            invocation: event.invocation,
            attempt: event.attempts + 1,
            payload: event.payload,
            attributes: target.attributes,
            tenant_concurrency: target.tenant_concurrency,
            log_tail: LogTail::Omit,
        };
        let finished = match self.dispatcher.attempt(request, Keep::Caller).await {
            Err(Refused::Stopping) => return None,
            Err(Refused::Throttled(_)) => return Some((Ended::CouldNotRun, None)),
            Ok(answer) => finished(answer).await?,
        };
        let ended = match finished.outcome.blame() {
            Blame::None => Ended::Succeeded,
            Blame::Function => Ended::Failed,
            Blame::Platform => Ended::CouldNotRun,
        };
        Some((ended, Some(RunRecord::clone(&finished.record))))
    }

    /// Writes down what becomes of an event. While the queue fails it is tried again; if the platform stops first, the
    /// event is run once more after the next start, and its record at least goes to the ledger.
    async fn keep(&self, id: EventId, next: Next, record: Option<RunRecord>) {
        for failures in 1.. {
            let kept = match next {
                Next::Settle(status) => {
                    let at = self.clock.now();
                    self.queue.settle(id, Settlement { status, at }, record.clone()).await
                }
                Next::Retry { attempts, due } => self.queue.postpone(id, attempts, due, record.clone()).await,
            };
            let Err(error) = kept else { return };
            tracing::error!(event = %id, error = &error as &dyn std::error::Error, "an event's state cannot be kept");
            let stopped = tokio::time::timeout(queue_delay(failures), self.stop.cancelled()).await;
            if stopped.is_ok() {
                break;
            }
        }
        if let Some(record) = record
            && self.runs.append(&record).is_err()
        {
            tracing::error!(invocation = %record.invocation, "an attempt could not be metered");
        }
    }
}

/// Waits for the end of an answer whose content nobody wants; `None`: the platform is stopping.
async fn finished(answer: Answer) -> Option<Finished> {
    match answer {
        Answer::Whole(finished) => Some(finished),
        Answer::Stream(mut streaming) => {
            while streaming.parts.recv().await.is_some() {}
            streaming.finished.await.ok()
        }
    }
}

fn queue_delay(failures: u32) -> Duration {
    let doubled = QUEUE_RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures - 1));
    doubled.min(QUEUE_RETRY_LONGEST)
}

impl fmt::Debug for Working<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Working").field(&self.id).finish()
    }
}
