//! The instances of one revision, and who waits for one. Every critical section over them is in this file.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use sonagi_model::{InstanceId, Mebibytes, Revision};
use sonagi_ports::{Contract, Purpose};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::{BackOff, BackOffPolicy};
use crate::error::{AcquireError, StartFailure};
use crate::floor::{FloorFailure, FloorStatus, missing};
use crate::instance::Instance;
use crate::lease::Lease;
use crate::lifecycle::{End, Input, Life};
use crate::scale::starts_needed;
use crate::snapshot::RevisionSnapshot;

/// What a waiter gets in the end.
pub(crate) type Delivery = Result<Lease, AcquireError>;

/// The instances of one revision.
#[derive(Debug)]
pub(crate) struct SubPool {
    pub revision: Arc<Revision>,
    pub contract: Arc<dyn Contract>,
    state: Mutex<State>,
    /// Highest memory seen, MiB; 0: none was measured.
    peak: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    /// Least recently used first.
    idle: VecDeque<Arc<Instance>>,
    /// Busy instances with a place left, where an instance has several; the one that was freed or begun last comes last.
    open: Vec<Arc<Instance>>,
    /// Oldest first.
    waiters: VecDeque<Waiter>,
    /// Every instance that is not entirely gone.
    members: HashMap<InstanceId, Arc<Instance>>,
    starting: usize,
    /// Instances that work.
    busy: usize,
    /// Leases on them: as many where an instance has one place.
    leases: usize,
    /// Counts retirements; instances of an earlier one are not used again.
    generation: u64,
    next_waiter: u64,
    back_off: BackOff<StartFailure>,
    floor: Floor,
    /// Taken out of the pool's map: look there again.
    dead: bool,
}

/// Instances that are kept loaded: see `floor.rs`.
#[derive(Debug, Default)]
struct Floor {
    wanted: usize,
    /// Of `State::starting`.
    starting: usize,
    failure: Option<FloorFailure>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    to: oneshot::Sender<Delivery>,
}

/// Where a request stands.
pub(crate) enum Asked {
    /// An instance with a place is there, which is counted.
    Free(Arc<Instance>),
    /// It waits; `starts` further instances are counted as starting and must be started.
    Waits {
        /// Its place in the queue.
        place: Place,
        /// What to start.
        starts: usize,
    },
    /// The revision is left alone for now.
    BackedOff(StartFailure),
    /// Too many wait.
    Full,
    /// This sub-pool has left the map.
    Dead,
}

/// A place in the queue; dropping it leaves the queue.
pub(crate) struct Place {
    sub: Arc<SubPool>,
    number: u64,
    pub delivery: oneshot::Receiver<Delivery>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.sub.state.lock();
        if let Some(index) = state.waiters.iter().position(|waiter| waiter.number == self.number) {
            state.waiters.remove(index);
        }
    }
}

/// Whether an instance works after one of its events is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// On other events.
    Others,
    /// On none.
    Nobody,
}

/// What became of an instance of which a place was free.
pub(crate) enum Offered {
    /// Waiters have it.
    Taken {
        /// How many.
        by: u64,
    },
    /// It is idle now.
    Idle,
    /// It works on other events.
    Works,
    /// It is counted no more and must be destroyed, and `starts` further instances are counted as starting for those
    /// who wait.
    Unwanted {
        /// The instance.
        instance: Arc<Instance>,
        /// Why it is not used again.
        end: End,
        /// What to start.
        starts: usize,
    },
}

/// What has to be done after a start failed.
pub(crate) struct Fallout {
    /// Waiters that are told, each what.
    told: Vec<(Waiter, AcquireError)>,
    /// Further instances counted as starting.
    pub starts: usize,
}

impl Fallout {
    /// Tells the waiters, outside the lock.
    pub(crate) fn tell(self) {
        for (waiter, error) in self.told {
            // A waiter that has gone needs no answer.
            drop(waiter.to.send(Err(error)));
        }
    }
}

