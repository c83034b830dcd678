//! Prices, as data. OpenWhisk itself has none; these are those under which it was sold as IBM Cloud Functions: per
//! GB-second, nothing per request, time rounded up to the next 100 ms.
//! Source: IBM Cloud Functions pricing, $0.000017 per second of execution per GB, 400 000 GB-seconds free a month.

use sonagi_meter::Tariff;

const DEFAULT: &str = include_str!("../tariffs/default.json");

/// The tariff.
///
/// # Panics
/// Never: the document is part of this crate and read by its tests.
#[must_use]
pub fn tariff() -> Tariff {
    let tariff: Tariff = serde_json::from_str(DEFAULT).expect("an embedded tariff is a tariff");
    tariff.checked().expect("an embedded tariff is consistent")
}

#[cfg(test)]
mod tests {
    use sonagi_meter::{Usage, price};
    use sonagi_model::Mebibytes;

    use super::*;

    #[test]
    fn a_second_of_a_gigabyte_costs_what_was_asked() {
        let usage = Usage {
            attempts: 1,
            billed_ms: 1000,
            memory: Mebibytes(1024),
            scratch: Mebibytes(512),
        };
        assert_eq!(price(&[usage], &tariff())[0].total().to_string(), "0.000017");
    }
}
