//! What becomes of an idle instance, and when.

use std::time::Duration;

use tokio::time::Instant;

use crate::lifecycle::{End, Life};

/// For how long instances are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Idle for so long: frozen.
    pub freeze_after: Duration,
    /// Idle for so long: gone.
    pub idle: Duration,
    /// Alive for so long: gone as soon as it is idle.
    pub max_age: Duration,
}

/// What is to be done with an instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing before this moment; `None`: nothing ever.
    Wait(Option<Instant>),
    /// Freeze it.
    Freeze,
    /// Reclaim it.
    Reclaim(End),
}

impl KeepAlive {
    /// The verdict on an instance that was started at `started`.
    pub(crate) fn verdict(&self, life: Life, started: Instant, now: Instant) -> Verdict {
        let (since, frozen) = match life {
            Life::Idle { since } => (since, false),
            Life::Frozen { idle_since } => (idle_since, true),
            Life::Starting { .. } | Life::Busy { .. } | Life::Reclaimed { .. } => return Verdict::Wait(None),
        };
        if self.is_too_old(started, now) {
            return Verdict::Reclaim(End::MaxAge);
        }
        // A sum beyond the clock's range is a deadline that never comes.
        let unused = since.checked_add(self.idle);
        if unused.is_some_and(|at| at <= now) {
            return Verdict::Reclaim(End::KeepAlive);
        }
        let still = if frozen {
            None
        } else {
            since.checked_add(self.freeze_after)
        };
        if still.is_some_and(|at| at <= now) {
            return Verdict::Freeze;
        }
        Verdict::Wait(
            [unused, still, started.checked_add(self.max_age)]
                .into_iter()
                .flatten()
                .min(),
        )
    }

    /// The same for an instance that is kept however long it is idle.
    pub(crate) const fn without_idle(self) -> Self {
        Self {
            idle: Duration::MAX,
            ..self
        }
    }

    /// The same for an instance that is kept for a time of its own, if it has one.
    pub(crate) fn with_idle(self, own: Option<Duration>) -> Self {
        Self {
            idle: own.unwrap_or(self.idle),
            ..self
        }
    }

    /// Whether it has reached the highest age.
    pub(crate) fn is_too_old(&self, started: Instant, now: Instant) -> bool {
        now.saturating_duration_since(started) >= self.max_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: KeepAlive = KeepAlive {
        freeze_after: Duration::from_millis(50),
        idle: Duration::from_secs(600),
        max_age: Duration::from_secs(7200),
    };

    #[test]
    fn verdicts_by_state_and_time() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let idle = |millis| Life::Idle { since: at(millis) };
        let frozen = |millis| Life::Frozen { idle_since: at(millis) };
        let table = [
            (idle(0), 0, Verdict::Wait(Some(at(50)))),
            (idle(0), 49, Verdict::Wait(Some(at(50)))),
            (idle(0), 50, Verdict::Freeze),
            (frozen(0), 50, Verdict::Wait(Some(at(600_000)))),
            (frozen(0), 599_999, Verdict::Wait(Some(at(600_000)))),
            (frozen(0), 600_000, Verdict::Reclaim(End::KeepAlive)),
            (idle(0), 600_000, Verdict::Reclaim(End::KeepAlive)),
            (frozen(7_100_000), 7_100_000, Verdict::Wait(Some(at(7_200_000)))),
            (frozen(7_100_000), 7_200_000, Verdict::Reclaim(End::MaxAge)),
            (Life::Busy { since: at(0) }, 7_200_000, Verdict::Wait(None)),
            (Life::Starting { since: at(0) }, 0, Verdict::Wait(None)),
        ];
        for (life, now, expected) in table {
            assert_eq!(POLICY.verdict(life, start, at(now)), expected, "{life:?} at {now} ms");
        }
    }

    #[test]
    fn the_longest_durations_mean_never() {
        let never = KeepAlive {
            freeze_after: Duration::MAX,
            idle: Duration::MAX,
            max_age: Duration::MAX,
        };
        let now = Instant::now();
        assert_eq!(never.verdict(Life::Idle { since: now }, now, now), Verdict::Wait(None));
    }
}
