//! Time and randomness. Nothing else in the workspace reads the wall clock or the system's random source.
//!
//! Durations and deadlines inside the process use `tokio::time::Instant`, which tests can pause; wall time is for
//! what leaves the process: records, logs, deadlines told to functions, signatures.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use sonagi_model::Timestamp;

/// The wall clock.
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the wall clock"
        )]
        let now = std::time::SystemTime::now();
        let micros = now
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |passed| passed.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// Random draws for choices (routes, jitter) and for secrets.
pub trait Entropy: Send + Sync + Debug {
    /// Uniform in 0.0..1.0; for choices, not for secrets.
    fn unit(&self) -> f64;
    /// Fills the buffer with bytes fit for secrets.
    fn fill(&self, buffer: &mut [u8]);
}

/// Draws from a counter-based generator seeded once by the kernel; secrets straight from the kernel.
#[derive(Debug)]
pub struct SystemEntropy {
    state: AtomicU64,
}

impl SystemEntropy {
    /// Seeds itself from the kernel.
    ///
    /// # Panics
    /// When the kernel has no random source: nothing safe can be done without one.
    #[must_use]
    pub fn new() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the kernel has a random source");
        Self {
            state: AtomicU64::new(u64::from_le_bytes(seed)),
        }
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn unit(&self) -> f64 {
        // SplitMix64 (Steele, Lea, Flood 2014): a Weyl sequence through a mixing function, so one atomic add is enough.
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the kernel has a random source");
    }
}