impl SubPool {
    pub(crate) fn new(revision: Arc<Revision>, contract: Arc<dyn Contract>) -> Self {
        Self {
            revision,
            contract,
            state: Mutex::default(),
            peak: AtomicU32::new(0),
        }
    }

    /// A busy instance with a place left, the most recently used idle one (one of the floor, if there is one), or a place
    /// in the queue.
    pub(crate) fn ask(self: &Arc<Self>, bound: usize, now: Instant) -> Asked {
        let mut state = self.state.lock();
        if state.dead {
            return Asked::Dead;
        }
        if let Some(instance) = state.pop_open().or_else(|| state.pop_idle()) {
            state.seat(&instance, self.places());
            return Asked::Free(instance);
        }
        if let Some(failure) = state.back_off.refusal(now) {
            return Asked::BackedOff(failure.replayed());
        }
        if state.waiters.len() >= bound {
            return Asked::Full;
        }
        let (to, delivery) = oneshot::channel();
        let number = state.next_waiter;
        state.next_waiter += 1;
        state.waiters.push_back(Waiter { number, to });
        let starts = starts_needed(state.waiters.len(), state.starting, self.places());
        state.starting += starts;
        let place = Place {
            sub: self.clone(),
            number,
            delivery,
        };
        Asked::Waits { place, starts }
    }

    /// A start begins; the generation it belongs to.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// A started process belongs to this revision from now on.
    pub(crate) fn enrol(&self, instance: Arc<Instance>) {
        self.state.lock().members.insert(instance.id, instance);
    }

    /// An instance is entirely gone.
    pub(crate) fn strike(&self, id: InstanceId) {
        self.state.lock().members.remove(&id);
    }

    /// A start has succeeded: one place of the instance is taken until it is offered.
    pub(crate) fn started(&self, instance: &Arc<Instance>, purpose: Purpose) {
        let mut state = self.state.lock();
        state.starting -= 1;
        if purpose == Purpose::Floor {
            state.floor.starting -= 1;
            state.floor.failure = None;
        }
        // Offered at once, so it is in no list.
        state.busy += 1;
        state.leases += 1;
        instance.set_events(1);
        state.back_off = BackOff::Clear;
    }

    /// A start has failed. The oldest waiter is told. Those for whom no other start is under way get further ones, or
    /// are told too while the revision is left alone.
    pub(crate) fn failed(
        &self,
        failure: StartFailure,
        policy: &BackOffPolicy,
        (asked, purpose): (Instant, Purpose),
        now: Instant,
    ) -> Fallout {
        let mut state = self.state.lock();
        state.starting -= 1;
        if purpose == Purpose::Floor {
            state.floor.starting -= 1;
            state.floor.failure = Some(FloorFailure::Start(failure.replayed()));
        }
        state.back_off.failed(failure.clone(), policy, asked, now);
        let mut told = Vec::new();
        let replay = failure.replayed();
        if let Some(waiter) = state.pop_waiter() {
            told.push((waiter, AcquireError::Failed(failure)));
        }
        if state.back_off.refusal(now).is_some() {
            while starts_needed(state.waiters.len(), state.starting, self.places()) > 0 {
                let newest = state.waiters.pop_back();
                told.extend(newest.map(|waiter| (waiter, AcquireError::Failed(replay.clone()))));
            }
        }
        let starts = starts_needed(state.waiters.len(), state.starting, self.places());
        state.starting += starts;
        Fallout { told, starts }
    }

    /// A start could not be made or was broken off, through no fault of the revision: the newest waiters, as many as it
    /// would have served, are told why, unless enough instances are starting for all.
    pub(crate) fn called_off(&self, why: AcquireError, purpose: Purpose) -> Fallout {
        let mut state = self.state.lock();
        state.starting -= 1;
        if purpose == Purpose::Floor {
            state.floor.starting -= 1;
            state.floor.failure = Some(FloorFailure::NoRoom);
        }
        let mut told = Vec::new();
        while starts_needed(state.waiters.len(), state.starting, self.places()) > 0 {
            // One that has gone was counted as well.
            let Some(waiter) = state.waiters.pop_back() else { break };
            told.push((waiter, why.clone()));
        }
        Fallout { told, starts: 0 }
    }

