//! Reading patterns in their dialects.

use super::{Cron, Days, MatchDays, Weekdays, Years};

/// A text that is no pattern: what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

type Result<T> = std::result::Result<T, CronError>;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field holds.
#[derive(Debug, Clone, Copy)]
struct Field {
    what: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// The number of the first name.
    base: u32,
    /// Whether `?` says the same as `*`.
    question: bool,
    /// Whether a range may run over the end, as from Friday to Monday.
    around: bool,
}

const fn field(what: &'static str, min: u32, max: u32) -> Field {
    Field {
        what,
        min,
        max,
        names: &[],
        base: 0,
        question: false,
        around: false,
    }
}

const SECONDS: Field = field("seconds", 0, 59);
const MINUTES: Field = field("minutes", 0, 59);
const HOURS: Field = field("hours", 0, 23);
const DAYS: Field = field("day of month", 1, 31);
const MONTH: Field = Field {
    names: &MONTHS,
    base: 1,
    ..field("month", 1, 12)
};
const WEEKDAY: Field = Field {
    names: &WEEKDAYS,
    ..field("day of week", 0, 7)
};
/// Sunday is 1.
const NUMBERED_WEEKDAY: Field = Field {
    names: &WEEKDAYS,
    base: 1,
    around: true,
    ..field("day of week", 1, 7)
};
const YEAR: Field = field("year", 1970, 2199);

fn wrong<T>(text: impl Into<String>) -> Result<T> {
    Err(CronError(text.into()))
}

impl Cron {
    /// The six fields of EventBridge: minutes, hours, day of month, month, day of week (1 is Sunday), year, with `?` for
    /// the one of both days that says nothing, and `L`, `W`, `#`.
    /// Source: "Cron expressions", EventBridge user guide and EventBridge Scheduler user guide.
    ///
    /// # Errors
    /// [`CronError`].
    pub fn with_years(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays, years] = fields.as_slice() else {
            return wrong(format!("{text:?} has {} fields, not 6", fields.len()));
        };
        if (*days == "?") == (*weekdays == "?") {
            return wrong("one of day of month and day of week must be ?, the other not");
        }
        let hour_field = Field { around: true, ..HOURS };
        Ok(Self {
            seconds: 1,
            minutes: MINUTES.set(minutes)?,
            hours: hour_field.set(hours)?,
            months: MONTH.set(months)?,
            days: if *days == "?" { every_day() } else { special_days(days)? },
            weekdays: if *weekdays == "?" {
                every_weekday()
            } else {
                special_weekdays(weekdays)?
            },
            years: Years(years.split(',').map(year_range).collect::<Result<_>>()?),
            match_days: MatchDays::Both,
        })
    }

    /// Five fields (minute, hour, day of month, month, day of week; 0 and 7 are Sunday), or six with seconds before them.
    /// Where both days are given, either will do. Source: crontab(5); seconds as npm `cron` has them.
    ///
    /// # Errors
    /// [`CronError`].
    pub fn unix(text: &str) -> Result<Self> {
        let mut cron = Self::plain(text, true)?;
        let fields: Vec<&str> = text.split_whitespace().rev().take(3).collect();
        if !fields[2].starts_with(['*', '?']) && !fields[0].starts_with(['*', '?']) {
            cron.match_days = MatchDays::Either;
        }
        Ok(cron)
    }

    /// Six fields (second, minute, hour, day, month, day of week; 0 is Sunday), or five without seconds. Where both days
    /// are given, both must fit. Source: "NCRONTAB expressions", Azure Functions timer trigger.
    ///
    /// # Errors
    /// [`CronError`].
    pub fn ncrontab(text: &str) -> Result<Self> {
        Self::plain(text, false)
    }

    fn plain(text: &str, question: bool) -> Result<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (seconds, rest) = match fields.as_slice() {
            [_, _, _, _, _] => ("0", fields.as_slice()),
            [seconds, rest @ ..] if rest.len() == 5 => (*seconds, rest),
            _ => return wrong(format!("{text:?} has {} fields, not 5 or 6", fields.len())),
        };
        let of = |field: Field, at: usize| Field { question, ..field }.set(rest[at]);
        let weekdays = of(WEEKDAY, 4)?;
        Ok(Self {
            seconds: Field { question, ..SECONDS }.set(seconds)?,
            minutes: of(MINUTES, 0)?,
            hours: of(HOURS, 1)?,
            days: Days {
                set: of(DAYS, 2)?,
                ..Days::default()
            },
            months: of(MONTH, 3)?,
            weekdays: Weekdays {
                // Both 0 and 7 are Sunday.
                set: weekdays & 0x7f | weekdays >> 7 & 1,
                ..Weekdays::default()
            },
            years: Years::any(),
            match_days: MatchDays::Both,
        })
    }
}

