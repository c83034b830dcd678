//! What becomes of an event after an attempt. Pure.

use std::time::Duration;

use sonagi_model::Timestamp;
use sonagi_ports::EventStatus;

/// When failed events are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After the first, second, … failure of the function the next attempt follows so much later; after the last of
    /// these the event is given up. Default 1 min, 2 min.
    pub delays: Vec<Duration>,
    /// An event this old is given up. Default 6 h.
    pub max_age: Duration,
    /// Delay after an attempt that could not run, at a limit or because the platform failed; doubles each time in a
    /// row. Default 1 s.
    pub throttle_first: Duration,
    /// The longest of those delays. Default 5 min.
    pub throttle_longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delays: vec![Duration::from_secs(60), Duration::from_secs(120)],
            max_age: Duration::from_secs(6 * 3600),
            throttle_first: Duration::from_secs(1),
            throttle_longest: Duration::from_secs(300),
        }
    }
}

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Attempts that counted, before this one.
    pub attempts: u32,
    /// Attempts in a row, before this one, that could not run.
    pub postponed: u32,
}

/// How an attempt for an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The function answered.
    Succeeded,
    /// It is the function's fault.
    Failed,
    /// It could not run: a limit, or the platform.
    CouldNotRun,
    /// There is no such function any more.
    TargetGone,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The event is over.
    Settle(EventStatus),
    /// It is tried again.
    Retry {
        /// Attempts that count by now.
        attempts: u32,
        /// When.
        due: Timestamp,
    },
}

/// Whether an event is too old for an attempt at this moment.
pub(crate) fn is_expired(history: &History, policy: &RetryPolicy, at: Timestamp) -> bool {
    at > history.accepted.plus(policy.max_age)
}

/// What becomes of an event after an attempt.
pub(crate) fn decide(history: &History, ended: Ended, policy: &RetryPolicy, now: Timestamp) -> Next {
    let (attempts, delay) = match ended {
        Ended::Succeeded => return Next::Settle(EventStatus::Succeeded),
        Ended::TargetGone => return Next::Settle(EventStatus::TargetGone),
        Ended::Failed => match policy.delays.get(history.attempts as usize) {
            Some(delay) => (history.attempts + 1, *delay),
            None => return Next::Settle(EventStatus::RetriesExhausted),
        },
        Ended::CouldNotRun => (history.attempts, throttle_delay(policy, history.postponed)),
    };
    let due = now.plus(delay);
    if is_expired(history, policy, due) {
        return Next::Settle(EventStatus::Expired);
    }
    Next::Retry { attempts, due }
}

fn throttle_delay(policy: &RetryPolicy, postponed: u32) -> Duration {
    let doubled = policy.throttle_first.saturating_mul(2_u32.saturating_pow(postponed));
    doubled.min(policy.throttle_longest)
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample::NOW;

    use super::*;

    const fn history(attempts: u32, postponed: u32) -> History {
        History {
            accepted: NOW,
            attempts,
            postponed,
        }
    }

    #[test]
    fn every_case() {
        let policy = RetryPolicy::default();
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        let retry = |attempts, seconds| Next::Retry {
            attempts,
            due: at(seconds),
        };
        let settle = Next::Settle;
        let hours = 3600;
        let table = [
            (history(0, 0), Ended::Succeeded, 0, settle(EventStatus::Succeeded)),
            (history(2, 9), Ended::Succeeded, 9, settle(EventStatus::Succeeded)),
            (history(0, 0), Ended::TargetGone, 0, settle(EventStatus::TargetGone)),
            (history(0, 0), Ended::Failed, 1, retry(1, 61)),
            (history(1, 3), Ended::Failed, 62, retry(2, 182)),
            (history(2, 0), Ended::Failed, 183, settle(EventStatus::RetriesExhausted)),
            (history(0, 0), Ended::CouldNotRun, 0, retry(0, 1)),
            (history(0, 1), Ended::CouldNotRun, 1, retry(0, 3)),
            (history(1, 8), Ended::CouldNotRun, 0, retry(1, 256)),
            (history(1, 9), Ended::CouldNotRun, 0, retry(1, 300)),
            (history(0, u32::MAX), Ended::CouldNotRun, 0, retry(0, 300)),
            (history(0, 20), Ended::CouldNotRun, 6 * hours - 300, retry(0, 6 * hours)),
            (
                history(0, 20),
                Ended::CouldNotRun,
                6 * hours - 299,
                settle(EventStatus::Expired),
            ),
            (
                history(0, 0),
                Ended::Failed,
                6 * hours - 59,
                settle(EventStatus::Expired),
            ),
        ];
        for (history, ended, now, expected) in table {
            let got = decide(&history, ended, &policy, at(now));
            assert_eq!(got, expected, "{history:?} {ended:?} at {now} s");
        }
        assert!(!is_expired(&history(0, 0), &policy, at(6 * hours)));
        assert!(is_expired(&history(0, 0), &policy, at(6 * hours + 1)));
    }
}