    /// A place in a busy instance is free: the oldest waiter gets it, and others the further places that it has; or it
    /// becomes idle, if it works on nothing else; unless `end` says why it gets no other event.
    pub(crate) fn offer(&self, mut lease: Lease, end: Option<End>, now: Instant) -> Offered {
        let instance = lease.instance().clone();
        let mut state = self.state.lock();
        let end = end.or_else(|| state.objection(&instance));
        if let Some(end) = end {
            lease.forget();
            return state.refuse(instance, end, self.places());
        }
        let shared = (self.places() > NonZeroU32::MIN).then(|| lease.share());
        let mut by = 0;
        while let Some(waiter) = state.pop_waiter() {
            match waiter.to.send(Ok(lease)) {
                Ok(()) => by += 1,
                Err(Ok(back)) => {
                    lease = back;
                    continue;
                }
                Err(Err(_)) => unreachable!("a lease was sent"),
            }
            let room = instance.events() < self.places().get() && !state.waiters.is_empty();
            let Some(shared) = shared.as_ref().filter(|_| room) else {
                state.relist(&instance, self.places());
                return Offered::Taken { by };
            };
            state.seat(&instance, self.places());
            lease = shared.lease();
        }
        lease.forget();
        match state.leave(&instance, self.places()) {
            Left::Others if by > 0 => Offered::Taken { by },
            Left::Others => Offered::Works,
            Left::Nobody => {
                if instance.advance(Input::Release, now).is_err() {
                    return state.unwanted(instance, End::Condemned, self.places());
                }
                state.idle.push_back(instance);
                Offered::Idle
            }
        }
    }

    /// One of the events of an instance is over, and it gets no other.
    pub(crate) fn withdraw(&self, instance: &Arc<Instance>) -> Left {
        let mut state = self.state.lock();
        instance.mark_condemned();
        state.leave(instance, self.places())
    }

    /// Events that one instance may work on at once.
    fn places(&self) -> NonZeroU32 {
        self.revision.spec.concurrency
    }

    /// Takes an instance out of those that get events; `false`: it was not among the idle ones (any more).
    pub(crate) fn remove_idle(&self, instance: &Arc<Instance>) -> bool {
        let mut state = self.state.lock();
        state.open.retain(|open| !Arc::ptr_eq(open, instance));
        let index = state.idle.iter().position(|idle| Arc::ptr_eq(idle, instance));
        index.is_some_and(|index| state.idle.remove(index).is_some())
    }

    /// Instances that are idle now, least recently used first.
    pub(crate) fn idle(&self) -> Vec<Arc<Instance>> {
        self.state.lock().idle.iter().cloned().collect()
    }

    /// Instances that are idle and no part of the floor.
    pub(crate) fn spare(&self) -> Vec<Arc<Instance>> {
        let state = self.state.lock();
        let kept = |instance: &Instance| instance.purpose == Purpose::Floor && state.floor.wanted > 0;
        state.idle.iter().filter(|instance| !kept(instance)).cloned().collect()
    }

    /// Whether an instance stays however long it is idle.
    pub(crate) fn keeps(&self, instance: &Instance) -> bool {
        if instance.purpose != Purpose::Floor {
            return false;
        }
        let state = self.state.lock();
        state.floor.wanted > 0 && state.floor_ready() <= state.floor.wanted
    }

    /// So many instances are kept from now on; the idle ones that are too many for it, counted out. `None`: this
    /// sub-pool has left the map.
    pub(crate) fn set_floor(&self, wanted: usize) -> Option<Vec<Arc<Instance>>> {
        let mut state = self.state.lock();
        if state.dead {
            return (wanted == 0).then(Vec::new);
        }
        state.floor.wanted = wanted;
        if wanted == 0 {
            state.floor.failure = None;
        }
        let mut surplus = state.floor_ready().saturating_sub(wanted);
        let (mut kept, mut gone) = (VecDeque::new(), Vec::new());
        for instance in std::mem::take(&mut state.idle) {
            if instance.purpose == Purpose::Floor && surplus > 0 {
                surplus -= 1;
                gone.push(instance);
            } else {
                kept.push_back(instance);
            }
        }
        state.idle = kept;
        Some(gone)
    }

