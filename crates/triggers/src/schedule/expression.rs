//! The expressions `rate(…)`, `cron(…)` and `at(…)`, and names of time zones.
//! Sources: "Schedule types on EventBridge Scheduler"; "Rate expressions" of the EventBridge user guide.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::cron::{Cron, CronError};

/// What an expression says.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// `rate(5 minutes)`.
    Rate(Duration),
    /// `cron(0 12 * * ? *)`.
    Cron(Cron),
    /// `at(2026-11-24T12:00:00)`.
    At(DateTime),
}

/// Whether the unit of a rate must agree with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// `1 minute`, `5 minutes`, nothing else.
    Agreeing,
    /// Any.
    Any,
}

/// A text that is no expression: what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is none of the three.
    #[error("{0:?} is none of rate(…), cron(…), at(…)")]
    Kind(String),
    /// Its rate is wrong.
    #[error("{0:?} is no rate such as `5 minutes`, `1 hour`, `7 days`")]
    Rate(String),
    /// Its date is wrong.
    #[error("{0:?} is no date such as 2026-11-24T12:00:00")]
    Date(String),
    /// Its pattern is wrong.
    #[error(transparent)]
    Cron(#[from] CronError),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ExpressionError`].
    pub fn parse(text: &str, units: Units) -> Result<Self, ExpressionError> {
        let text = text.trim();
        let inner = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inner("rate") {
            let rate = rate.trim();
            return read_rate(rate, units)
                .map(Self::Rate)
                .ok_or_else(|| ExpressionError::Rate(rate.to_owned()));
        }
        if let Some(pattern) = inner("cron") {
            return Ok(Self::Cron(Cron::with_years(pattern)?));
        }
        if let Some(date) = inner("at") {
            return read_date(date.trim())
                .map(Self::At)
                .ok_or_else(|| ExpressionError::Date(date.to_owned()));
        }
        Err(ExpressionError::Kind(text.chars().take(256).collect()))
    }
}

/// The longest rate, in days: what is longer is no rate any more.
const DAYS_MAX: u64 = 36_500;

fn read_rate(text: &str, units: Units) -> Option<Duration> {
    let (number, unit) = text.split_once(char::is_whitespace)?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let unit = unit.trim();
    let (singular, plural) = unit
        .strip_suffix('s')
        .map_or((unit, false), |singular| (singular, true));
    if units == Units::Agreeing && plural != (number > 1) {
        return None;
    }
    let seconds = match singular {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    let whole = number.checked_mul(seconds)?;
    (whole <= DAYS_MAX * 86_400).then(|| Duration::from_secs(whole))
}

fn read_date(text: &str) -> Option<DateTime> {
    let exact = text.len() == "2026-11-24T12:00:00".len() && text.as_bytes().get(10) == Some(&b'T');
    exact.then(|| text.parse().ok()).flatten()
}

/// A time zone by its name in the tz database: the system's, or the one that is built in where the system has none.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|_| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_and_wrong_ones_explained() {
        let rate = |text: &str, units| match Expression::parse(text, units) {
            Ok(Expression::Rate(rate)) => Some(rate.as_secs()),
            Ok(Expression::Cron(_) | Expression::At(_)) | Err(_) => None,
        };
        assert_eq!(rate("rate(5 minutes)", Units::Agreeing), Some(300));
        assert_eq!(rate("rate(1 hour)", Units::Agreeing), Some(3600));
        assert_eq!(rate("rate(7 days)", Units::Agreeing), Some(604_800));
        assert_eq!(
            (
                rate("rate(1 minutes)", Units::Agreeing),
                rate("rate(1 minutes)", Units::Any)
            ),
            (None, Some(60))
        );
        assert_eq!(rate("rate(5 minute)", Units::Agreeing), None);
        for bad in [
            "rate(0 minutes)",
            "rate(-1 minutes)",
            "rate(5)",
            "rate(5 seconds)",
            "rate(1.5 hours)",
            "5 minutes",
            "",
        ] {
            assert!(Expression::parse(bad, Units::Any).is_err(), "{bad}");
        }
        assert!(matches!(
            Expression::parse("at(2026-11-24T12:00:00)", Units::Any),
            Ok(Expression::At(_))
        ));
        for bad in [
            "at(2026-11-24)",
            "at(2026-13-24T12:00:00)",
            "at(2026-11-24 12:00:00)",
            "at(2026-11-24T12:00:00Z)",
        ] {
            assert!(Expression::parse(bad, Units::Any).is_err(), "{bad}");
        }
        assert!(matches!(
            Expression::parse("cron(0 12 * * ? *)", Units::Any),
            Ok(Expression::Cron(_))
        ));
        assert!(Expression::parse("cron(0 12 * * *)", Units::Any).is_err());
        assert!(zone("Europe/Berlin").is_some() && zone("UTC").is_some());
        assert!(zone("Europe/Nowhere").is_none() && zone("").is_none());
    }
}
