//! Prices, as data. The open-source server has none; these are those under which the same functions are sold as Oracle
//! Functions: per request, and per GB-second.
//! Source: Oracle Cloud price list, "Functions": $0.20 per million invocations, $0.00001417 per gigabyte memory-second; two
//! million invocations and 400 000 GB-seconds free a month.

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
    fn a_call_of_a_second_in_a_gigabyte_costs_both_parts() {
        let usage = Usage {
            attempts: 1,
            billed_ms: 1000,
            memory: Mebibytes(1024),
            scratch: Mebibytes(512),
        };
        assert_eq!(price(&[usage], &tariff())[0].total().to_string(), "0.00001437");
    }
}
