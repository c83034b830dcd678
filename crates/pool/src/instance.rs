//! One instance: its handles, and its state of life under a lock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use sonagi_model::{InstanceId, Mebibytes};
use sonagi_ports::{Purpose, RunningSandbox, Session};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::lifecycle::{Effect, End, IllegalStep, Input, Life, step};
use crate::output::Output;
use crate::subpool::SubPool;

/// A started instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub id: InstanceId,
    pub sub: Arc<SubPool>,
    pub session: Arc<dyn Session>,
    pub sandbox: Arc<dyn RunningSandbox>,
    pub output: Arc<Output>,
    pub started: Instant,
    /// Its revision was retired if the sub-pool has another generation by now.
    pub generation: u64,
    pub purpose: Purpose,
    life: Mutex<Life>,
    charge: AtomicU64,
    ended: AtomicBool,
    /// Events for which it is leased. Read and written under its sub-pool's lock only.
    events: AtomicU32,
    /// Something happened after which it gets no other event. Under its sub-pool's lock too.
    condemned: AtomicBool,
}

/// What an instance is made of.
pub(crate) struct InstanceParts {
    pub id: InstanceId,
    pub sub: Arc<SubPool>,
    pub session: Arc<dyn Session>,
    pub sandbox: Arc<dyn RunningSandbox>,
    pub output: Arc<Output>,
    pub generation: u64,
    /// MiB, reserved in the budget.
    pub charge: u64,
    pub purpose: Purpose,
}

/// An instance could not be stopped or continued.
#[derive(Debug)]
pub(crate) struct Stuck;

impl Instance {
    pub(crate) fn new(parts: InstanceParts, now: Instant) -> Self {
        Self {
            id: parts.id,
            sub: parts.sub,
            session: parts.session,
            sandbox: parts.sandbox,
            output: parts.output,
            started: now,
            generation: parts.generation,
            purpose: parts.purpose,
            life: Mutex::new(Life::Starting { since: now }),
            charge: AtomicU64::new(parts.charge),
            ended: AtomicBool::new(false),
            events: AtomicU32::new(0),
            condemned: AtomicBool::new(false),
        }
    }

    /// Events for which it is leased; for its sub-pool, under the lock.
    pub(crate) fn events(&self) -> u32 {
        self.events.load(Ordering::Relaxed)
    }

    /// The same from now on.
    pub(crate) fn set_events(&self, events: u32) {
        self.events.store(events, Ordering::Relaxed);
    }

    /// Whether it gets no other event; for its sub-pool, under the lock.
    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Relaxed)
    }

    /// It gets no other event.
    pub(crate) fn mark_condemned(&self) {
        self.condemned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn life(&self) -> Life {
        *self.life.lock()
    }

    /// Since when it has been idle, if it is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match self.life() {
            Life::Idle { since } => Some(since),
            Life::Frozen { idle_since } => Some(idle_since),
            Life::Starting { .. } | Life::Busy { .. } | Life::Reclaimed { .. } => None,
        }
    }

    /// A step that needs nothing done.
    pub(crate) fn advance(&self, input: Input, now: Instant) -> Result<(), IllegalStep> {
        let mut life = self.life.lock();
        let (next, _effect) = step(*life, input, now)?;
        *life = next;
        Ok(())
    }

    /// An instance gets an event, thawed if it is frozen. The lock is held for as long as thawing takes, so that
    /// a freeze under way is over first.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Stuck> {
        let mut life = self.life.lock();
        let (next, effect) = step(*life, Input::Take, now).map_err(|_| Stuck)?;
        if effect == Effect::Thaw
            && let Err(error) = self.sandbox.thaw()
        {
            tracing::warn!(instance = %self.id, %error, "cannot thaw an instance");
            return Err(Stuck);
        }
        *life = next;
        Ok(())
    }

    /// Freezes it if it is idle and `due` still says so. Blocks for as long as freezing takes.
    pub(crate) fn freeze(&self, due: impl FnOnce(Life) -> bool, now: Instant) -> Result<(), Stuck> {
        let mut life = self.life.lock();
        if !due(*life) {
            return Ok(());
        }
        let Ok((next, Effect::Freeze)) = step(*life, Input::Freeze, now) else {
            return Ok(());
        };
        if let Err(error) = self.sandbox.freeze() {
            tracing::warn!(instance = %self.id, %error, "cannot freeze an instance");
            return Err(Stuck);
        }
        *life = next;
        Ok(())
    }

    /// Ends its life; `false`: somebody else has.
    pub(crate) fn reclaim(&self, why: End, now: Instant) -> bool {
        self.advance(Input::Reclaim(why), now).is_ok()
    }

    /// Its process has ended.
    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Whether its process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// What it is charged, MiB.
    pub(crate) fn charge(&self) -> u64 {
        self.charge.load(Ordering::SeqCst)
    }

    /// Its peak memory; what it is charged follows.
    pub(crate) fn measure(&self, budget: &Budget, first_guess: Mebibytes) -> Mebibytes {
        let peak = self.sandbox.memory_peak();
        let known = self.sub.observe(peak);
        let charge = crate::budget::charge(Some(known), first_guess, self.sub.revision.spec.memory);
        if self.charge() != charge {
            let old = self.charge.swap(charge, Ordering::SeqCst);
            budget.adjust(old, charge);
        }
        peak
    }

    /// Gives its charge back.
    pub(crate) fn discharge(&self, budget: &Budget) {
        budget.adjust(self.charge.swap(0, Ordering::SeqCst), 0);
    }
}
