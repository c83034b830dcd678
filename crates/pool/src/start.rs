//! One start: the verified code tree, the contract's plan, a sandbox, and the wait until the function is ready.

use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{ColdPhases, InstanceId, Mebibytes, Outcome, Revision, ThrottleReason};
use sonagi_ports::{
    ArtifactError, CodeTree, ContractError, InitFailure, Launch, LaunchPlan, Moment, Opening, Purpose, SandboxError,
    Started,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::attend::attend;
use crate::error::{AcquireError, ProcessRan, StartFailure};
use crate::instance::{Instance, InstanceParts};
use crate::lease::Lease;
use crate::lifecycle::{End, Input};
use crate::output::Output;
use crate::pool::Inner;
use crate::scribe::Scribe;
use crate::subpool::{Offered, SubPool};

/// Longest wait for what a process sent before it ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Bytes of output kept for whoever is told that a start failed.
const FAILURE_TAIL: usize = 4096;
/// An initialization that takes longer no longer keeps others from starting: it waits for something rather than works.
const SLOT_HELD_AT_MOST: Duration = Duration::from_secs(1);

/// Memory set aside for an instance; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    inner: Arc<Inner>,
    amount: u64,
}

impl Reservation {
    pub(crate) const fn new(inner: Arc<Inner>, amount: u64) -> Self {
        Self { inner, amount }
    }

    /// The amount, which its instance gives back from now on.
    fn hand_over(mut self) -> u64 {
        std::mem::take(&mut self.amount)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inner.budget.adjust(self.amount, 0);
    }
}

/// What is to be started.
pub(crate) struct StartPlan {
    pub sub: Arc<SubPool>,
    pub reservation: Reservation,
    /// The ends of the instances whose memory this one gets.
    pub evicted: Vec<JoinHandle<()>>,
    pub asked: Instant,
    pub purpose: Purpose,
}

/// Why there is no instance.
enum Broken {
    /// Nobody's fault; the waiters are told this.
    CalledOff(AcquireError),
    /// The start failed.
    Failed(Outcome, ProcessRan),
}

/// One start under way.
struct Start {
    inner: Arc<Inner>,
    sub: Arc<SubPool>,
    id: InstanceId,
    generation: u64,
    asked: Instant,
    purpose: Purpose,
    phases: ColdPhases,
    /// Once its process runs.
    instance: Option<Arc<Instance>>,
}

impl StartFailure {
    /// A failure before there was anything to start.
    pub(crate) fn before_start(outcome: Outcome) -> Self {
        Self {
            outcome,
            instance: InstanceId::generate(),
            process: ProcessRan::No,
            phases: None,
            memory_peak: Mebibytes(0),
            output: Arc::new([]),
        }
    }
}

/// Starts an instance and offers it to whoever waits. Runs as a task of its own, to its end unless the pool ends.
pub(crate) async fn run(inner: Arc<Inner>, plan: StartPlan) {
    let mut start = Start {
        sub: plan.sub.clone(),
        id: InstanceId::generate(),
        generation: plan.sub.generation(),
        asked: plan.asked,
        purpose: plan.purpose,
        phases: ColdPhases::default(),
        instance: None,
        inner,
    };
    let kill = start.inner.kill.clone();
    let result = tokio::select! {
        biased;
        () = kill.cancelled() => Err(Broken::CalledOff(AcquireError::Stopping)),
        result = Box::pin(start.attempt(plan)) => result,
    };
    let inner = start.inner.clone();
    match result {
        Ok(instance) => start.offer(instance),
        Err(Broken::CalledOff(why)) => {
            start.sub.called_off(why, start.purpose).tell();
            inner.look_after_floor(&start.sub);
            start.remove(End::Drained);
        }
        Err(Broken::Failed(outcome, process)) => start.fail(outcome, process),
    }
    inner.note_release();
}

impl Start {
    async fn attempt(&mut self, plan: StartPlan) -> Result<Arc<Instance>, Broken> {
        let permit = self.queue(plan.evicted).await?;
        let launch = self.plan().await?;
        let generation = self.generation;
        let started = self.inner.sandbox.start(launch).await.map_err(refused_by_sandbox)?;
        self.phases.cell_us = micros(started.cell);
        self.phases.process_us = micros(started.process);
        let begun = Instant::now();
        let instance = self.open(started, generation, plan.reservation)?;
        let ready = self.initialize(&instance, permit).await;
        self.phases.init_us = micros(begun.elapsed());
        ready.map_err(|outcome| Broken::Failed(outcome, ProcessRan::Yes))?;
        instance.sandbox.initialized();
        instance.output.settle();
        // What it wrote until now is no invocation's.
        drop(instance.output.end(None, Vec::new()));
        Ok(instance)
    }

