//! Times by a pattern of fields, in the dialects of those who write them. Pure: dates without a zone in, dates out.

mod parse;

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime};

pub use parse::CronError;

/// A pattern, understood. Each field is a set of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    weekdays: Weekdays,
    years: Years,
    match_days: MatchDays,
}

/// Days of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Days {
    /// By number.
    set: u64,
    /// So many days before the last one.
    before_last: u64,
    /// The working day nearest to this one, in the same month.
    nearest: u64,
    /// The last working day.
    last_working: bool,
}

/// Days of a week; 0 is Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weekdays {
    /// Every week.
    set: u64,
    /// The last of the month.
    last: u64,
    /// By its number in the month, from 1: the bits of those numbers.
    nth: [u64; 7],
}

/// Which years, as ranges with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Years(Vec<(i16, i16, i16)>);

/// How days of month and of week go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MatchDays {
    /// A day must be in both.
    Both,
    /// One of them will do.
    Either,
}

/// Where the search begins and ends that a dialect without years makes: 29 February comes again within it.
const YEARS_AHEAD: i16 = 9;

impl Cron {
    /// The first date that fits, `from` included; `None`: there is none.
    #[must_use]
    pub fn first_from(&self, from: DateTime) -> Option<DateTime> {
        let mut at = from;
        if at.subsec_nanosecond() != 0 {
            at = at
                .with()
                .subsec_nanosecond(0)
                .build()
                .ok()?
                .checked_add(1.second())
                .ok()?;
        }
        let last = self
            .years
            .last()
            .min(at.year().saturating_add(YEARS_AHEAD.max(self.years.reach(at.year()))));
        while at.year() <= last {
            if !self.years.fit(at.year()) {
                at = midnight(at.date().last_of_year().tomorrow().ok()?);
            } else if self.months >> at.month() & 1 == 0 {
                at = midnight(at.date().last_of_month().tomorrow().ok()?);
            } else if !self.day_fits(at.date()) {
                at = midnight(at.date().tomorrow().ok()?);
            } else {
                match self.time_from(at)? {
                    Found::Here => return Some(at),
                    Found::Later(later) => at = later,
                }
            }
        }
        None
    }

    /// Looks at the time of a day that fits.
    fn time_from(&self, at: DateTime) -> Option<Found> {
        let hour = first_bit(self.hours, at.hour());
        let minute = first_bit(self.minutes, at.minute());
        let second = first_bit(self.seconds, at.second());
        let date = at.date();
        Some(Found::Later(match (hour, minute, second) {
            (None, _, _) => midnight(date.tomorrow().ok()?),
            (Some(hour), _, _) if hour != at.hour() => date.at(hour, 0, 0, 0),
            (Some(hour), None, _) => date.at(hour, 0, 0, 0).checked_add(1.hour()).ok()?,
            (Some(hour), Some(minute), _) if minute != at.minute() => date.at(hour, minute, 0, 0),
            (Some(hour), Some(minute), None) => date.at(hour, minute, 0, 0).checked_add(1.minute()).ok()?,
            (Some(hour), Some(minute), Some(second)) if second != at.second() => date.at(hour, minute, second, 0),
            (Some(_), Some(_), Some(_)) => return Some(Found::Here),
        }))
    }

    fn day_fits(&self, date: Date) -> bool {
        let (day, weekday) = (self.days.fit(date), self.weekdays.fit(date));
        match self.match_days {
            MatchDays::Both => day && weekday,
            MatchDays::Either => day || weekday,
        }
    }
}

/// What a look at the time of a day finds.
enum Found {
    /// It fits.
    Here,
    /// Nothing fits before this moment.
    Later(DateTime),
}

/// The first bit that is set, `from` or above.
fn first_bit(bits: u64, from: i8) -> Option<i8> {
    let left = bits >> from;
    let ahead = i8::try_from(left.trailing_zeros()).ok()?;
    (left != 0).then_some(from + ahead)
}

fn midnight(date: Date) -> DateTime {
    date.at(0, 0, 0, 0)
}

impl Years {
    fn any() -> Self {
        Self(vec![(jiff::civil::Date::MIN.year(), jiff::civil::Date::MAX.year(), 1)])
    }

    fn fit(&self, year: i16) -> bool {
        let within = |(from, to, step): &(i16, i16, i16)| (*from..=*to).contains(&year) && (year - from) % step == 0;
        self.0.iter().any(within)
    }

    fn last(&self) -> i16 {
        self.0.iter().map(|(_, to, _)| *to).max().unwrap_or(0)
    }

