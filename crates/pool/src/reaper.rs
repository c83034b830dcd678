//! The one task that freezes and reclaims idle instances. It sleeps until the next deadline, and for ever when nothing
//! is idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::instance::Instance;
use crate::keep_alive::Verdict;
use crate::lifecycle::End;
use crate::pool::Inner;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// When the reaper wakes up. Setting it later than it is costs one atomic read and wakes nobody, so a busy instance
/// that becomes idle a thousand times a second wakes the reaper at most once for each of its rounds.
#[derive(Debug)]
pub(crate) struct Alarm {
    epoch: Instant,
    /// Microseconds after the epoch.
    at: AtomicU64,
    earlier: Notify,
}

impl Alarm {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            at: AtomicU64::new(NEVER),
            earlier: Notify::new(),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.epoch).as_nanos().div_ceil(1000);
        u64::try_from(passed).unwrap_or(NEVER)
    }

    /// The reaper is to look at this moment at the latest.
    pub(crate) fn set(&self, at: Instant) {
        let at = self.micros(at);
        if at < self.at.load(Ordering::SeqCst) && at < self.at.fetch_min(at, Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// Nothing is due that is not set from now on.
    fn clear(&self) {
        self.at.store(NEVER, Ordering::SeqCst);
    }

    /// Waits until `next` or until an earlier moment is set.
    async fn wait(&self, next: Option<Instant>) {
        match next {
            None => self.earlier.notified().await,
            Some(next) => {
                self.at.fetch_min(self.micros(next), Ordering::SeqCst);
                tokio::select! {
                    () = self.earlier.notified() => (),
                    () = tokio::time::sleep_until(next) => (),
                }
            }
        }
    }
}

/// Runs until the pool's end.
pub(crate) async fn reap(inner: Arc<Inner>) {
    let work = async {
        loop {
            inner.alarm.clear();
            let next = pass(&inner).await;
            inner.alarm.wait(next).await;
        }
    };
    tokio::select! {
        () = inner.kill.cancelled() => (),
        () = work => (),
    }
}

/// Does what is due; when something will be due next.
async fn pass(inner: &Arc<Inner>) -> Option<Instant> {
    let mut next: Option<Instant> = None;
    let mut until = |at: Option<Instant>| next = [next, at].into_iter().flatten().min();
    for sub in inner.subpools() {
        for instance in sub.idle() {
            until(care_for(inner, &instance).await);
        }
        until(inner.fill(&sub));
        if !inner.bury(&sub) {
            let now = Instant::now();
            until(sub.forgotten_at(&inner.options.back_off).filter(|at| *at > now));
        }
    }
    next
}

/// Does what is due for one instance that was idle; when something will be due next.
async fn care_for(inner: &Arc<Inner>, instance: &Arc<Instance>) -> Option<Instant> {
    let policy = if instance.sub.keeps(instance) {
        inner.policy.without_idle()
    } else {
        let own = instance.sub.contract.keep_alive(&instance.sub.revision);
        inner.policy.with_idle(own)
    };
    let verdict = |now: Instant| policy.verdict(instance.life(), instance.started, now);
    let now = Instant::now();
    match verdict(now) {
        Verdict::Wait(until) => until,
        Verdict::Reclaim(end) => {
            reclaim(inner, instance, end);
            None
        }
        Verdict::Freeze => {
            let due = |life| policy.verdict(life, instance.started, now) == Verdict::Freeze;
            if instance.freeze(due, now).is_err() {
                reclaim(inner, instance, End::Condemned);
                return None;
            }
            // Freezing blocks; between two of many the thread is for those who have something to do.
            tokio::task::yield_now().await;
            match verdict(now) {
                Verdict::Wait(until) => until,
                Verdict::Freeze | Verdict::Reclaim(_) => Some(now),
            }
        }
    }
}

fn reclaim(inner: &Arc<Inner>, instance: &Arc<Instance>, end: End) {
    if instance.sub.remove_idle(instance) {
        inner.destroy(instance, end);
    }
}
