//! Tariffs: data that a provider's crate brings or a file holds.

use serde::{Deserialize, Serialize};
use sonagi_model::Mebibytes;

use crate::money::{Amount, Price};

/// MiB-milliseconds of one GiB-second.
pub(crate) const MIB_MS: u128 = 1024 * 1000;

/// What things cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// ISO 4217 code of the currency of all prices.
    pub currency: String,
    /// One attempt.
    pub per_request: Price,
    /// One GiB of configured memory for one second of billed time, before any tier.
    pub per_gib_second: Price,
    /// Other prices of the GiB-second for what exceeds an amount in a month, smallest amount first.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// Scratch space that costs nothing.
    pub scratch_included: Mebibytes,
    /// One GiB of configured scratch space beyond that, for one second of billed time.
    #[serde(default)]
    pub scratch_per_gib_second: Price,
    /// What is free each month.
    #[serde(default)]
    pub allowance: Allowance,
}

/// Another price from an amount on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// GiB-seconds of a month that are not in this tier.
    pub above_gib_seconds: u64,
    /// The price of each further one.
    pub per_gib_second: Price,
}

/// What is free each month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// Attempts.
    pub requests: u64,
    /// GiB-seconds of memory.
    pub gib_seconds: u64,
}

/// A tariff contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// A tier begins where an earlier one does, or before it.
    #[error("the tier above {above} GiB-seconds does not follow the one above {before}")]
    Order {
        /// Where it begins.
        above: u64,
        /// Where the one before it begins.
        before: u64,
    },
    /// The currency is no code.
    #[error("{0:?} is not a currency code of three capital letters")]
    Currency(String),
}

impl Tariff {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`TariffError`].
    pub fn checked(self) -> Result<Self, TariffError> {
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(TariffError::Currency(self.currency));
        }
        let mut before = 0;
        for tier in &self.tiers {
            let above = tier.above_gib_seconds;
            if above <= before {
                return Err(TariffError::Order { above, before });
            }
            before = above;
        }
        Ok(self)
    }

    /// What the first `mib_ms` MiB-milliseconds of a month cost, each tier at its price.
    pub(crate) fn tiered(&self, mib_ms: u128) -> Amount {
        let starts = self
            .tiers
            .iter()
            .map(|tier| u128::from(tier.above_gib_seconds) * MIB_MS);
        let begins = std::iter::once(0).chain(starts.clone());
        let ends = starts.chain(std::iter::once(u128::MAX));
        let prices = std::iter::once(self.per_gib_second).chain(self.tiers.iter().map(|tier| tier.per_gib_second));
        begins
            .zip(ends)
            .zip(prices)
            .map(|((begin, end), price)| price.grains(mib_ms.min(end).saturating_sub(begin)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(tiers: &[(u64, &str)]) -> Tariff {
        Tariff {
            currency: "USD".to_owned(),
            per_request: "0.0000002".parse().unwrap(),
            per_gib_second: "10".parse().unwrap(),
            tiers: tiers
                .iter()
                .map(|(above, price)| Tier {
                    above_gib_seconds: *above,
                    per_gib_second: price.parse().unwrap(),
                })
                .collect(),
            scratch_included: Mebibytes(0),
            scratch_per_gib_second: Price::default(),
            allowance: Allowance::default(),
        }
    }

    #[test]
    fn each_tier_has_its_price() {
        let tiered = tariff(&[(5, "9"), (10, "1")]);
        for (gib_seconds, expected) in [(0, "0"), (1, "10"), (5, "50"), (6, "59"), (10, "95"), (12, "97")] {
            assert_eq!(
                tiered.tiered(gib_seconds * MIB_MS).to_string(),
                expected,
                "{gib_seconds} GiB-s"
            );
        }
        assert_eq!(tariff(&[]).tiered(7 * MIB_MS).to_string(), "70");
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(tariff(&[(5, "9"), (10, "1")]).checked().is_ok());
        for tiers in [&[(0, "9")][..], &[(5, "9"), (5, "1")], &[(5, "9"), (4, "1")]] {
            assert!(
                matches!(tariff(tiers).checked(), Err(TariffError::Order { .. })),
                "{tiers:?}"
            );
        }
        let currency = Tariff {
            currency: "dollar".to_owned(),
            ..tariff(&[])
        };
        assert!(matches!(currency.checked(), Err(TariffError::Currency(_))));
    }

    #[test]
    fn a_tariff_is_a_document_and_typing_errors_in_it_are_found() {
        let text = r#"{"currency":"USD","per_request":"0.0000002","per_gib_second":"0.0000166667",
            "tiers":[{"above_gib_seconds":6000000000,"per_gib_second":"0.000015"}],
            "scratch_included":512,"scratch_per_gib_second":"0.0000000309",
            "allowance":{"requests":1000000,"gib_seconds":400000}}"#;
        let tariff: Tariff = serde_json::from_str(text).unwrap();
        assert_eq!(
            (tariff.scratch_included, tariff.allowance.requests),
            (Mebibytes(512), 1_000_000)
        );
        let again: Tariff = serde_json::from_str(&serde_json::to_string(&tariff).unwrap()).unwrap();
        assert_eq!(again, tariff);
        assert!(serde_json::from_str::<Tariff>(&text.replace("per_request", "per_requests")).is_err());
    }
}
