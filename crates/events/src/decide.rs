//! What becomes of an event after an attempt.

use std::time::Duration;

use sonagi_model::Timestamp;
use sonagi_ports::{EventHead, EventStatus, Progress, RetryRules};

/// How an attempt for an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The function answered, the destination took it.
    Succeeded,
    /// It is the function's fault.
    Failed,
    /// It did not begin: a limit of concurrency or capacity.
    Throttled,
    /// It began, and the platform failed.
    PlatformFailed,
    /// It did not begin and never will.
    Over(EventStatus),
    /// It did not begin because the platform stops.
    Interrupted,
}

impl Ended {
    /// Whether the attempt began, and so has a number and a record.
    #[must_use]
    pub const fn has_run(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::PlatformFailed => true,
            Self::Throttled | Self::Over(_) | Self::Interrupted => false,
        }
    }
}

/// What is written down about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is over.
    Settle {
        /// How it ended.
        status: EventStatus,
        /// What was tried.
        progress: Progress,
    },
    /// Another attempt follows.
    Postpone {
        /// When.
        due: Timestamp,
        /// What was tried so far.
        progress: Progress,
    },
}

/// Whether an event is too old for an attempt at this moment.
#[must_use]
pub fn is_expired(accepted: Timestamp, rules: &RetryRules, at: Timestamp) -> bool {
    at > accepted.plus(rules.max_age)
}

/// What becomes of an event after an attempt.
#[must_use]
pub fn decide(head: &EventHead, ended: Ended, rules: &RetryRules, now: Timestamp) -> Verdict {
    let before = head.progress;
    let started = before.started.saturating_add(u32::from(ended.has_run()));
    let settle = |status, progress| Verdict::Settle { status, progress };
    let mut progress = Progress { started, ..before };
    let due = match ended {
        Ended::Succeeded => return settle(EventStatus::Succeeded, progress),
        Ended::Over(status) => return settle(status, progress),
        Ended::Interrupted => {
            return Verdict::Postpone {
                due: head.due,
                progress,
            };
        }
        Ended::Failed => {
            let delay = rules.delays.get(before.failures as usize);
            (progress.failures, progress.postponed) = (before.failures.saturating_add(1), 0);
            match delay {
                Some(delay) => now.plus(*delay),
                None => return settle(EventStatus::RetriesExhausted, progress),
            }
        }
        Ended::Throttled | Ended::PlatformFailed => {
            progress.postponed = before.postponed.saturating_add(1);
            if rules.postponements.is_some_and(|most| progress.postponed > most) && !head.cancelled {
                return settle(EventStatus::RetriesExhausted, progress);
            }
            now.plus(backoff(rules, before.postponed))
        }
    };
    if head.cancelled {
        return settle(EventStatus::Cancelled, progress);
    }
    if is_expired(head.accepted, rules, due) {
        return settle(EventStatus::Expired, progress);
    }
    Verdict::Postpone { due, progress }
}

fn backoff(rules: &RetryRules, postponed: u32) -> Duration {
    let doubled = rules.throttle_first.saturating_mul(2_u32.saturating_pow(postponed));
    doubled.min(rules.throttle_longest)
}

#[cfg(test)]
mod tests {
    use sonagi_model::EventId;
    use sonagi_ports::Lane;
    use sonagi_ports::fake::sample::NOW;

    use super::*;

    const fn progress(started: u32, failures: u32, postponed: u32) -> Progress {
        Progress {
            started,
            failures,
            postponed,
        }
    }

    fn head(progress: Progress) -> EventHead {
        EventHead {
            id: EventId::generate(),
            lane: Lane::from_text("a"),
            accepted: NOW,
            due: NOW,
            progress,
            cancelled: false,
        }
    }

    #[test]
    fn every_case() {
        let rules = RetryRules::default();
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        let retry = |progress, seconds| Verdict::Postpone {
            due: at(seconds),
            progress,
        };
        let settle = |status, progress| Verdict::Settle { status, progress };
        let hours = 3600;
        let (failed, throttled) = (Ended::Failed, Ended::Throttled);
        let table = [
            (
                (0, 0, 0),
                Ended::Succeeded,
                0,
                settle(EventStatus::Succeeded, progress(1, 0, 0)),
            ),
            (
                (3, 2, 9),
                Ended::Succeeded,
                9,
                settle(EventStatus::Succeeded, progress(4, 2, 9)),
            ),
            (
                (0, 0, 0),
                Ended::Over(EventStatus::TargetGone),
                0,
                settle(EventStatus::TargetGone, progress(0, 0, 0)),
            ),
            ((0, 0, 0), failed, 1, retry(progress(1, 1, 0), 61)),
            ((4, 1, 3), failed, 62, retry(progress(5, 2, 0), 182)),
            (
                (2, 2, 0),
                failed,
                183,
                settle(EventStatus::RetriesExhausted, progress(3, 3, 0)),
            ),
            ((0, 0, 0), throttled, 0, retry(progress(0, 0, 1), 1)),
            ((0, 0, 1), throttled, 1, retry(progress(0, 0, 2), 3)),
            ((1, 1, 8), throttled, 0, retry(progress(1, 1, 9), 256)),
            ((1, 1, 9), Ended::PlatformFailed, 0, retry(progress(2, 1, 10), 300)),
            ((0, 0, u32::MAX), throttled, 0, retry(progress(0, 0, u32::MAX), 300)),
            ((1, 0, 0), Ended::Interrupted, 7, retry(progress(1, 0, 0), 0)),
            (
                (0, 0, 20),
                throttled,
                6 * hours - 300,
                retry(progress(0, 0, 21), 6 * hours),
            ),
            (
                (0, 0, 20),
                throttled,
                6 * hours - 299,
                settle(EventStatus::Expired, progress(0, 0, 21)),
            ),
            (
                (0, 0, 0),
                failed,
                6 * hours - 59,
                settle(EventStatus::Expired, progress(1, 1, 0)),
            ),
        ];
        for ((started, failures, postponed), ended, now, expected) in table {
            let head = head(progress(started, failures, postponed));
            assert_eq!(decide(&head, ended, &rules, at(now)), expected, "{ended:?} at {now} s");
        }
        assert!(!is_expired(NOW, &rules, at(6 * hours)));
        assert!(is_expired(NOW, &rules, at(6 * hours + 1)));
    }

    #[test]
    fn a_cancelled_event_gets_no_further_attempt() {
        let rules = RetryRules::default();
        let cancelled = EventHead {
            cancelled: true,
            ..head(progress(0, 0, 0))
        };
        let status = |ended| match decide(&cancelled, ended, &rules, NOW) {
            Verdict::Settle { status, .. } => Some(status),
            Verdict::Postpone { .. } => None,
        };
        assert_eq!(status(Ended::Failed), Some(EventStatus::Cancelled));
        assert_eq!(status(Ended::Throttled), Some(EventStatus::Cancelled));
        assert_eq!(status(Ended::Succeeded), Some(EventStatus::Succeeded));
    }

    #[test]
    fn events_that_cannot_run_are_given_up_after_so_many_attempts() {
        let rules = RetryRules {
            postponements: Some(2),
            ..RetryRules::default()
        };
        for (postponed, over) in [(0, false), (1, false), (2, true)] {
            let verdict = decide(&head(progress(0, 0, postponed)), Ended::PlatformFailed, &rules, NOW);
            let is_over = matches!(
                verdict,
                Verdict::Settle {
                    status: EventStatus::RetriesExhausted,
                    ..
                }
            );
            assert_eq!(is_over, over, "{postponed}");
        }
    }
}
