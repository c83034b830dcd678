//! The node's memory: what each instance is charged, and how much is left.

use std::sync::atomic::{AtomicU64, Ordering};

use sonagi_model::Mebibytes;

/// What an instance is charged: the most that instances of its revision, itself among them, have been seen to use; never
/// its configured limit, which few functions come near.
pub(crate) const fn charge(peak: Option<Mebibytes>, first_guess: Mebibytes, limit: Mebibytes) -> u64 {
    let expected = match peak {
        Some(peak) => peak,
        None if limit.0 < first_guess.0 => limit,
        None => first_guess,
    };
    expected.0 as u64
}

/// The sum of all charges, and its bound.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    charged: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: Mebibytes) -> Self {
        Self {
            limit: u64::from(limit.0),
            charged: AtomicU64::new(0),
        }
    }

    /// Charges `amount` if it fits; otherwise says how much is missing.
    pub(crate) fn reserve(&self, amount: u64) -> Result<(), u64> {
        let fits = |charged: u64| (charged + amount <= self.limit).then_some(charged + amount);
        self.charged
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits)
            .map(drop)
            .map_err(|charged| charged + amount - self.limit)
    }

    /// Replaces a charge by another, which may exceed the bound: memory in use is in use.
    pub(crate) fn adjust(&self, old: u64, new: u64) {
        if new >= old {
            self.charged.fetch_add(new - old, Ordering::SeqCst);
        } else {
            self.charged.fetch_sub(old - new, Ordering::SeqCst);
        }
    }

    /// The sum of all charges, MiB.
    pub(crate) fn charged(&self) -> u64 {
        self.charged.load(Ordering::SeqCst)
    }

    /// The bound, MiB.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_charged_what_it_is_seen_to_use() {
        let table = [
            (None, 1024, 64),
            (None, 48, 48),
            (Some(30), 1024, 30),
            (Some(900), 1024, 900),
        ];
        for (peak, limit, expected) in table {
            let got = charge(peak.map(Mebibytes), Mebibytes(64), Mebibytes(limit));
            assert_eq!(got, expected, "peak {peak:?}, limit {limit}");
        }
    }

    #[test]
    fn the_bound_holds_for_reservations_and_says_what_is_missing() {
        let budget = Budget::new(Mebibytes(100));
        assert_eq!(budget.reserve(60), Ok(()));
        assert_eq!(budget.reserve(60), Err(20));
        assert_eq!(budget.reserve(40), Ok(()));
        budget.adjust(60, 90);
        assert_eq!(budget.reserve(1), Err(31));
        budget.adjust(90, 0);
        assert_eq!((budget.charged(), budget.limit()), (40, 100));
    }
}
