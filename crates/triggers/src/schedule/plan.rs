//! When something is to happen.
//!
//! What a change of the clocks does to times by a pattern, in every dialect: a time that does not exist is skipped, and a
//! time that occurs twice is meant once, its first occurrence; patterns within the repeated hour rest while it passes again.
//! Source: "Daylight savings time", EventBridge Scheduler user guide. Intervals take no notice of clocks at all.

use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use sonagi_model::Timestamp;

use crate::cron::Cron;

/// When something is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// At `first`, and then again and again.
    Every {
        /// The time between, at least a second.
        period: Duration,
        /// The first time.
        first: Timestamp,
    },
    /// By a pattern of dates.
    Cron(Cron),
    /// Once, at this date. One that does not exist is taken as so much later.
    Once(DateTime),
}

/// When something is to happen, where, and from when to when.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// By which rule.
    pub timing: Timing,
    /// Where dates are meant.
    pub zone: TimeZone,
    /// Not before this moment.
    pub start: Option<Timestamp>,
    /// Not after this moment.
    pub end: Option<Timestamp>,
}

/// The shortest period.
const SHORTEST: Duration = Duration::from_secs(1);

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.as_micros()).ok()
}

fn moment(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_microsecond())
}

impl Plan {
    /// The first moment after another; `None`: there is none.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let before_start = self
            .start
            .map(|start| Timestamp::from_micros(start.as_micros().saturating_sub(1)));
        let after = before_start.map_or(after, |before| before.max(after));
        let next = match &self.timing {
            Timing::Every { period, first } => Some(every((*period).max(SHORTEST), *first, after)),
            Timing::Once(date) => {
                let at = self.zone.to_ambiguous_timestamp(*date).compatible().ok().map(moment)?;
                (at > after).then_some(at)
            }
            Timing::Cron(cron) => self.by_pattern(cron, after),
        };
        next.filter(|next| self.end.is_none_or(|end| *next <= end))
    }

    fn by_pattern(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let mut from = instant(after)?.to_zoned(self.zone.clone()).datetime();
        // Ends: each turn is later than the one before, and patterns run out.
        loop {
            let date = cron.first_from(from)?;
            let candidate = self.zone.to_ambiguous_timestamp(date);
            match candidate.offset() {
                AmbiguousOffset::Gap { .. } => {}
                AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                    let at = moment(candidate.earlier().ok()?);
                    if at > after {
                        return Some(at);
                    }
                }
            }
            from = date.checked_add(1.second()).ok()?;
        }
    }
}

fn every(period: Duration, first: Timestamp, after: Timestamp) -> Timestamp {
    if after < first {
        return first;
    }
    let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
    let passed = after.as_micros().saturating_sub(first.as_micros()) / period;
    let next = passed.saturating_add(1).saturating_mul(period);
    Timestamp::from_micros(first.as_micros().saturating_add(next))
}

#[cfg(test)]
mod tests;