const fn every_day() -> Days {
    Days {
        set: u64::MAX,
        before_last: 0,
        nearest: 0,
        last_working: false,
    }
}

const fn every_weekday() -> Weekdays {
    Weekdays {
        set: 0x7f,
        last: 0,
        nth: [0; 7],
    }
}

impl Field {
    fn wrong<T>(&self, text: &str) -> Result<T> {
        wrong(format!(
            "{text:?} is no {} from {} to {}",
            self.what, self.min, self.max
        ))
    }

    fn number(&self, text: &str) -> Result<u32> {
        let lower = text.to_ascii_lowercase();
        let named = self.names.iter().zip(self.base..).find(|(name, _)| **name == lower);
        let plain = || {
            let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        match named.map(|(_, number)| number).or_else(plain) {
            Some(number) if (self.min..=self.max).contains(&number) => Ok(number),
            Some(_) | None => self.wrong(text),
        }
    }

    /// From, to and step of one part.
    fn range(&self, part: &str) -> Result<(u32, u32, u32)> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => match step.parse() {
                Ok(step) if step > 0 && step <= self.max => (range, step),
                Ok(_) | Err(_) => return self.wrong(part),
            },
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || (range == "?" && self.question) => (self.min, self.max),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if part.contains('/') => (self.number(range)?, self.max),
            None => (self.number(range)?, self.number(range)?),
        };
        if from > to && !self.around {
            return self.wrong(part);
        }
        Ok((from, to, step))
    }

    /// The bits of a field.
    fn set(&self, text: &str) -> Result<u64> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part)?;
        }
        Ok(bits)
    }

    fn part(&self, part: &str) -> Result<u64> {
        let (from, to, step) = self.range(part)?;
        let size = self.max - self.min + 1;
        let to = if from > to { to + size } else { to };
        let numbers = (from..=to).step_by(step as usize);
        Ok(numbers.fold(0, |bits, at| bits | 1 << ((at - self.min) % size + self.min)))
    }
}

fn special_days(text: &str) -> Result<Days> {
    let mut days = Days::default();
    for part in text.split(',') {
        let upper = part.to_ascii_uppercase();
        if upper == "LW" || upper == "WL" {
            days.last_working = true;
        } else if upper == "L" {
            days.before_last |= 1;
        } else if let Some(before) = upper.strip_prefix("L-") {
            let before = Field {
                min: 0,
                max: 30,
                ..DAYS
            }
            .number(before)?;
            days.before_last |= 1 << before;
        } else if let Some(day) = upper.strip_suffix('W') {
            days.nearest |= 1 << DAYS.number(day)?;
        } else {
            days.set |= DAYS.part(part)?;
        }
    }
    Ok(days)
}

fn special_weekdays(text: &str) -> Result<Weekdays> {
    let mut weekdays = Weekdays::default();
    for part in text.split(',') {
        let upper = part.to_ascii_uppercase();
        if upper == "L" {
            // The last day of a week.
            weekdays.set |= 1 << 6;
        } else if let Some((day, number)) = upper.split_once('#') {
            let number = field("week of a month", 1, 5).number(number)?;
            let day = NUMBERED_WEEKDAY.number(day)? - 1;
            weekdays.nth[day as usize] |= 1 << number;
        } else if let Some(day) = upper.strip_suffix('L') {
            weekdays.last |= 1 << (NUMBERED_WEEKDAY.number(day)? - 1);
        } else {
            weekdays.set |= NUMBERED_WEEKDAY.part(part)? >> 1;
        }
    }
    Ok(weekdays)
}

fn year_range(part: &str) -> Result<(i16, i16, i16)> {
    let (from, to, step) = YEAR.range(part)?;
    let short = |number: u32| i16::try_from(number).or_else(|_| YEAR.wrong(part));
    Ok((short(from)?, short(to)?, short(step)?))
}