    /// How far ahead of a year the first one lies that is among these.
    fn reach(&self, year: i16) -> i16 {
        let first = self.0.iter().map(|(from, to, step)| {
            if year <= *from {
                from - year
            } else if year <= *to {
                *step
            } else {
                0
            }
        });
        first.max().unwrap_or(0).saturating_add(YEARS_AHEAD)
    }
}

impl Days {
    fn fit(&self, date: Date) -> bool {
        let (day, last) = (date.day(), date.days_in_month());
        self.set >> day & 1 == 1
            || self.before_last >> (last - day) & 1 == 1
            || (self.last_working && day == working_day_near(date, last))
            || (1..=31).any(|wanted| {
                self.nearest >> wanted & 1 == 1 && wanted <= last && day == working_day_near(date, wanted)
            })
    }
}

/// The working day (Monday to Friday) nearest to a day of the month of `date`, never in another month.
fn working_day_near(date: Date, day: i8) -> i8 {
    let last = date.days_in_month();
    let Ok(wanted) = Date::new(date.year(), date.month(), day) else {
        return 0;
    };
    match wanted.weekday().to_sunday_zero_offset() {
        6 if day > 1 => day - 1,
        6 => day + 2,
        0 if day < last => day + 1,
        0 => day - 2,
        _ => day,
    }
}

