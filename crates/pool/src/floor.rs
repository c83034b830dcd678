//! Instances that are kept loaded whether anybody calls or not: a *floor* under the pool of a revision.
//!
//! An instance of the floor is started for nobody, used before others, and neither reclaimed for being idle nor evicted;
//! when it ends for whatever reason, another is started. How many are missing is one pure sum; it is computed whenever
//! one has gone, and by the reaper while some could not be started.

use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{FunctionId, Revision, RevisionId};
use sonagi_ports::Purpose;
use tokio::time::Instant;

use crate::error::{AcquireError, StartFailure};
use crate::lifecycle::End;
use crate::pool::{Inner, Pool};
use crate::subpool::SubPool;

/// How long until instances that could not be started for want of memory are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How far the floor of a revision is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloorStatus {
    /// How many instances are wanted.
    pub wanted: usize,
    /// How many of them are starting.
    pub starting: usize,
    /// How many of them are loaded, idle or busy.
    pub ready: usize,
    /// Why the last one that was tried did not start; `None` once one has.
    pub failure: Option<FloorFailure>,
}

/// Why an instance of the floor did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FloorFailure {
    /// It did not become ready.
    Start(StartFailure),
    /// The node has no room for it.
    NoRoom,
}

/// How many further starts the floor needs.
pub(crate) const fn missing(wanted: usize, starting: usize, ready: usize) -> usize {
    wanted.saturating_sub(starting + ready)
}

impl Pool {
    /// Keeps so many instances of each of these revisions loaded from now on, and of no other revision of the function.
    /// Those that are too many go as soon as they are idle. The calls of one function must not overlap.
    ///
    /// # Errors
    /// [`AcquireError::Failed`] when a revision's contract is not registered, [`AcquireError::Stopping`].
    pub fn set_floors(&self, function: FunctionId, floors: &[(Arc<Revision>, usize)]) -> Result<(), AcquireError> {
        let inner = &self.inner;
        for sub in inner.subpools() {
            let of_function = sub.revision.function == function;
            if of_function && !floors.iter().any(|(revision, _)| revision.id == sub.revision.id) {
                inner.set_floor(&sub, 0);
            }
        }
        for (revision, wanted) in floors {
            loop {
                if inner.is_stopping() {
                    return Err(AcquireError::Stopping);
                }
                let sub = inner.subpool(revision)?;
                if inner.set_floor(&sub, *wanted) {
                    break;
                }
                inner.forget(&sub);
            }
        }
        Ok(())
    }

    /// How far the floor of a revision is there; `None`: it has none.
    #[must_use]
    pub fn floor(&self, revision: RevisionId) -> Option<FloorStatus> {
        self.inner.find(revision)?.floor_status()
    }
}

impl Inner {
    /// `false`: this sub-pool has left the map.
    fn set_floor(self: &Arc<Self>, sub: &Arc<SubPool>, wanted: usize) -> bool {
        let Some(surplus) = sub.set_floor(wanted) else {
            return false;
        };
        for instance in surplus {
            self.destroy(&instance, End::KeepAlive);
        }
        self.top_up(sub);
        if wanted == 0 {
            self.bury(sub);
        }
        true
    }

    /// Starts what the floor of a revision lacks. If not all of it can be, the reaper looks again.
    pub(crate) fn top_up(self: &Arc<Self>, sub: &Arc<SubPool>) {
        if let Some(again) = self.fill(sub) {
            self.alarm.set(again);
        }
    }

    /// Starts what the floor of a revision lacks; when to look again if not all of it could be.
    pub(crate) fn fill(self: &Arc<Self>, sub: &Arc<SubPool>) -> Option<Instant> {
        if self.is_stopping() {
            return None;
        }
        let now = Instant::now();
        let starts = sub.floor_starts(now);
        self.launch(sub, starts, Purpose::Floor);
        sub.floor_retry(now, now + RETRY)
    }

    /// The reaper looks again later if the floor lacks something.
    pub(crate) fn look_after_floor(&self, sub: &SubPool) {
        let now = Instant::now();
        if let Some(again) = sub.floor_retry(now, now + RETRY) {
            self.alarm.set(again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing() {
        for (wanted, starting, ready, expected) in
            [(0, 0, 0, 0), (3, 0, 0, 3), (3, 1, 1, 1), (3, 2, 2, 0), (0, 1, 1, 0)]
        {
            assert_eq!(
                missing(wanted, starting, ready),
                expected,
                "{wanted} {starting} {ready}"
            );
        }
    }
}
