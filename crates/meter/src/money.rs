//! Prices and amounts, as whole numbers.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits after the point that a price may have.
const PRICE_DIGITS: usize = 12;
/// Smallest prices in one unit of the currency.
const PICO: u128 = 1_000_000_000_000;
/// Smallest amounts in the smallest price: a price per GiB-second times one MiB-millisecond is this part of it.
pub(crate) const GRAINS: u128 = 1024 * 1000;

/// What one of something costs, exact to 12 digits after the point. Text form: a decimal number, also in documents,
/// where a binary fraction would not be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Price(u64);

/// The text is no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a price: a decimal number below 10 000 000 with at most 12 digits after the point")]
pub struct ParsePriceError(pub String);

impl Price {
    /// What `count` of them cost.
    #[must_use]
    pub fn times(self, count: u64) -> Amount {
        self.grains(u128::from(count) * GRAINS)
    }

    /// What `parts` of `GRAINS`th of one cost.
    pub(crate) fn grains(self, parts: u128) -> Amount {
        Amount(u128::from(self.0).saturating_mul(parts))
    }
}

impl FromStr for Price {
    type Err = ParsePriceError;

    fn from_str(text: &str) -> Result<Self, ParsePriceError> {
        let error = || ParsePriceError(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, longest: usize| {
            !part.is_empty() && part.len() <= longest && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 7) || !digits(fraction, PRICE_DIGITS) {
            return Err(error());
        }
        let pico: u128 = format!("{whole}{fraction:0<PRICE_DIGITS$}")
            .parse()
            .map_err(|_| error())?;
        u64::try_from(pico).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.times(1).fmt(f)
    }
}

impl Serialize for Price {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount of money, exact below 10^20 of the currency, where it stops growing. Shown as a decimal number, rounded to 12 digits after the point, half up; sums are
/// rounded only when they are shown, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Amount {
    type Output = Self;

    /// Never below zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pico = self.0.saturating_add(GRAINS / 2) / GRAINS;
        let (whole, fraction) = (pico / PICO, pico % PICO);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:0PRICE_DIGITS$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_decimal_numbers_and_nothing_else() {
        for (text, shown) in [
            ("0", "0"),
            ("0.20", "0.2"),
            ("0.0000166667", "0.0000166667"),
            ("0.000000000001", "0.000000000001"),
            ("1234567.5", "1234567.5"),
        ] {
            assert_eq!(text.parse::<Price>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1.0000000000001",
            "12345678",
            "1 ",
            "1,5",
            "1.2.3",
        ] {
            assert!(bad.parse::<Price>().is_err(), "{bad:?}");
        }
        let price: Price = serde_json::from_str("\"0.2\"").unwrap();
        assert_eq!(serde_json::to_string(&price).unwrap(), "\"0.2\"");
        assert!(
            serde_json::from_str::<Price>("0.2").is_err(),
            "a binary fraction is not exact"
        );
    }

    #[test]
    fn amounts_are_rounded_only_when_shown() {
        let quarter = Price(1).grains(GRAINS / 4);
        assert_eq!(quarter.to_string(), "0");
        assert_eq!((quarter + quarter).to_string(), "0.000000000001", "half is rounded up");
        assert_eq!([quarter; 4].into_iter().sum::<Amount>(), Price(1).times(1));
        assert_eq!((quarter - Price(1).times(1)), Amount::ZERO);
        let much = "1000000".parse::<Price>().unwrap().times(1 << 32);
        assert_eq!(much.to_string(), "4294967296000000");
    }
}
