//! How long a revision that does not start is left alone.

use std::time::Duration;

use tokio::time::Instant;

/// Delays after consecutive failures to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOffPolicy {
    /// So many failures in a row have no consequence. Default 2.
    pub free: u32,
    /// Delay after the first one beyond that; each further one doubles it. Default 100 ms.
    pub first: Duration,
    /// Longest delay. Default 10 s.
    pub longest: Duration,
    /// So long after the end of a delay all failures are forgotten. Default 60 s.
    pub forget: Duration,
}

impl Default for BackOffPolicy {
    fn default() -> Self {
        Self {
            free: 2,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            forget: Duration::from_secs(60),
        }
    }
}

impl BackOffPolicy {
    /// The delay after so many failures in a row.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(beyond) => self
                .first
                .saturating_mul(2_u32.saturating_pow(beyond - 1))
                .min(self.longest),
        }
    }
}

/// The failures of one revision in a row, and what the last one was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum BackOff<F> {
    /// The last start succeeded, or there was none, or the failures are forgotten.
    #[default]
    Clear,
    /// The last starts failed.
    Failing {
        /// How many in a row; starts that were under way together count once.
        failures: u32,
        /// When the last of those was counted.
        counted_at: Instant,
        /// No start before this moment.
        retry_at: Instant,
        /// The last failure.
        last: F,
    },
}

impl<F> BackOff<F> {
    /// After another failure, of a start that was asked for at `asked`.
    pub(crate) fn failed(&mut self, last: F, policy: &BackOffPolicy, asked: Instant, now: Instant) {
        let (failures, counted_at) = match self {
            // A burst of calls to a function that does not start is one failure, not a reason to leave it alone.
            Self::Failing {
                failures, counted_at, ..
            } if asked < *counted_at => (*failures, *counted_at),
            Self::Failing { failures, retry_at, .. } if now < *retry_at + policy.forget => {
                (failures.saturating_add(1), now)
            }
            Self::Clear | Self::Failing { .. } => (1, now),
        };
        *self = Self::Failing {
            failures,
            counted_at,
            retry_at: counted_at + policy.delay(failures),
            last,
        };
    }

    /// The last failure, while no start is allowed.
    pub(crate) fn refusal(&self, now: Instant) -> Option<&F> {
        match self {
            Self::Failing { retry_at, last, .. } if now < *retry_at => Some(last),
            Self::Clear | Self::Failing { .. } => None,
        }
    }

    /// When the next start is allowed, if there were failures.
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Clear => None,
            Self::Failing { retry_at, .. } => Some(*retry_at),
        }
    }

    /// When everything is forgotten; `None`: there is nothing to forget.
    pub(crate) fn forgotten_at(&self, policy: &BackOffPolicy) -> Option<Instant> {
        match self {
            Self::Clear => None,
            Self::Failing { retry_at, .. } => Some(*retry_at + policy.forget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_after_the_free_ones() {
        let policy = BackOffPolicy::default();
        let table = [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 100),
            (4, 200),
            (5, 400),
            (9, 6400),
            (10, 10_000),
            (u32::MAX, 10_000),
        ];
        for (failures, millis) in table {
            assert_eq!(
                policy.delay(failures),
                Duration::from_millis(millis),
                "{failures} failures"
            );
        }
    }

    #[test]
    fn refuses_until_the_delay_is_over_and_forgets() {
        let policy = BackOffPolicy::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut back_off = BackOff::Clear;
        for (failure, now) in [('a', 0), ('b', 10)] {
            back_off.failed(failure, &policy, at(now), at(now));
            assert_eq!(back_off.refusal(at(now)), None);
        }
        back_off.failed('b', &policy, at(5), at(15));
        assert_eq!(
            back_off.refusal(at(15)),
            None,
            "it was under way when the second was counted"
        );
        back_off.failed('c', &policy, at(20), at(20));
        assert_eq!(back_off.refusal(at(119)), Some(&'c'));
        assert_eq!(back_off.refusal(at(120)), None);
        assert_eq!(back_off.forgotten_at(&policy), Some(at(60_120)));
        back_off.failed('d', &policy, at(60_120), at(60_120));
        assert_eq!(back_off.refusal(at(60_120)), None, "earlier failures were forgotten");
    }
}
