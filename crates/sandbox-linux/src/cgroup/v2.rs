//! Limits and counters on the v2 tree.
//!
//! Source: Linux `Documentation/admin-guide/cgroup-v2.rst`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sonagi_model::InstanceLimits;

use super::files;
use super::life::Life;
use super::share::{CpuCap, weight};

/// Folder of one group.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) life: Life,
}

impl Folder {
    /// Beyond memory the group is slowed down, which calls [`super::OomWatch`]; memory together with scratch is what the
    /// kernel enforces by itself.
    pub(super) fn set_limits(&self, limits: &InstanceLimits) -> Result<(), Errno> {
        let dir = self.dir();
        files::write(dir, "memory.max", &super::hard_limit(limits).to_string())?;
        files::write(dir, "memory.high", &limits.memory.bytes().to_string())?;
        // Absent without swap, or before 4.19.
        files::write_if_present(dir, "memory.swap.max", "0")?;
        files::write_if_present(dir, "memory.oom.group", "1")?;
        files::write(dir, "pids.max", &limits.processes.to_string())?;
        files::write(dir, "cpu.weight", &weight(limits.memory).to_string())
    }

    pub(super) fn apply_cpu_cap(&self, cap: CpuCap) -> Result<(), Errno> {
        files::write(self.dir(), "cpu.max", &format!("{} {}", cap.quota_us, cap.period_us))?;
        // Kernels before 5.14 have no burst; the cap then holds within each period.
        files::write_if_present(self.dir(), "cpu.max.burst", &cap.quota_us.to_string())
    }

    /// The file with the most memory ever used.
    pub(super) fn peak(&self) -> Result<OwnedFd, Errno> {
        files::open(self.dir(), "memory.peak", OFlags::RDONLY)
    }

    pub(super) fn usage(&self) -> Result<u64, Errno> {
        files::read_number(self.dir(), "memory.current")
    }

    pub(super) fn oom_kills(&self) -> Result<u64, Errno> {
        Ok(files::field(&files::read(self.dir(), "memory.events")?, "oom_kill").unwrap_or(0))
    }

    pub(super) fn cpu_usage(&self) -> Result<Duration, Errno> {
        let text = files::read(self.dir(), "cpu.stat")?;
        files::field(&text, "usage_usec")
            .map(Duration::from_micros)
            .ok_or(Errno::INVAL)
    }

    /// A descriptor with a priority event at every change of `memory.events`, among them growth beyond `memory.high`.
    pub(super) fn alarm(&self) -> Result<OwnedFd, Errno> {
        let alarm = files::open(self.dir(), "memory.events", OFlags::RDONLY)?;
        // Only what changes after a read is an event.
        files::read_from_start(std::os::fd::AsFd::as_fd(&alarm))?;
        Ok(alarm)
    }

    /// Moves the point from which the group is slowed down.
    pub(super) fn set_high(&self, bytes: Option<u64>) -> Result<(), Errno> {
        let value = bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        files::write(self.dir(), "memory.high", &value)
    }

    /// Limits the group to `bytes`: the kernel reclaims what it can, then kills.
    pub(super) fn enforce(&self, bytes: u64) -> Result<(), Errno> {
        files::write(self.dir(), "memory.max", &bytes.to_string())
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.life.folder()
    }
}