    /// Waits for a place among those that start, and for the memory of those that were evicted.
    async fn queue(&mut self, evicted: Vec<JoinHandle<()>>) -> Result<OwnedSemaphorePermit, Broken> {
        for gone in evicted {
            // The task was not aborted; if it panicked, its instance is the sandbox's business.
            drop(gone.await);
        }
        let permit = self.inner.starts.clone().acquire_owned().await;
        self.phases.queue_us = micros(self.asked.elapsed());
        permit.map_err(|_closed| Broken::CalledOff(AcquireError::Stopping))
    }

    /// The verified tree, and what to start from it.
    async fn plan(&mut self) -> Result<LaunchPlan, Broken> {
        let begun = Instant::now();
        let revision = &self.sub.revision;
        let trees = self.trees(revision).await;
        let plan = trees.map_err(refused_by_store).and_then(|(code, beside)| {
            let launch = Launch {
                revision,
                instance: self.id,
                tree: &code.path,
                beside: beside.as_ref().map(|tree| tree.path.as_path()),
                purpose: self.purpose,
            };
            self.sub.contract.plan(&launch).map_err(refused_by_contract)
        });
        self.phases.artifact_us = micros(begun.elapsed());
        plan
    }

    /// The trees of a revision, verified now.
    async fn trees(&self, revision: &Revision) -> Result<(CodeTree, Option<CodeTree>), ArtifactError> {
        let artifacts = &self.inner.artifacts;
        let code = artifacts.tree(&revision.artifact).await?;
        let beside = match &revision.beside {
            Some(beside) => Some(artifacts.tree(beside).await?),
            None => None,
        };
        Ok((code, beside))
    }

    /// The contract begins to serve the instance, and a task to attend to it.
    fn open(&mut self, started: Started, generation: u64, reservation: Reservation) -> Result<Arc<Instance>, Broken> {
        let (inner, sub) = (&self.inner, &self.sub);
        let scribe = Scribe::new(&sub.revision, self.id, inner.options.logs.clone(), inner.clock.now());
        let settle = inner.options.logs.settle;
        let output = match Output::new(started.output, scribe, settle, inner.logs.clone(), inner.clock.clone()) {
            Ok(output) => Arc::new(output),
            Err(error) => {
                let sandbox = started.sandbox;
                inner.spawn(async move { sandbox.destroy().await });
                return Err(platform(format!("cannot watch the output of an instance: {error}")));
            }
        };
        let revision = &sub.revision;
        output.begin(
            None,
            Some(FAILURE_TAIL),
            sub.contract.narrate(&Moment::InitStart {
                revision,
                instance: self.id,
                purpose: self.purpose,
            }),
        );
        let session = sub.contract.open(Opening {
            revision: revision.clone(),
            instance: self.id,
            listeners: started.listeners,
            channel: started.channel,
            scratch: started.scratch,
            purpose: self.purpose,
            log: output.clone(),
        });
        if let Some(tap) = session.log_tap() {
            output.attach(tap);
        }
        let parts = InstanceParts {
            id: self.id,
            sub: sub.clone(),
            session,
            sandbox: started.sandbox,
            output,
            generation,
            charge: reservation.hand_over(),
            purpose: self.purpose,
        };
        let instance = Arc::new(Instance::new(parts, Instant::now()));
        sub.enrol(instance.clone());
        self.instance = Some(instance.clone());
        inner.spawn(attend(inner.clone(), instance.clone()));
        Ok(instance)
    }

    /// Waits until the function is ready. It holds its place among those that start for a while only. An initialization
    /// that the contract would cut and begin anew inside the call goes on here instead, as long as the call itself may
    /// take: nothing is done twice, and a function that needs longer can run at all.
    async fn initialize(&self, instance: &Instance, permit: OwnedSemaphorePermit) -> Result<(), Outcome> {
        let mut ready = instance.session.ready();
        let mut exited = instance.sandbox.exited();
        let deadline = sleep(self.sub.contract.limits().init.max(self.sub.revision.spec.timeout));
        let slot = sleep(SLOT_HELD_AT_MOST);
        tokio::pin!(deadline, slot);
        let mut permit = Some(permit);
        loop {
            tokio::select! {
                biased;
                result = &mut ready => return result.map_err(failed),
                exit = &mut exited => {
                    // An error that it reported before its end says more than the end.
                    let drained = timeout(LAST_WORDS, instance.session.drained());
                    return tokio::select! {
                        biased;
                        Err(failure) = &mut ready => Err(failed(failure)),
                        _drained = drained => Err(Outcome::InitExited(exit)),
                    };
                }
                () = &mut deadline => return Err(Outcome::InitTimeout),
                () = &mut slot, if permit.is_some() => drop(permit.take()),
            }
        }
    }

