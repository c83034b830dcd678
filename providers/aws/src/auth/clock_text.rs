//! The compact time format of signatures: `20261123T094455Z`.

use sonagi_model::Timestamp;

/// Reads a time; `None` if it has any other form.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse::<i16>().ok())
            .flatten()
    };
    let small = |from: usize, to: usize| number(from, to).and_then(|value| i8::try_from(value).ok());
    if !text.is_ascii() {
        return None;
    }
    let date = jiff::civil::DateTime::new(
        number(0, 4)?,
        small(4, 6)?,
        small(6, 8)?,
        small(9, 11)?,
        small(11, 13)?,
        small(13, 15)?,
        0,
    );
    let time = date.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_millis(time.as_millisecond()))
}

/// Writes a time.
pub(crate) fn compact(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_form_is_read() {
        let time = parse("20150830T123600Z").unwrap();
        assert_eq!(time.as_secs(), 1_440_938_160);
        assert_eq!(compact(time), "20150830T123600Z");
        for bad in [
            "",
            "20150830",
            "20150830T123600",
            "2015-08-30T12:36:00Z",
            "20151330T123600Z",
            "20150830T1236é0Z",
            "+0150830T123600Z",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
