//! How much CPU goes with how much memory. Pure arithmetic.

use sonagi_model::Mebibytes;

/// Memory that weighs as much as one ordinary process group of the host.
const MEMORY_OF_ONE_CORE: u64 = 1769;
/// Length of an accounting period. With the kernel's usual 100 ms a small function runs a few milliseconds and then
/// waits for the rest of it.
const PERIOD_US: u64 = 20_000;
/// The shortest quota that the kernel takes. Source: `min_cfs_quota_period` in `kernel/sched`.
const LEAST_QUOTA_US: u64 = 1_000;
/// The longest period that the kernel takes.
const LONGEST_PERIOD_US: u64 = 1_000_000;

/// The v1 weight: 1024 for 1769 MiB, in proportion, between the kernel's bounds 2 and 262144.
pub(super) fn shares(memory: Mebibytes) -> u64 {
    (u64::from(memory.0) * 1024 / MEMORY_OF_ONE_CORE).clamp(2, 262_144)
}

/// The v2 weight: 100 for 1769 MiB, in proportion, between the kernel's bounds 1 and 10000.
pub(super) fn weight(memory: Mebibytes) -> u64 {
    (u64::from(memory.0) * 100 / MEMORY_OF_ONE_CORE).clamp(1, 10_000)
}

/// A hard cap: so much CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuCap {
    pub(super) quota_us: u64,
    pub(super) period_us: u64,
}

impl CpuCap {
    /// The cap for so many thousandths of a core. Tiny ones get a longer period, for the kernel takes no quota below
    /// 1 ms; the least is one thousandth.
    pub(super) fn of_millis(millis: u32) -> Self {
        let millis = u64::from(millis.max(1));
        let quota_us = millis * PERIOD_US / 1000;
        if quota_us >= LEAST_QUOTA_US {
            return Self {
                quota_us,
                period_us: PERIOD_US,
            };
        }
        Self {
            quota_us: LEAST_QUOTA_US,
            period_us: (LEAST_QUOTA_US * 1000 / millis).min(LONGEST_PERIOD_US),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_memory_within_the_kernels_bounds() {
        for (memory, v1, v2) in [
            (0, 2, 1),
            (3, 2, 1),
            (128, 74, 7),
            (1769, 1024, 100),
            (10_240, 5927, 578),
        ] {
            assert_eq!(
                (shares(Mebibytes(memory)), weight(Mebibytes(memory))),
                (v1, v2),
                "{memory}"
            );
        }
        assert_eq!(shares(Mebibytes(u32::MAX)), 262_144);
        assert_eq!(weight(Mebibytes(u32::MAX)), 10_000);
    }

    #[test]
    fn caps_keep_their_ratio_and_the_kernels_least_quota() {
        for (millis, quota_us, period_us) in [
            (1000, 20_000, 20_000),
            (72, 1440, 20_000),
            (50, 1000, 20_000),
            (10, 1000, 100_000),
            (0, 1000, 1_000_000),
        ] {
            assert_eq!(CpuCap::of_millis(millis), CpuCap { quota_us, period_us }, "{millis}");
        }
    }
}
