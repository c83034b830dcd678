//! The two time formats of the API that are text.

use sonagi_model::Timestamp;

fn jiff(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// `2026-11-23T09:44:55.123+0000`: functions, layers.
pub(crate) fn list_time(time: Timestamp) -> String {
    jiff(time).strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// `2026-11-23T09:44:55.123Z`: function URLs.
pub(crate) fn url_time(time: Timestamp) -> String {
    jiff(time).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_always_shown() {
        let time = Timestamp::from_millis(1_795_427_095_000);
        assert_eq!(list_time(time), "2026-11-23T09:44:55.000+0000");
        assert_eq!(url_time(time), "2026-11-23T09:44:55.000Z");
    }
}
