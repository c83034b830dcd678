//! What was used, and what it costs by the provider's published tariff.

use serde::{Deserialize, Serialize};

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// ISO 4217 code.
    pub currency: String,
    /// A decimal number.
    pub value: String,
}

/// Use of one function at one memory size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Where the function is named.
    pub namespace: String,
    /// The function's name.
    pub name: String,
    /// Memory configured, MiB.
    pub memory_mib: u32,
    /// Scratch space configured, MiB.
    pub scratch_mib: u32,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Attempts that started an instance.
    pub cold_starts: u64,
    /// Sum of durations, microseconds.
    pub duration_us: u64,
    /// Sum of billed times, milliseconds.
    pub billed_ms: u64,
    /// Sum of answers, bytes.
    pub response_bytes: u64,
    /// What it costs; `null` where the provider has no tariff.
    pub amount: Option<Amount>,
}

/// Usage over a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Attempts begun at or after this moment, RFC 3339; `null`: from the beginning.
    pub since: Option<String>,
    /// Attempts begun before this moment, RFC 3339.
    pub until: String,
    /// By function and memory size.
    pub rows: Vec<UsageRow>,
    /// Sums of the amounts, one per currency.
    pub totals: Vec<Amount>,
}
