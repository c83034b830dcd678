//! Values as people write them on the command line and in `sonagi.toml`: sizes, durations, variables.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sonagi_api::FunctionEgress;

use crate::failure::Failure;

/// A size in MiB: a bare number, or one with `M`, `MB`, `MiB`, `G`, `GB` or `GiB`. As the providers do, M and G count in
/// steps of 1024.
pub fn mebibytes(text: &str) -> Result<u32, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let factor = match lower[digits.len()..].trim() {
        "" | "m" | "mb" | "mib" => 1,
        "g" | "gb" | "gib" => 1024,
        _ => return Err(format!("{text:?} is no size in MiB: write 256, 256MiB or 1GiB")),
    };
    let size = digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|size| *size > 0);
    size.ok_or_else(|| format!("{text:?} is no size in MiB: write 256, 256MiB or 1GiB"))
}

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`; a bare number counts seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 500ms, 30s, 15m or 2h");
    let trimmed = text.trim();
    let digits = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis = match &trimmed[digits.len()..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => return Err(wrong()),
    };
    // A century is further than any setting reaches, and far from where clocks overflow.
    millis
        .filter(|millis| *millis <= 100 * 366 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// A duration in the shortest form that [`duration`] reads back.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 {
        "0s".to_owned()
    } else {
        format!("{millis}ms")
    }
}

/// Whole milliseconds, as the native API counts.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `NAME=VALUE`.
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}

/// `VERSION=SHARE`, the share between 0 and 1.
pub fn split(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("{text:?} is not of the form VERSION=SHARE with a share from 0 to 1, for instance 2=0.1");
    let (version, share) = text.split_once('=').ok_or_else(wrong)?;
    let share: f64 = share.parse().map_err(|_| wrong())?;
    if version.is_empty() || !(0.0..=1.0).contains(&share) {
        Err(wrong())
    } else {
        Ok((version.to_owned(), share))
    }
}

/// A function's name as people write it, and the version or alias: `NAME`, or `NAME:QUALIFIER` as in an ARN.
pub fn qualified(name: String, given: Option<String>) -> Result<(String, Option<String>), Failure> {
    let Some((bare, inner)) = name.split_once(':').filter(|(_, inner)| !inner.contains(':')) else {
        return Ok((name, given));
    };
    if bare.is_empty() || inner.is_empty() {
        return Err(Failure::usage(format!("{name:?} names no function"))
            .hint("write NAME, or NAME:VERSION, or NAME --qualifier VERSION"));
    }
    match given {
        Some(given) if given != inner => Err(Failure::usage(format!(
            "{name:?} and --qualifier {given} name two different versions or aliases"
        ))
        .hint("leave one of them out")),
        Some(_) | None => Ok((bare.to_owned(), Some(inner.to_owned()))),
    }
}

/// A number, or `none`.
pub fn number_or_none(text: &str) -> Result<NumberOrNone, String> {
    if text == "none" {
        return Ok(NumberOrNone(None));
    }
    text.parse()
        .map(|number| NumberOrNone(Some(number)))
        .map_err(|_| format!("{text:?} is neither a number nor `none`"))
}

/// `default` or `none`.
pub fn egress() -> impl TypedValueParser<Value = FunctionEgress> {
    PossibleValuesParser::new([FunctionEgress::Default, FunctionEgress::None].map(FunctionEgress::name)).map(|text| {
        if text == FunctionEgress::None.name() {
            FunctionEgress::None
        } else {
            FunctionEgress::Default
        }
    })
}

/// `VERSION=INSTANCES` or `ALIAS=none`.
pub fn instances(text: &str) -> Result<(String, NumberOrNone), String> {
    let parts = text.split_once('=').filter(|(qualifier, _)| !qualifier.is_empty());
    let (qualifier, count) = parts.ok_or_else(|| {
        format!("{text:?} is not of the form VERSION=INSTANCES or ALIAS=INSTANCES, for instance prod=2")
    })?;
    Ok((qualifier.to_owned(), number_or_none(count)?))
}

/// A number, or the wish that there be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberOrNone(pub Option<u32>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_mebibytes() {
        for (text, expected) in [
            ("256", 256),
            ("256M", 256),
            ("256 MiB", 256),
            ("1g", 1024),
            ("2GiB", 2048),
        ] {
            assert_eq!(mebibytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "M", "-1", "1.5G", "256K", "99999999G", "1TB"] {
            assert!(mebibytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_back() {
        for (text, millis, shortest) in [
            ("500ms", 500, "500ms"),
            ("30", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("2h", 7_200_000, "2h"),
            ("1d", 86_400_000, "1d"),
            ("0s", 0, "0s"),
        ] {
            let read = duration(text).unwrap();
            assert_eq!(
                (read.as_millis(), duration_text(read).as_str()),
                (millis, shortest),
                "{text}"
            );
        }
        for text in ["", "s", "-1s", "1.5s", "1y", "1 s s", "99999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_may_carry_their_qualifier() {
        let check = |name: &str, given: Option<&str>, expected: Option<(&str, Option<&str>)>| {
            let found = qualified(name.to_owned(), given.map(str::to_owned)).ok();
            let expected = expected.map(|(name, inner)| (name.to_owned(), inner.map(str::to_owned)));
            assert_eq!(found, expected, "{name} {given:?}");
        };
        check("f", None, Some(("f", None)));
        check("f", Some("1"), Some(("f", Some("1"))));
        check("f:prod", None, Some(("f", Some("prod"))));
        check("f:prod", Some("prod"), Some(("f", Some("prod"))));
        check("f:prod", Some("1"), None);
        check("f:", None, None);
        check("a:b:c", None, Some(("a:b:c", None)));
    }

    #[test]
    fn pairs_have_both_sides() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        assert!(variable("A").is_err() && variable("=b").is_err());
        assert_eq!(split("2=0.1"), Ok(("2".to_owned(), 0.1)));
        assert!(split("2").is_err() && split("2=1.1").is_err() && split("=0.1").is_err() && split("2=NaN").is_err());
        assert_eq!(number_or_none("none"), Ok(NumberOrNone(None)));
        assert_eq!(number_or_none("5"), Ok(NumberOrNone(Some(5))));
        assert!(number_or_none("x").is_err());
    }
}