    /// What the floor lacks now, counted as starting; nothing while the revision is left alone.
    pub(crate) fn floor_starts(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        if state.dead || state.floor.wanted == 0 || state.back_off.refusal(now).is_some() {
            return 0;
        }
        let starts = missing(state.floor.wanted, state.floor.starting, state.floor_ready());
        state.starting += starts;
        state.floor.starting += starts;
        starts
    }

    /// When the floor has to be looked after again, if it lacks something: at the end of the back-off, else at `later`.
    pub(crate) fn floor_retry(&self, now: Instant, later: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let lacks = missing(state.floor.wanted, state.floor.starting, state.floor_ready()) > 0;
        let at = state.back_off.retry_at().filter(|at| *at > now).unwrap_or(later);
        (lacks && !state.dead).then_some(at)
    }

    /// How far the floor is there, if there is one.
    pub(crate) fn floor_status(&self) -> Option<FloorStatus> {
        let state = self.state.lock();
        (state.floor.wanted > 0).then(|| FloorStatus {
            wanted: state.floor.wanted,
            starting: state.floor.starting,
            ready: state.floor_ready(),
            failure: state.floor.failure.clone(),
        })
    }

    /// Every instance that is not entirely gone.
    pub(crate) fn members(&self) -> Vec<Arc<Instance>> {
        self.state.lock().members.values().cloned().collect()
    }

    /// Instances of today are not used again; those idle are handed over to be destroyed.
    pub(crate) fn retire(&self) -> Vec<Arc<Instance>> {
        let mut state = self.state.lock();
        state.generation += 1;
        state.back_off = BackOff::Clear;
        state.floor.wanted = 0;
        state.open.clear();
        state.idle.drain(..).collect()
    }

    /// Whether nothing is left and nothing is remembered; then it is dead from now on.
    pub(crate) fn bury(&self, policy: &BackOffPolicy, now: Instant) -> bool {
        let mut state = self.state.lock();
        let remembered = state.back_off.forgotten_at(policy).is_some_and(|at| now < at);
        let used = !state.members.is_empty() || state.starting + state.busy + state.waiters.len() > 0;
        if remembered || used || state.floor.wanted > 0 {
            return false;
        }
        state.dead = true;
        true
    }

    /// The end: nobody gets an instance any more, those who wait are sent away by the loss of their senders.
    pub(crate) fn close(&self) -> Vec<Arc<Instance>> {
        let mut state = self.state.lock();
        state.dead = true;
        state.waiters.clear();
        state.open.clear();
        state.idle.drain(..).collect()
    }

    /// When failures are forgotten, if there are some.
    pub(crate) fn forgotten_at(&self, policy: &BackOffPolicy) -> Option<Instant> {
        self.state.lock().back_off.forgotten_at(policy)
    }

    /// Starting instances, leases, and waiters.
    pub(crate) fn in_use(&self) -> usize {
        let state = self.state.lock();
        state.starting + state.leases + state.waiters.len()
    }

    /// Takes note of the memory that an instance was seen to use; the highest known.
    pub(crate) fn observe(&self, peak: Mebibytes) -> Mebibytes {
        Mebibytes(self.peak.fetch_max(peak.0, Ordering::Relaxed).max(peak.0))
    }

    /// The highest memory known, if any was measured.
    pub(crate) fn peak(&self) -> Option<Mebibytes> {
        Some(self.peak.load(Ordering::Relaxed))
            .filter(|peak| *peak > 0)
            .map(Mebibytes)
    }

