//! Usage, priced.

use sonagi_model::Mebibytes;

use crate::money::Amount;
use crate::tariff::Tariff;

/// Use of one function at one size over a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Attempts, failed ones and retries too.
    pub attempts: u64,
    /// Sum of their billed times, milliseconds.
    pub billed_ms: u64,
    /// Memory configured.
    pub memory: Mebibytes,
    /// Scratch space configured.
    pub scratch: Mebibytes,
}

/// What one row of usage costs at list price: without allowance, at the first tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PricedRow {
    /// For its attempts.
    pub requests: Amount,
    /// For its memory over time.
    pub duration: Amount,
    /// For its scratch space over time.
    pub scratch: Amount,
}

impl PricedRow {
    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.requests + self.duration + self.scratch
    }
}

/// What one tenant owes for a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Each row at list price, in the order given.
    pub rows: Vec<PricedRow>,
    /// All rows together at list price.
    pub list: Amount,
    /// What the allowance and the tiers take off.
    pub reductions: Amount,
    /// What is owed.
    pub total: Amount,
}

impl Usage {
    fn mib_ms(&self, size: Mebibytes) -> u128 {
        u128::from(self.billed_ms) * u128::from(size.0)
    }
}

/// Each row at list price, in the order given.
#[must_use]
pub fn price(rows: &[Usage], tariff: &Tariff) -> Vec<PricedRow> {
    let one = |row: &Usage| {
        let scratch = Mebibytes(row.scratch.0.saturating_sub(tariff.scratch_included.0));
        PricedRow {
            requests: tariff.per_request.times(row.attempts),
            duration: tariff.per_gib_second.grains(row.mib_ms(row.memory)),
            scratch: tariff.scratch_per_gib_second.grains(row.mib_ms(scratch)),
        }
    };
    rows.iter().map(one).collect()
}

/// What all usage of one tenant in one month costs, allowance and tiers counted. The allowance is the first that is
/// used, so it is in the first tiers.
#[must_use]
pub fn bill(rows: &[Usage], tariff: &Tariff) -> Bill {
    let priced = price(rows, tariff);
    let attempts = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.attempts));
    let mib_ms = rows
        .iter()
        .fold(0_u128, |sum, row| sum.saturating_add(row.mib_ms(row.memory)));
    let free = u128::from(tariff.allowance.gib_seconds) * crate::tariff::MIB_MS;
    let requests = tariff
        .per_request
        .times(attempts.saturating_sub(tariff.allowance.requests));
    let duration = tariff.tiered(mib_ms) - tariff.tiered(mib_ms.min(free));
    let scratch = priced.iter().map(|row| row.scratch).sum();
    let list = priced.iter().map(PricedRow::total).sum();
    let total = requests + duration + scratch;
    Bill {
        rows: priced,
        list,
        reductions: list - total,
        total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tariff::{Allowance, Tier};

    /// The shape of a real tariff, with a tier added low enough to be reached by hand.
    fn tariff() -> Tariff {
        Tariff {
            currency: "USD".to_owned(),
            per_request: "0.0000002".parse().unwrap(),
            per_gib_second: "0.0000166667".parse().unwrap(),
            tiers: vec![Tier {
                above_gib_seconds: 500_000,
                per_gib_second: "0.00001".parse().unwrap(),
            }],
            scratch_included: Mebibytes(512),
            scratch_per_gib_second: "0.0000000309".parse().unwrap(),
            allowance: Allowance {
                requests: 1_000_000,
                gib_seconds: 400_000,
            },
        }
    }

    fn usage(attempts: u64, billed_ms: u64, memory: u32, scratch: u32) -> Usage {
        Usage {
            attempts,
            billed_ms,
            memory: Mebibytes(memory),
            scratch: Mebibytes(scratch),
        }
    }

    #[test]
    fn rows_at_list_price_by_hand() {
        // Requests, memory, scratch: computed with decimal arithmetic outside this program.
        let table = [
            (usage(0, 0, 128, 512), ["0", "0", "0"]),
            (usage(1, 1, 128, 512), ["0.0000002", "0.000000002083", "0"]),
            (usage(1, 1000, 1024, 512), ["0.0000002", "0.0000166667", "0"]),
            (usage(3_000_000, 3_000_000 * 120, 1536, 512), ["0.6", "9.000018", "0"]),
            (
                usage(10, 60_000, 128, 1536),
                ["0.000002", "0.00012500025", "0.000001854"],
            ),
            (usage(1, 1, 10_240, 256), ["0.0000002", "0.000000166667", "0"]),
        ];
        for (row, expected) in table {
            let [priced] = price(&[row], &tariff())[..] else {
                panic!("one row")
            };
            let got = [priced.requests, priced.duration, priced.scratch].map(|amount| amount.to_string());
            assert_eq!(got, expected, "{row:?}");
        }
    }

    #[test]
    fn a_month_by_hand() {
        // 3 M attempts of 120 ms at 1536 MiB: 540 000 GiB-s. Free: 1 M attempts and 400 000 GiB-s. Then 100 000 GiB-s at
        // the first price (1.66667) and 40 000 at the second (0.4), and 2 M attempts (0.4).
        let month = bill(&[usage(3_000_000, 360_000_000, 1536, 512)], &tariff());
        assert_eq!(month.list.to_string(), "9.600018");
        assert_eq!(month.total.to_string(), "2.46667");
        assert_eq!(month.reductions.to_string(), "7.133348");
        // The same in two rows costs the same.
        let half = usage(1_500_000, 180_000_000, 1536, 512);
        assert_eq!(bill(&[half, half], &tariff()).total, month.total);
        // Within the allowance nothing is owed.
        let small = bill(&[usage(1_000_000, 400_000_000, 1024, 512)], &tariff());
        assert_eq!((small.total, small.reductions), (Amount::ZERO, small.list));
        assert_eq!(bill(&[], &tariff()).total, Amount::ZERO);
    }

    #[test]
    fn sums_of_many_small_rows_lose_nothing() {
        let one = usage(1, 1, 128, 512);
        let rows = vec![one; 1000];
        let sum: Amount = price(&rows, &tariff()).iter().map(PricedRow::total).sum();
        let at_once = price(&[usage(1000, 1000, 128, 512)], &tariff())[0].total();
        assert_eq!(sum, at_once);
        // 0.0002 for the attempts; an eighth of 0.0000166667 for an eighth of a GiB-second.
        assert_eq!(at_once.to_string(), "0.000202083338", "shown half up");
    }
}
