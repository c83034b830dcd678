//! Times by a pattern: five fields (minute, hour, day of month, month, day of week), or six with seconds before them.
//! Source: the syntax of npm `cron`, which upstream's alarm package uses.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A pattern, understood. Each field is a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days of month and of week were both given: then either will do.
    either_day: bool,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Longest search: a pattern like 29 February comes again within it.
const YEARS: i32 = 9;

impl Cron {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (seconds, rest) = match fields.len() {
            5 => ("0", &fields[..]),
            6 => (fields[0], &fields[1..]),
            _ => return Err(format!("{text:?} has {} fields, not 5 or 6", fields.len())),
        };
        let weekdays = set(rest[4], 0, 7, &WEEKDAYS, 0)?;
        Ok(Self {
            seconds: set(seconds, 0, 59, &[], 0)?,
            minutes: set(rest[0], 0, 59, &[], 0)?,
            hours: set(rest[1], 0, 23, &[], 0)?,
            days: set(rest[2], 1, 31, &[], 0)?,
            months: set(rest[3], 1, 12, &MONTHS, 1)?,
            // Both 0 and 7 are Sunday.
            weekdays: weekdays & 0x7f | weekdays >> 7 & 1,
            either_day: !rest[2].starts_with('*') && !rest[4].starts_with('*'),
        })
    }

    fn day_fits(&self, at: DateTime) -> bool {
        let day = self.days >> at.day() & 1 == 1;
        let weekday = self.weekdays >> at.weekday().to_sunday_zero_offset() & 1 == 1;
        if self.either_day {
            day || weekday
        } else {
            day && weekday
        }
    }

    /// The first moment after `after` that fits, in UTC; `None`: there is none.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let zone = TimeZone::UTC;
        let start = after.to_zoned(zone.clone()).datetime();
        let last = start.year() as i32 + YEARS;
        let mut at = start
            .with()
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(1.second())
            .ok()?;
        while (at.year() as i32) < last {
            let midnight = |at: DateTime| at.with().hour(0).minute(0).second(0).build().ok();
            if self.months >> at.month() & 1 == 0 || !self.day_fits(at) {
                at = midnight(at)?.checked_add(1.day()).ok()?;
            } else if self.hours >> at.hour() & 1 == 0 {
                at = at.with().minute(0).second(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if self.minutes >> at.minute() & 1 == 0 {
                at = at.with().second(0).build().ok()?.checked_add(1.minute()).ok()?;
            } else if self.seconds >> at.second() & 1 == 0 {
                at = at.checked_add(1.second()).ok()?;
            } else {
                return at.to_zoned(zone).ok().map(|at| at.timestamp());
            }
        }
        None
    }
}

/// The bits of one field.
fn set(field: &str, min: u32, max: u32, names: &[&str], base: u32) -> Result<u64, String> {
    let wrong = || format!("{field:?} is not a field from {min} to {max}");
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().zip(base..).find(|(name, _)| **name == lower);
        named
            .map(|(_, at)| at)
            .or_else(|| text.parse().ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(wrong)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(wrong)?,
            ),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, max),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(wrong());
        }
        for at in (from..=to).step_by(step as usize) {
            bits |= 1 << at;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, after: &str, expected: &str) {
        let next = Cron::parse(pattern).unwrap().next(after.parse().unwrap());
        assert_eq!(next.unwrap().to_string(), expected, "{pattern}");
    }

    #[test]
    fn patterns_find_their_next_moment() {
        check("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z");
        check("*/2 * * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:00:32Z");
        check("0 12 * * 1-5", "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z");
        check("0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        check("15,45 8-10/2 * * *", "2026-01-01T08:20:00Z", "2026-01-01T08:45:00Z");
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        for bad in ["", "* * * *", "60 * * * *", "* 5-2 * * *", "*/0 * * * *", "a * * * *"] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Cron::parse("0 0 31 2 *").unwrap().next(Timestamp::UNIX_EPOCH), None);
    }
}
