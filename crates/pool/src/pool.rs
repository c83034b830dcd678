//! The pool itself: who gets which instance, and what is done for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sonagi_model::{FunctionId, Mebibytes, Outcome, Revision, RevisionId, ThrottleReason};
use sonagi_ports::{ArtifactStore, Clock, Contract, LogSink, Purpose, Sandbox};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::error::{AcquireError, StartFailure};
use crate::evict::{Candidate, choose};
use crate::instance::Instance;
use crate::keep_alive::KeepAlive;
use crate::lease::Lease;
use crate::lifecycle::End;
use crate::options::PoolOptions;
use crate::reaper::{Alarm, reap};
use crate::snapshot::{Counters, PoolSnapshot};
use crate::start::{Reservation, StartPlan, run};
use crate::subpool::{Asked, Left, Offered, SubPool};

/// Rounds in which idle instances are looked for that free enough memory; between two, others may take them.
const EVICTION_ROUNDS: usize = 3;

/// The contracts that adapters registered, by name.
#[derive(Debug, Clone, Default)]
pub struct Contracts(Arc<HashMap<&'static str, Arc<dyn Contract>>>);

impl Contracts {
    /// The contract of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Contract>> {
        self.0.get(name)
    }
}

impl FromIterator<Arc<dyn Contract>> for Contracts {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Contract>>>(contracts: I) -> Self {
        Self(Arc::new(
            contracts
                .into_iter()
                .map(|contract| (contract.name(), contract))
                .collect(),
        ))
    }
}

/// The instances of one node. Cloning gives another handle on the same pool. Ends with [`Pool::drain`].
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: PoolOptions,
    pub policy: KeepAlive,
    pub sandbox: Arc<dyn Sandbox>,
    pub artifacts: Arc<dyn ArtifactStore>,
    pub logs: Arc<dyn LogSink>,
    pub clock: Arc<dyn Clock>,
    pub budget: Budget,
    pub starts: Arc<Semaphore>,
    pub alarm: Alarm,
    pub counters: Counters,
    /// Everything ends now.
    pub kill: CancellationToken,
    contracts: Contracts,
    revisions: papaya::HashMap<RevisionId, Arc<SubPool>>,
    /// Held while idle instances are chosen for eviction, so that two starts do not choose for the same memory.
    eviction: Mutex<()>,
    tasks: TaskTracker,
    runtime: Handle,
    stopping: AtomicBool,
    /// Something was released while the pool is stopping.
    released: Notify,
}

impl Pool {
    /// A pool without instances. To be called on a tokio runtime with time and I/O, which then runs its tasks.
    #[must_use]
    pub fn new(
        options: PoolOptions,
        sandbox: Arc<dyn Sandbox>,
        contracts: Contracts,
        artifacts: Arc<dyn ArtifactStore>,
        logs: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Arc::new(Inner {
            policy: options.policy(),
            sandbox,
            artifacts,
            logs,
            clock,
            budget: Budget::new(options.node_memory),
            starts: Arc::new(Semaphore::new(options.starts_at_once.max(1))),
            alarm: Alarm::new(Instant::now()),
            counters: Counters::default(),
            kill: CancellationToken::new(),
            contracts,
            revisions: papaya::HashMap::new(),
            eviction: Mutex::new(()),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            stopping: AtomicBool::new(false),
            released: Notify::new(),
            options,
        });
        inner.spawn(reap(inner.clone()));
        Self { inner }
    }

    /// An instance of a revision: one that works and has a place left, the idle one that was used last; else whichever
    /// comes first, a freed place or a new instance, oldest request first. Dropping the future leaves the queue; a start under way goes on.
    ///
    /// # Errors
    /// [`AcquireError`].
    pub async fn acquire(&self, revision: &Arc<Revision>) -> Result<Lease, AcquireError> {
        let inner = &self.inner;
        loop {
            if inner.is_stopping() {
                return Err(AcquireError::Stopping);
            }
            let sub = inner.subpool(revision)?;
            let now = Instant::now();
            match sub.ask(inner.options.waiters_per_revision, now) {
                Asked::Free(instance) => {
                    if let Some(lease) = inner.take(instance, now) {
                        return Ok(lease);
                    }
                }
                Asked::Dead => inner.forget(&sub),
                Asked::BackedOff(failure) => return Err(AcquireError::Failed(failure)),
                Asked::Full => return Err(AcquireError::Throttled(ThrottleReason::NodeCapacity)),
                Asked::Waits { mut place, starts } => {
                    inner.launch(&sub, starts, Purpose::Demand);
                    // Waiters lose their senders when the pool ends.
                    return (&mut place.delivery).await.unwrap_or(Err(AcquireError::Stopping));
                }
            }
        }
    }

