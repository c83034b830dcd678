//! Limits and counters on the v1 controllers.
//!
//! Sources: Linux `Documentation/admin-guide/cgroup-v1/memory.rst`, `cpuacct.rst`, `pids.rst` and
//! `Documentation/scheduler/sched-bwc.rst`; behaviour observed on Linux 6.18.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sonagi_model::InstanceLimits;

use super::files;
use super::life::Life;
use super::share::{CpuCap, shares};

/// Folders of one group in the controllers whose files are used after its start.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) memory: OwnedFd,
    pub(super) cpu: OwnedFd,
    pub(super) cpuacct: OwnedFd,
    pub(super) life: Life,
}

impl Folders {
    /// Memory together with scratch is what the kernel enforces by itself; [`super::OomWatch`] enforces memory alone.
    pub(super) fn set_limits(&self, pids: BorrowedFd<'_>, limits: &InstanceLimits) -> Result<(), Errno> {
        let memory = self.memory.as_fd();
        let hard = super::hard_limit(limits).to_string();
        // In a fresh group both are unlimited, and memory may never exceed memory with swap: memory goes first.
        files::write(memory, "memory.limit_in_bytes", &hard)?;
        // Absent when the kernel does not account swap.
        files::write_if_present(memory, "memory.memsw.limit_in_bytes", &hard)?;
        files::write_if_present(memory, "memory.swappiness", "0")?;
        // Socket buffers are not in the limit above, and have none of their own unless it is set.
        files::write_if_present(
            memory,
            "memory.kmem.tcp.limit_in_bytes",
            &(limits.memory.bytes() / 8).to_string(),
        )?;
        files::write(pids, "pids.max", &limits.processes.to_string())?;
        files::write(self.cpu.as_fd(), "cpu.shares", &shares(limits.memory).to_string())
    }

    pub(super) fn apply_cpu_cap(&self, cap: CpuCap) -> Result<(), Errno> {
        let cpu = self.cpu.as_fd();
        files::write(cpu, "cpu.cfs_period_us", &cap.period_us.to_string())?;
        files::write(cpu, "cpu.cfs_quota_us", &cap.quota_us.to_string())?;
        // Kernels before 5.14 have no burst; the cap then holds within each period.
        files::write_if_present(cpu, "cpu.cfs_burst_us", &cap.quota_us.to_string())
    }

    /// The file with the most memory ever used.
    pub(super) fn peak(&self) -> Result<OwnedFd, Errno> {
        files::open(self.memory.as_fd(), "memory.max_usage_in_bytes", OFlags::RDONLY)
    }

    pub(super) fn usage(&self) -> Result<u64, Errno> {
        files::read_number(self.memory.as_fd(), "memory.usage_in_bytes")
    }

    pub(super) fn oom_kills(&self) -> Result<u64, Errno> {
        let text = files::read(self.memory.as_fd(), "memory.oom_control")?;
        Ok(files::field(&text, "oom_kill").unwrap_or(0))
    }

    pub(super) fn cpu_usage(&self) -> Result<Duration, Errno> {
        files::read_number(self.cpuacct.as_fd(), "cpuacct.usage").map(Duration::from_nanos)
    }

    /// A descriptor that becomes readable when use grows beyond `memory`, when it falls below, and when the kernel's
    /// OOM killer is about to act. The kernel looks after every 128 pages. Takes as long as an RCU grace period,
    /// 6 to 34 ms: never call it on the way to a start.
    pub(super) fn alarm(&self, memory: u64) -> Result<OwnedFd, Errno> {
        let folder = self.memory.as_fd();
        let alarm = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let oom = files::open(folder, "memory.oom_control", OFlags::RDONLY)?;
        files::write(
            folder,
            "cgroup.event_control",
            &format!("{} {}", alarm.as_raw_fd(), oom.as_raw_fd()),
        )?;
        let usage = files::open(folder, "memory.usage_in_bytes", OFlags::RDONLY)?;
        let threshold = format!("{} {} {memory}", alarm.as_raw_fd(), usage.as_raw_fd());
        files::write(folder, "cgroup.event_control", &threshold)?;
        Ok(alarm)
    }

    /// Whether the group cannot get below `bytes`, whatever is reclaimed from it. Afterwards the limit is `hard` again.
    pub(super) fn is_beyond(&self, bytes: u64, hard: u64) -> Result<bool, Errno> {
        let memory = self.memory.as_fd();
        match files::write(memory, "memory.limit_in_bytes", &bytes.to_string()) {
            Ok(()) => files::write(memory, "memory.limit_in_bytes", &hard.to_string()).map(|()| false),
            Err(Errno::BUSY) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The folder whose `memory.stat` tells what could be reclaimed.
    pub(super) fn memory_folder(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
