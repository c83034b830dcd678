//! Billed time.

use std::time::Duration;

/// A time in milliseconds, rounded up to a multiple of `granularity` (1 ms if that is shorter).
#[must_use]
pub fn rounded_up_ms(time: Duration, granularity: Duration) -> u64 {
    let step = granularity.as_millis().max(1);
    let steps = time.as_nanos().div_ceil(step * 1_000_000);
    u64::try_from(steps * step).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_begun_step_counts() {
        let table = [
            (0, 1, 0),
            (1, 1, 1),
            (999_999, 1, 1),
            (1_000_000, 1, 1),
            (1_000_001, 1, 2),
            (45_840_000, 1, 46),
            (1, 100, 100),
            (100_000_000, 100, 100),
            (100_000_001, 100, 200),
            (5_000_000, 0, 5),
        ];
        for (nanos, granularity, expected) in table {
            let got = rounded_up_ms(Duration::from_nanos(nanos), Duration::from_millis(granularity));
            assert_eq!(got, expected, "{nanos} ns by {granularity} ms");
        }
        assert_eq!(rounded_up_ms(Duration::MAX, Duration::from_millis(1)), u64::MAX);
    }
}