    /// A revision is called no more, or its code was replaced: its idle instances are destroyed now, busy ones when
    /// they have answered. It can be acquired again, and then gets new instances; its floor is gone.
    pub fn retire(&self, revision: RevisionId) {
        if let Some(sub) = self.inner.find(revision) {
            self.inner.retire(&sub);
        }
    }

    /// [`Pool::retire`] for every revision of a function.
    pub fn remove_function(&self, function: FunctionId) {
        for sub in self.inner.subpools() {
            if sub.revision.function == function {
                self.inner.retire(&sub);
            }
        }
    }

    /// Ends the pool: nobody gets an instance any more; those busy may answer until `deadline`; then everything is
    /// destroyed. Returns when nothing is left, with the number of starts and events that were cut off.
    pub async fn drain(&self, deadline: Instant) -> usize {
        let inner = &self.inner;
        inner.stopping.store(true, Ordering::SeqCst);
        loop {
            let released = inner.released.notified();
            if inner.in_use() == 0 {
                break;
            }
            tokio::select! {
                () = released => (),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        let cut = inner.in_use();
        inner.kill.cancel();
        for sub in inner.subpools() {
            sub.close();
            for instance in sub.members() {
                inner.destroy(&instance, End::Drained);
            }
        }
        inner.tasks.close();
        inner.tasks.wait().await;
        cut
    }

    /// Instances and counts at this moment.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let inner = &self.inner;
        let mebibytes = |amount: u64| Mebibytes(u32::try_from(amount).unwrap_or(u32::MAX));
        PoolSnapshot {
            revisions: inner.subpools().iter().map(|sub| sub.snapshot()).collect(),
            memory: mebibytes(inner.budget.charged()),
            memory_limit: mebibytes(inner.budget.limit()),
            counts: inner.counters.read(),
        }
    }
}

impl Inner {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_on(task, &self.runtime)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn subpools(&self) -> Vec<Arc<SubPool>> {
        self.revisions.pin().values().cloned().collect()
    }

    fn in_use(&self) -> usize {
        self.subpools().iter().map(|sub| sub.in_use()).sum()
    }

    pub(crate) fn find(&self, revision: RevisionId) -> Option<Arc<SubPool>> {
        self.revisions.pin().get(&revision).cloned()
    }

    pub(crate) fn subpool(&self, revision: &Arc<Revision>) -> Result<Arc<SubPool>, AcquireError> {
        let revisions = self.revisions.pin();
        if let Some(sub) = revisions.get(&revision.id) {
            return Ok(sub.clone());
        }
        let name = &revision.spec.contract;
        let contract = self.contracts.get(name).ok_or_else(|| {
            let outcome = Outcome::Platform(format!("no contract named {name:?} is registered"));
            AcquireError::Failed(StartFailure::before_start(outcome))
        })?;
        let new = || Arc::new(SubPool::new(revision.clone(), contract.clone()));
        Ok(revisions.get_or_insert_with(revision.id, new).clone())
    }

    /// A lease on an instance that had a place, unless it cannot be used.
    fn take(self: &Arc<Self>, instance: Arc<Instance>, now: Instant) -> Option<Lease> {
        if instance.take(now).is_err() {
            self.condemn(&instance);
            return None;
        }
        self.counters.warm.fetch_add(1, Ordering::Relaxed);
        Some(Lease::new(self.clone(), instance, None))
    }

    /// Starts as many instances as have been counted as starting, as far as memory allows.
    pub(crate) fn launch(self: &Arc<Self>, sub: &Arc<SubPool>, starts: usize, purpose: Purpose) {
        for _ in 0..starts {
            match self.reserve(sub) {
                Ok((reservation, evicted)) => {
                    let plan = StartPlan {
                        sub: sub.clone(),
                        reservation,
                        evicted,
                        asked: Instant::now(),
                        purpose,
                    };
                    self.spawn(run(self.clone(), plan));
                }
                Err(error) => sub.called_off(error, purpose).tell(),
            }
        }
    }

    /// Memory for another instance of a revision, and the instances that go for it.
    fn reserve(self: &Arc<Self>, sub: &SubPool) -> Result<(Reservation, Vec<JoinHandle<()>>), AcquireError> {
        let limit = sub.revision.spec.memory;
        let amount = crate::budget::charge(sub.peak(), self.options.first_guess, limit);
        let mut evicted = Vec::new();
        if self.budget.reserve(amount).is_ok() {
            return Ok((Reservation::new(self.clone(), amount), evicted));
        }
        let _one_at_a_time = self.eviction.lock();
        for _ in 0..EVICTION_ROUNDS {
            let Err(shortage) = self.budget.reserve(amount) else {
                return Ok((Reservation::new(self.clone(), amount), evicted));
            };
            let Some(chosen) = choose(self.candidates(), shortage) else {
                break;
            };
            for instance in chosen {
                if instance.sub.remove_idle(&instance) {
                    // Its memory is the new one's from now on, which waits until it is really free.
                    instance.discharge(&self.budget);
                    evicted.extend(self.destroy(&instance, End::Evicted));
                }
            }
        }
        Err(AcquireError::Throttled(ThrottleReason::NodeCapacity))
    }

