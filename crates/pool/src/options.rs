//! Settings of the pool.

use std::time::Duration;

use sonagi_model::{LogLimits, Mebibytes};

use crate::BackOffPolicy;
use crate::keep_alive::KeepAlive;

/// Settings of a [`Pool`](crate::Pool).
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// An instance idle for so long is frozen. Default 50 ms; `Duration::MAX`: never.
    pub freeze_after: Duration,
    /// An instance idle for so long is reclaimed. Default 10 min.
    pub keep_alive: Duration,
    /// An instance this old is reclaimed once it is idle. Default 2 h.
    pub max_age: Duration,
    /// Starts at once; others wait. Default four for each core.
    pub starts_at_once: usize,
    /// Requests that may wait for instances of one revision; others are throttled. Default 1000.
    pub waiters_per_revision: usize,
    /// Memory that all instances together are expected to use at most. Default 80 % of the host's.
    pub node_memory: Mebibytes,
    /// What an instance is expected to use before any of its revision was measured. Default 64 MiB.
    pub first_guess: Mebibytes,
    /// How much output is kept.
    pub logs: LogLimits,
    /// How long a revision that does not start is left alone.
    pub back_off: BackOffPolicy,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            freeze_after: Duration::from_millis(50),
            keep_alive: Duration::from_secs(600),
            max_age: Duration::from_secs(7200),
            starts_at_once: 4 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            waiters_per_revision: 1000,
            node_memory: Mebibytes::holding(host_memory() / 5 * 4),
            first_guess: Mebibytes(64),
            logs: LogLimits::default(),
            back_off: BackOffPolicy::default(),
        }
    }
}

impl PoolOptions {
    pub(crate) const fn policy(&self) -> KeepAlive {
        KeepAlive {
            freeze_after: self.freeze_after,
            idle: self.keep_alive,
            max_age: self.max_age,
        }
    }
}

/// Memory of the host in bytes, as the kernel reports it (sysinfo(2)).
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(
        clippy::useless_conversion,
        reason = "the kernel's long has another width on other targets"
    )]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit.max(1)))
}
