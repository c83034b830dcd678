//! What was used, turned into money by a tariff that is data. Pure and exact: amounts are integers of a unit so small
//! that every product of a tariff is a whole number of it, so nothing is rounded before it is shown.
//!
//! Providers bring their tariffs; none is built in here.

mod billed;
mod money;
mod price;
mod tariff;

pub use billed::rounded_up_ms;
pub use money::{Amount, ParsePriceError, Price};
pub use price::{Bill, PricedRow, Usage, bill, price};
pub use tariff::{Allowance, Tariff, TariffError, Tier};