    /// The instance is ready: it is there for whoever waits.
    fn offer(self, instance: Arc<Instance>) {
        let now = Instant::now();
        self.sub.started(&instance, self.purpose);
        // From starting over idle to busy, on behalf of whoever takes it; nobody else knows it yet.
        if instance.advance(Input::Ready, now).is_err() || instance.take(now).is_err() {
            self.inner.condemn(&instance);
            return;
        }
        let lease = Lease::new(self.inner.clone(), instance, Some(self.phases));
        let offered = self.sub.offer(lease, None, now);
        match offered {
            Offered::Taken { by } => {
                let (cold, warm) = (&self.inner.counters.cold, &self.inner.counters.warm);
                cold.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                warm.fetch_add(by - 1, std::sync::atomic::Ordering::Relaxed);
            }
            Offered::Idle => self.inner.watch(now),
            Offered::Works => (),
            Offered::Unwanted { instance, end, starts } => {
                self.inner.destroy(&instance, end);
                self.inner.launch(&self.sub, starts, Purpose::Demand);
            }
        }
    }

    /// The start failed: a waiter is told, and perhaps others get another start.
    fn fail(mut self, outcome: Outcome, process: ProcessRan) {
        let output = self.last_output(&outcome);
        let memory_peak = match &self.instance {
            Some(instance) => instance.measure(&self.inner.budget, self.inner.options.first_guess),
            None => Mebibytes(0),
        };
        let failure = StartFailure {
            outcome,
            instance: self.id,
            process,
            phases: Some(self.phases),
            memory_peak,
            output: output.into(),
        };
        let now = Instant::now();
        let policy = self.inner.options.back_off;
        let fallout = self.sub.failed(failure, &policy, (self.asked, self.purpose), now);
        let starts = fallout.starts;
        fallout.tell();
        self.remove(End::InitFailed);
        self.inner.launch(&self.sub, starts, Purpose::Demand);
        self.inner.top_up(&self.sub);
        if let Some(at) = self.sub.forgotten_at(&policy) {
            self.inner.alarm.set(at);
        }
    }

    /// The end of what the instance wrote, with the platform's words about its failure.
    fn last_output(&self, outcome: &Outcome) -> Vec<u8> {
        let Some(instance) = &self.instance else {
            return Vec::new();
        };
        let status = match outcome {
            Outcome::InitTimeout => "timeout",
            Outcome::InitExited(_) => "exit",
            Outcome::Success
            | Outcome::FunctionError(_)
            | Outcome::Timeout
            | Outcome::Exited(_)
            | Outcome::InitError(_)
            | Outcome::ResponseTooLarge(_)
            | Outcome::ProtocolViolation(_)
            | Outcome::EntryPoint { .. }
            | Outcome::CallerGone
            | Outcome::ArtifactDamaged(_)
            | Outcome::Platform(_) => "error",
        };
        instance.output.settle();
        let took = Duration::from_micros(self.phases.init_us);
        let lines = self.sub.contract.narrate(&Moment::InitFailed {
            revision: &self.sub.revision,
            purpose: self.purpose,
            took,
            status,
        });
        instance.output.end(None, lines).unwrap_or_default()
    }

    fn remove(&mut self, end: End) {
        match self.instance.take() {
            Some(instance) => drop(self.inner.destroy(&instance, end)),
            None => self.inner.counters.end(end),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn failed(failure: InitFailure) -> Outcome {
    match failure {
        InitFailure::Reported(error) => Outcome::InitError(error),
        InitFailure::Violation(what) => Outcome::ProtocolViolation(what),
    }
}

const fn platform(text: String) -> Broken {
    Broken::Failed(Outcome::Platform(text), ProcessRan::No)
}

fn refused_by_store(error: ArtifactError) -> Broken {
    let text = chain(&error);
    match error {
        ArtifactError::Damaged { .. } => Broken::Failed(Outcome::ArtifactDamaged(text), ProcessRan::No),
        ArtifactError::Missing(_) | ArtifactError::Refused(_) | ArtifactError::Io { .. } => platform(text),
    }
}

fn refused_by_contract(error: ContractError) -> Broken {
    let outcome = match error {
        ContractError::RuntimeMissing { .. } => Outcome::EntryPoint {
            kind: None,
            message: error.to_string(),
        },
        ContractError::EntryPoint { kind, message } => Outcome::EntryPoint {
            kind: Some(kind),
            message,
        },
    };
    Broken::Failed(outcome, ProcessRan::No)
}

fn refused_by_sandbox(error: SandboxError) -> Broken {
    match error {
        SandboxError::Program { .. } => {
            let (kind, message) = (None, error.to_string());
            Broken::Failed(Outcome::EntryPoint { kind, message }, ProcessRan::No)
        }
        SandboxError::NoRoom(_) => Broken::CalledOff(AcquireError::Throttled(ThrottleReason::NodeCapacity)),
        SandboxError::Host { .. } => platform(error.to_string()),
        SandboxError::Stopping => Broken::CalledOff(AcquireError::Stopping),
    }
}

/// An error and its causes, for operators.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