impl Weekdays {
    fn fit(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let number = (date.day() - 1) / 7 + 1;
        self.set >> weekday & 1 == 1
            || (self.last >> weekday & 1 == 1 && date.day() + 7 > date.days_in_month())
            || usize::try_from(weekday).is_ok_and(|at| self.nth[at] >> number & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&str) -> Result<Cron, CronError>;

    fn check(read: Read, pattern: &str, from: &str, expected: &[&str]) {
        let cron = read(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let mut at: DateTime = from.parse().unwrap();
        for expected in expected {
            let found = cron.first_from(at).map_or("none".to_owned(), |found| found.to_string());
            assert_eq!(&found, expected, "{pattern} from {at}");
            match found.parse::<DateTime>() {
                Ok(found) => at = found.checked_add(1.second()).unwrap(),
                Err(_) => return,
            }
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn the_six_fields_with_years_find_their_dates() {
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "0 10 * * ? *",
                "2026-01-01T10:00:01",
                &["2026-01-02T10:00:00", "2026-01-03T10:00:00"],
            ),
            ("15 12 * * ? *", "2026-01-01T00:00:00", &["2026-01-01T12:15:00"]),
            ("0 18 ? * MON-FRI *", "2026-01-02T18:00:01", &["2026-01-05T18:00:00"]),
            ("0 8 1 * ? *", "2026-01-01T08:00:01", &["2026-02-01T08:00:00"]),
            (
                "0/10 * ? * MON-FRI *",
                "2026-01-02T23:50:01",
                &["2026-01-05T00:00:00", "2026-01-05T00:10:00"],
            ),
            (
                "0/5 8-17 ? * MON-FRI *",
                "2026-01-02T17:55:01",
                &["2026-01-05T08:00:00"],
            ),
            (
                "0/30 20-2 ? * MON-FRI *",
                "2026-01-02T02:30:01",
                &["2026-01-02T20:00:00"],
            ),
            (
                "0 12 L * ? *",
                "2026-02-01T00:00:00",
                &["2026-02-28T12:00:00", "2026-03-31T12:00:00"],
            ),
            ("0 12 L-2 * ? *", "2026-02-01T00:00:00", &["2026-02-26T12:00:00"]),
            // 15 August 2026 is a Saturday, 1 August too, 31 May a Sunday.
            ("0 0 15W 8 ? *", "2026-01-01T00:00:00", &["2026-08-14T00:00:00"]),
            ("0 0 1W 8 ? *", "2026-01-01T00:00:00", &["2026-08-03T00:00:00"]),
            ("0 0 31W 5 ? *", "2026-01-01T00:00:00", &["2026-05-29T00:00:00"]),
            (
                "0 0 LW * ? *",
                "2026-05-01T00:00:00",
                &["2026-05-29T00:00:00", "2026-06-30T00:00:00"],
            ),
            (
                "0 0 ? * 6L *",
                "2026-01-01T00:00:00",
                &["2026-01-30T00:00:00", "2026-02-27T00:00:00"],
            ),
            (
                "0 0 ? * L *",
                "2026-01-01T00:00:00",
                &["2026-01-03T00:00:00", "2026-01-10T00:00:00"],
            ),
            (
                "0 0 ? * TUE#2 *",
                "2026-01-01T00:00:00",
                &["2026-01-13T00:00:00", "2026-02-10T00:00:00"],
            ),
            ("0 0 ? * 3#5 *", "2026-01-01T00:00:00", &["2026-03-31T00:00:00"]),
            ("0 0 ? * 1 2026-2028/2", "2026-12-28T00:00:00", &["2028-01-02T00:00:00"]),
            (
                "0 0 29 2 ? *",
                "2026-01-01T00:00:00",
                &["2028-02-29T00:00:00", "2032-02-29T00:00:00"],
            ),
            ("0 0 30 2 ? *", "2026-01-01T00:00:00", &["none"]),
            (
                "0 0 1 1 ? 2199",
                "2026-01-01T00:00:00",
                &["2199-01-01T00:00:00", "none"],
            ),
            ("0 0 1 1 ? 2020", "2026-01-01T00:00:00", &["none"]),
            ("0 0 1,15 JAN,jul ? *", "2026-01-15T00:00:01", &["2026-07-01T00:00:00"]),
        ];
        for (pattern, from, expected) in cases {
            check(Cron::with_years, pattern, from, expected);
        }
    }

    #[test]
    fn other_dialects_have_their_own_days() {
        let cases: &[(Read, &str, &str, &[&str])] = &[
            (
                Cron::unix,
                "*/15 * * * *",
                "2026-01-01T00:00:01",
                &["2026-01-01T00:15:00"],
            ),
            (
                Cron::unix,
                "*/2 * * * * *",
                "2026-01-01T00:00:31",
                &["2026-01-01T00:00:32"],
            ),
            (
                Cron::unix,
                "0 12 * * 1-5",
                "2026-01-02T12:00:01",
                &["2026-01-05T12:00:00"],
            ),
            // Either day will do.
            (
                Cron::unix,
                "0 0 13 * fri",
                "2026-01-01T00:00:00",
                &["2026-01-02T00:00:00", "2026-01-09T00:00:00", "2026-01-13T00:00:00"],
            ),
            (Cron::unix, "0 0 * * 7", "2026-01-01T00:00:00", &["2026-01-04T00:00:00"]),
            (
                Cron::unix,
                "15,45 8-10/2 * * *",
                "2026-01-01T08:20:00",
                &["2026-01-01T08:45:00"],
            ),
            (
                Cron::ncrontab,
                "0 */5 * * * *",
                "2026-01-01T00:00:01",
                &["2026-01-01T00:05:00"],
            ),
            (
                Cron::ncrontab,
                "0 30 9 * Jan Mon",
                "2026-01-01T00:00:00",
                &["2026-01-05T09:30:00"],
            ),
            // Both days must fit.
            (
                Cron::ncrontab,
                "0 0 0 13 * Fri",
                "2026-01-01T00:00:00",
                &["2026-02-13T00:00:00", "2026-03-13T00:00:00"],
            ),
            (
                Cron::ncrontab,
                "0 0 * * *",
                "2026-01-01T00:00:01",
                &["2026-01-02T00:00:00"],
            ),
        ];
        for (read, pattern, from, expected) in cases {
            check(*read, pattern, from, expected);
        }
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        let cases: &[(Read, &str)] = &[
            (Cron::unix, ""),
            (Cron::unix, "* * * *"),
            (Cron::unix, "60 * * * *"),
            (Cron::unix, "* 5-2 * * *"),
            (Cron::unix, "*/0 * * * *"),
            (Cron::unix, "a * * * *"),
            (Cron::unix, "* * L * *"),
            (Cron::with_years, "* * * * *"),
            (Cron::with_years, "0 10 * * * *"),
            (Cron::with_years, "0 10 ? * ? *"),
            (Cron::with_years, "0 10 1 * MON *"),
            (Cron::with_years, "0 10 ? * 8 *"),
            (Cron::with_years, "0 10 ? * 0 *"),
            (Cron::with_years, "0 10 32W * ? *"),
            (Cron::with_years, "0 10 ? * 2#6 *"),
            (Cron::with_years, "0 10 * * ? 1969"),
            (Cron::with_years, "0 10 * * ? 2200"),
            (Cron::ncrontab, "0 0 0 ? * *"),
            (Cron::ncrontab, "0 0 0 * *  * *"),
        ];
        for (read, pattern) in cases {
            assert!(read(pattern).is_err(), "{pattern:?}");
        }
        let text = Cron::with_years("0 10 * * * *").unwrap_err().to_string();
        assert!(text.contains('?'), "{text}");
    }
}