    pub(crate) fn snapshot(&self) -> RevisionSnapshot {
        let state = self.state.lock();
        let frozen = (state.idle.iter())
            .filter(|instance| matches!(instance.life(), Life::Frozen { .. }))
            .count();
        RevisionSnapshot {
            revision: self.revision.clone(),
            starting: state.starting,
            idle: state.idle.len() - frozen,
            frozen,
            busy: state.busy,
            waiting: state.waiters.len(),
        }
    }
}

impl State {
    /// The busy instance with a place left that was freed or begun last.
    fn pop_open(&mut self) -> Option<Arc<Instance>> {
        while let Some(instance) = self.open.pop() {
            if self.objection(&instance).is_none() {
                return Some(instance);
            }
        }
        None
    }

    /// A place in an instance is taken. It is in no list, or has to be taken out of one.
    fn seat(&mut self, instance: &Arc<Instance>, places: NonZeroU32) {
        let events = instance.events();
        if events == 0 {
            self.busy += 1;
        }
        self.leases += 1;
        instance.set_events(events + 1);
        self.relist(instance, places);
    }

    /// One of the events of an instance is over.
    fn leave(&mut self, instance: &Arc<Instance>, places: NonZeroU32) -> Left {
        let events = instance.events().saturating_sub(1);
        instance.set_events(events);
        self.leases -= 1;
        self.relist(instance, places);
        if events > 0 {
            return Left::Others;
        }
        self.busy -= 1;
        Left::Nobody
    }

    /// Puts an instance among those with a place left if it has one, and takes it out if not. With one place in each,
    /// none ever has.
    fn relist(&mut self, instance: &Arc<Instance>, places: NonZeroU32) {
        if places == NonZeroU32::MIN {
            return;
        }
        self.open.retain(|open| !Arc::ptr_eq(open, instance));
        let has_place = (1..places.get()).contains(&instance.events());
        if has_place && self.objection(instance).is_none() {
            self.open.push(instance.clone());
        }
    }

    fn pop_idle(&mut self) -> Option<Arc<Instance>> {
        if self.floor.wanted > 0
            && let Some(index) = self.idle.iter().rposition(|idle| idle.purpose == Purpose::Floor)
        {
            return self.idle.remove(index);
        }
        self.idle.pop_back()
    }

    /// Instances of the floor that are loaded.
    fn floor_ready(&self) -> usize {
        let ready = |instance: &&Arc<Instance>| {
            instance.purpose == Purpose::Floor
                && !instance.has_ended()
                && instance.generation == self.generation
                && match instance.life() {
                    Life::Idle { .. } | Life::Frozen { .. } | Life::Busy { .. } => true,
                    Life::Starting { .. } | Life::Reclaimed { .. } => false,
                }
        };
        self.members.values().filter(ready).count()
    }

    /// Why an instance is not used again, if there is a reason.
    fn objection(&self, instance: &Instance) -> Option<End> {
        if self.dead {
            Some(End::Drained)
        } else if instance.has_ended() {
            Some(End::Exited)
        } else if instance.is_condemned() {
            Some(End::Condemned)
        } else if instance.generation != self.generation {
            Some(End::Retired)
        } else {
            None
        }
    }

    /// One of the events of an instance is over, and it gets no other.
    fn refuse(&mut self, instance: Arc<Instance>, end: End, places: NonZeroU32) -> Offered {
        instance.mark_condemned();
        match self.leave(&instance, places) {
            Left::Others => Offered::Works,
            Left::Nobody => self.unwanted(instance, end, places),
        }
    }

    fn unwanted(&mut self, instance: Arc<Instance>, end: End, places: NonZeroU32) -> Offered {
        let starts = if self.dead {
            0
        } else {
            starts_needed(self.waiters.len(), self.starting, places)
        };
        self.starting += starts;
        Offered::Unwanted { instance, end, starts }
    }

    /// The oldest waiter that is still there.
    fn pop_waiter(&mut self) -> Option<Waiter> {
        loop {
            let waiter = self.waiters.pop_front()?;
            if !waiter.to.is_closed() {
                return Some(waiter);
            }
        }
    }
}
