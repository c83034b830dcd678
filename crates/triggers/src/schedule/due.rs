//! Which ticks are to be handed over now: pure, so that clocks that jump and platforms that were down can be tried by table.

use std::time::Duration;

use sonagi_model::Timestamp;

use super::Plan;

/// A tick handed over within so much of its moment is on time.
const PROMPT: Duration = Duration::from_secs(30);

/// The longest that a missed tick is remembered.
pub const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Ticks of one schedule that are handed over at once.
const BATCH: usize = 1000;

/// What becomes of ticks whose moment passed while nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// The newest of them is made up for.
    #[default]
    Once,
    /// All are made up for.
    All,
}

/// What becomes of missed ticks, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedRules {
    /// Which are made up for. Default the newest.
    pub policy: Missed,
    /// None that is older than this. Default 5 min, at most [`LONGEST_GRACE`].
    pub grace: Duration,
}

impl Default for MissedRules {
    fn default() -> Self {
        Self {
            policy: Missed::default(),
            grace: Duration::from_secs(300),
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// To be handed over, in this order.
    pub ticks: Vec<Timestamp>,
    /// Up to here everything is settled, once they are.
    pub cursor: Timestamp,
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros().saturating_sub(micros))
}

/// What is due at `now`, when everything up to `cursor` is settled.
#[must_use]
pub fn due(plan: &Plan, rules: MissedRules, cursor: Timestamp, now: Timestamp) -> Due {
    let prompt = before(now, PROMPT);
    let oldest = match rules.policy {
        Missed::Skip => prompt,
        Missed::Once | Missed::All => before(now, rules.grace.clamp(PROMPT, LONGEST_GRACE)),
    };
    let mut ticks: Vec<Timestamp> = Vec::new();
    let mut newest_missed = None;
    let mut at = cursor.max(before(oldest, Duration::from_micros(1)));
    let mut settled = now.max(cursor);
    while let Some(next) = plan.next(at).filter(|next| *next <= now) {
        at = next;
        match rules.policy {
            Missed::Once if next < prompt => newest_missed = Some(next),
            Missed::Skip | Missed::Once | Missed::All => ticks.push(next),
        }
        if ticks.len() == BATCH {
            settled = next;
            break;
        }
    }
    ticks.splice(0..0, newest_missed);
    Due { ticks, cursor: settled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Timing;
    use jiff::tz::TimeZone;

    fn minutes(period: u64) -> Plan {
        Plan {
            timing: Timing::Every {
                period: Duration::from_secs(period * 60),
                first: Timestamp::EPOCH,
            },
            zone: TimeZone::UTC,
            start: None,
            end: None,
        }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    #[test]
    fn missed_ticks_follow_the_policy() {
        let rules = |policy, grace: u64| MissedRules {
            policy,
            grace: Duration::from_secs(grace * 60),
        };
        let cases = [
            // On time, whatever the policy.
            (rules(Missed::Skip, 5), 9, 10, vec![10]),
            (rules(Missed::Once, 5), 9, 10, vec![10]),
            (rules(Missed::All, 5), 9, 10, vec![10]),
            // Nothing twice.
            (rules(Missed::All, 5), 10, 10, vec![]),
            // Away for twenty minutes.
            (rules(Missed::Skip, 5), 9, 29, vec![29]),
            (rules(Missed::Once, 5), 9, 29, vec![28, 29]),
            (rules(Missed::All, 5), 9, 29, vec![24, 25, 26, 27, 28, 29]),
            (rules(Missed::All, 60), 20, 23, vec![21, 22, 23]),
        ];
        for (rules, cursor, now, expected) in cases {
            let found = due(&minutes(1), rules, at(cursor), at(now));
            let expected: Vec<_> = expected.into_iter().map(at).collect();
            assert_eq!(
                (found.ticks, found.cursor),
                (expected, at(now)),
                "{rules:?} {cursor} {now}"
            );
        }
        // A clock that went back: nothing is due, and what was settled stays so.
        let back = due(&minutes(1), MissedRules::default(), at(100), at(40));
        assert_eq!((back.ticks, back.cursor), (vec![], at(100)));
    }

    #[test]
    fn a_missed_moment_of_an_hourly_plan_is_made_up_for_within_its_grace() {
        let late = |now: i64| due(&minutes(60), MissedRules::default(), at(1), at(now)).ticks;
        assert_eq!((late(64), late(66)), (vec![at(60)], vec![]));
    }

    #[test]
    fn ten_thousand_ticks_come_each_once_however_the_clock_is_looked_at() {
        let plan = minutes(1);
        let (mut cursor, mut seen, mut now) = (at(0), Vec::new(), at(0));
        let mut step = 1_u64;
        while seen.len() < 10_000 {
            // Uneven steps of 1 to 59 seconds: a fixed sequence, not chance.
            step = step * 48271 % 0x7fff_ffff;
            now = now.plus(Duration::from_millis(1000 + step % 58_000));
            let found = due(
                &plan,
                MissedRules {
                    policy: Missed::All,
                    ..Default::default()
                },
                cursor,
                now,
            );
            seen.extend(found.ticks);
            cursor = found.cursor;
        }
        let expected: Vec<_> = (1..=i64::try_from(seen.len()).unwrap()).map(at).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn many_ticks_come_in_batches() {
        let plan = Plan {
            timing: Timing::Every {
                period: Duration::from_secs(1),
                first: Timestamp::EPOCH,
            },
            ..minutes(1)
        };
        let rules = MissedRules {
            policy: Missed::All,
            grace: LONGEST_GRACE,
        };
        let first = due(&plan, rules, at(0), at(60));
        assert_eq!(
            (first.ticks.len(), first.cursor),
            (BATCH, Timestamp::from_millis(1_000_000))
        );
        let next = due(&plan, rules, first.cursor, at(60));
        assert_eq!(next.ticks[0], Timestamp::from_millis(1_001_000));
    }
}
