//! Moments as people write them.

use sonagi_model::Timestamp;

use super::answer::Refusal;

/// RFC 3339, a date (midnight UTC), or an age (`90s`, `15m`, `24h`, `7d`, `2w`) counted back from `now`.
pub(super) fn parse(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    age(text)
        .map(|micros| Timestamp::from_micros(now.as_micros().saturating_sub(micros)))
        .or_else(|| {
            text.parse::<jiff::Timestamp>()
                .ok()
                .map(|moment| Timestamp::from_micros(moment.as_microsecond()))
        })
        .or_else(|| date(text))
        .ok_or_else(|| {
            Refusal::invalid(format!("{name} {text:?} is no moment"))
                .hint("write an age (15m, 24h, 7d), a date (2026-11-01) or RFC 3339 (2026-11-01T08:00:00Z)")
        })
}

fn age(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)
}

fn date(text: &str) -> Option<Timestamp> {
    let date: jiff::civil::Date = (text.len() == 10).then(|| text.parse().ok())??;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_micros(midnight.as_microsecond()))
}

/// RFC 3339 in UTC.
pub(super) fn text(moment: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(moment.as_micros()).map_or_else(
        // Beyond the year 9999 there is no RFC 3339; the number is still true.
        |_| format!("{} us since 1970", moment.as_micros()),
        |moment| moment.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_written() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        for (given, expected) in [
            ("0s", "2027-01-15T08:00:00Z"),
            ("90s", "2027-01-15T07:58:30Z"),
            ("15m", "2027-01-15T07:45:00Z"),
            ("24h", "2027-01-14T08:00:00Z"),
            ("7d", "2027-01-08T08:00:00Z"),
            ("2w", "2027-01-01T08:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00Z"),
            ("2026-11-01T08:00:00+09:00", "2026-10-31T23:00:00Z"),
        ] {
            assert_eq!(text(parse("since", given, now).unwrap()), expected, "{given}");
        }
        for bad in [
            "",
            "h",
            "-1h",
            "1y",
            "24",
            "yesterday",
            "2026-13-01",
            "1é",
            "99999999999999999h",
        ] {
            assert!(parse("since", bad, now).is_err(), "{bad:?}");
        }
    }
}
