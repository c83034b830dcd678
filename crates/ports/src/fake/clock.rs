//! A clock that stands still until it is moved, and draws that repeat.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sonagi_model::Timestamp;

use crate::{Clock, Entropy};

/// Wall time set by a test.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves it to `now`, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Stands at the first second of 2026, UTC.
    fn default() -> Self {
        Self::at(Timestamp::from_millis(1_767_225_600_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Draws that are the same in every run with the same seed; the first ones can be dictated.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
    dictated: Mutex<VecDeque<f64>>,
}

impl SeededEntropy {
    /// Draws from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
            dictated: Mutex::new(VecDeque::new()),
        }
    }

    /// The next draws of [`Entropy::unit`], in this order, before those of the seed.
    pub fn dictate(&self, draws: impl IntoIterator<Item = f64>) {
        self.dictated.lock().extend(draws);
    }

    /// The xorshift-multiply step of SplitMix64 over a Weyl sequence.
    fn next(&self) -> u64 {
        let mut z = self
            .state
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for SeededEntropy {
    fn default() -> Self {
        Self::new(0x5eed)
    }
}

impl Entropy for SeededEntropy {
    fn unit(&self) -> f64 {
        if let Some(draw) = self.dictated.lock().pop_front() {
            return draw;
        }
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
