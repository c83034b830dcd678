//! What the pool shows of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sonagi_model::{Mebibytes, Revision};

use crate::lifecycle::End;

/// The instances of one revision.
#[derive(Debug, Clone)]
pub struct RevisionSnapshot {
    /// The revision.
    pub revision: Arc<Revision>,
    /// Instances that are starting.
    pub starting: usize,
    /// Idle ones whose processes run.
    pub idle: usize,
    /// Idle ones whose processes are stopped.
    pub frozen: usize,
    /// Ones that work on an event.
    pub busy: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// The pool at one moment.
#[derive(Debug, Clone)]
pub struct PoolSnapshot {
    /// Every revision that has instances, requests waiting or failures remembered.
    pub revisions: Vec<RevisionSnapshot>,
    /// What all instances together are charged.
    pub memory: Mebibytes,
    /// What they may be charged.
    pub memory_limit: Mebibytes,
    /// What has happened since the start.
    pub counts: Counts,
}

impl PoolSnapshot {
    /// Instances in any state.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.revisions
            .iter()
            .map(|of| of.starting + of.idle + of.frozen + of.busy)
            .sum()
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Leases on instances that were started for them.
    pub cold: u64,
    /// Leases on instances that were there.
    pub warm: u64,
    /// Instances that did not become ready.
    pub init_failures: u64,
    /// Instances reclaimed after their idle time or at their highest age.
    pub reclaimed: u64,
    /// Instances evicted for their memory.
    pub evicted: u64,
    /// Instances of retired revisions.
    pub retired: u64,
    /// Instances whose process ended while they were idle or after it had answered.
    pub exited: u64,
    /// Instances destroyed after a failure.
    pub condemned: u64,
}

/// [`Counts`] while they grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub cold: AtomicU64,
    pub warm: AtomicU64,
    init_failures: AtomicU64,
    reclaimed: AtomicU64,
    evicted: AtomicU64,
    retired: AtomicU64,
    exited: AtomicU64,
    condemned: AtomicU64,
}

impl Counters {
    pub(crate) fn end(&self, why: End) {
        let counter = match why {
            End::InitFailed => &self.init_failures,
            End::KeepAlive | End::MaxAge => &self.reclaimed,
            End::Evicted => &self.evicted,
            End::Retired => &self.retired,
            End::Exited => &self.exited,
            End::Condemned => &self.condemned,
            End::Drained => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            cold: read(&self.cold),
            warm: read(&self.warm),
            init_failures: read(&self.init_failures),
            reclaimed: read(&self.reclaimed),
            evicted: read(&self.evicted),
            retired: read(&self.retired),
            exited: read(&self.exited),
            condemned: read(&self.condemned),
        }
    }
}