    fn candidates(&self) -> Vec<Candidate<Arc<Instance>>> {
        let idle = self.subpools().into_iter().flat_map(|sub| sub.spare());
        idle.filter_map(|instance| {
            Some(Candidate {
                idle_since: instance.idle_since()?,
                charge: instance.charge(),
                key: instance,
            })
        })
        .collect()
    }

    /// A place in a busy instance is free again.
    pub(crate) fn release(self: &Arc<Self>, lease: Lease) {
        let instance = lease.instance().clone();
        let now = Instant::now();
        let too_old = self.policy.is_too_old(instance.started, now).then_some(End::MaxAge);
        match instance.sub.offer(lease, too_old, now) {
            Offered::Taken { by } => {
                self.counters.warm.fetch_add(by, Ordering::Relaxed);
            }
            Offered::Idle => self.watch(now),
            Offered::Works => (),
            Offered::Unwanted { instance, end, starts } => {
                self.destroy(&instance, end);
                self.launch(&instance.sub, starts, Purpose::Demand);
            }
        }
        self.note_release();
    }

    /// A busy instance gets no other event. The others that it works on are not cut off: it goes with the last of them.
    pub(crate) fn condemn(self: &Arc<Self>, instance: &Arc<Instance>) {
        if instance.sub.withdraw(instance) == Left::Nobody {
            self.destroy(instance, End::Condemned);
        }
        self.note_release();
    }

    /// An instance has become idle now.
    pub(crate) fn watch(&self, now: Instant) {
        let first = self.policy.freeze_after.min(self.policy.idle).min(self.policy.max_age);
        if let Some(at) = now.checked_add(first) {
            self.alarm.set(at);
        }
    }

    /// Whoever waits for the end of the pool looks again.
    pub(crate) fn note_release(&self) {
        if self.is_stopping() {
            self.released.notify_waiters();
        }
    }

    /// The process of an instance has ended by itself or by us.
    pub(crate) fn ended(self: &Arc<Self>, instance: &Arc<Instance>) {
        // In this order: whoever gives it back later sees the mark, whoever did earlier has made it idle.
        instance.mark_ended();
        if instance.sub.remove_idle(instance) {
            self.destroy(instance, End::Exited);
        }
    }

    fn retire(self: &Arc<Self>, sub: &Arc<SubPool>) {
        for instance in sub.retire() {
            self.destroy(&instance, End::Retired);
        }
        self.bury(sub);
    }

    /// Ends and removes an instance that nobody uses or may use any more, unless somebody else does. The task that
    /// does it gives back the instance's memory.
    pub(crate) fn destroy(self: &Arc<Self>, instance: &Arc<Instance>, why: End) -> Option<JoinHandle<()>> {
        if !instance.reclaim(why, Instant::now()) {
            return None;
        }
        self.counters.end(why);
        // What is evicted is no part of a floor, and its memory is somebody's already.
        if instance.purpose == Purpose::Floor && !matches!(why, End::Evicted | End::Drained) {
            self.top_up(&instance.sub);
        }
        let (inner, instance) = (self.clone(), instance.clone());
        Some(self.spawn(async move {
            if instance.session.takes_leave() && !instance.has_ended() {
                // It may be frozen; whatever stops it from going on is the end of it anyway.
                if instance.sandbox.thaw().is_ok() {
                    instance.session.farewell().await;
                }
                instance.output.settle();
            }
            instance.session.close();
            instance.sandbox.destroy().await;
            instance.discharge(&inner.budget);
            instance.sub.strike(instance.id);
            inner.bury(&instance.sub);
        }))
    }

    /// Forgets a sub-pool of which nothing is left.
    pub(crate) fn bury(&self, sub: &Arc<SubPool>) -> bool {
        let buried = sub.bury(&self.options.back_off, Instant::now());
        if buried {
            self.forget(sub);
        }
        buried
    }

    /// Takes a dead sub-pool out of the map, if it is still there.
    pub(crate) fn forget(&self, dead: &Arc<SubPool>) {
        // Somebody else's removal, or a successor in its place, are both fine.
        let _removed = self
            .revisions
            .pin()
            .remove_if(&dead.revision.id, |_, sub| Arc::ptr_eq(sub, dead));
    }
}
