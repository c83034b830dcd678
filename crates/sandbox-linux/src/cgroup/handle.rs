//! One group seen through descriptors alone: what the server holds for each instance.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use sonagi_model::Mebibytes;

use super::life::Life;
use super::share::CpuCap;
use super::{files, v1, v2};

/// `f_type` of the v2 tree. Source: `CGROUP2_SUPER_MAGIC` in Linux `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// One group of either version. Clones are the same group.
///
/// Every call is one to four system calls on files of the kernel; none waits for other processes unless it says so.
#[derive(Debug, Clone)]
pub struct GroupHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    back: Back,
    /// The file with the peak of memory, kept open once it was read.
    peak: OnceLock<OwnedFd>,
    /// Set while we keep it frozen.
    frozen: AtomicBool,
    /// Set when it was ended for using more memory than it may, by us rather than by the kernel.
    exceeded: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Back {
    V1(v1::Folders),
    V2(v2::Folder),
}

impl GroupHandle {
    pub(super) fn new(back: Back) -> Self {
        Self {
            inner: Arc::new(Inner {
                back,
                peak: OnceLock::new(),
                frozen: AtomicBool::new(false),
                exceeded: AtomicBool::new(false),
            }),
        }
    }

    /// Takes over the descriptors that [`GroupHandle::fds`] gave in another process, in the same order.
    ///
    /// # Errors
    /// `EINVAL` when they are not one group, other numbers when the kernel does not tell what they are.
    pub fn from_fds(fds: Vec<OwnedFd>) -> Result<Self, Errno> {
        if fds.len() == 1 {
            let [folder] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| Errno::INVAL)?;
            return Ok(Self::new(Back::V2(v2::Folder {
                life: Life::unified(folder),
            })));
        }
        let [memory, cpu, cpuacct, life] = <[OwnedFd; 4]>::try_from(fds).map_err(|_| Errno::INVAL)?;
        let unified = rustix::fs::fstatfs(&life)?.f_type == CGROUP2_MAGIC;
        let life = if unified {
            Life::unified(life)
        } else {
            Life::Freezer(life)
        };
        Ok(Self::new(Back::V1(v1::Folders {
            memory,
            cpu,
            cpuacct,
            life,
        })))
    }

    /// What another process needs to hold this group: one descriptor on v2, four on v1.
    #[must_use]
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.inner.back {
            Back::V1(v1) => vec![v1.memory.as_fd(), v1.cpu.as_fd(), v1.cpuacct.as_fd(), v1.life.folder()],
            Back::V2(v2) => vec![v2.dir()],
        }
    }

    pub(super) fn back(&self) -> &Back {
        &self.inner.back
    }

    fn life(&self) -> &Life {
        match &self.inner.back {
            Back::V1(v1) => &v1.life,
            Back::V2(v2) => &v2.life,
        }
    }

    /// The folder of the group in the v2 tree, for `CLONE_INTO_CGROUP`; `None` where the host has no such tree.
    #[must_use]
    pub fn unified_folder(&self) -> Option<BorrowedFd<'_>> {
        match self.life() {
            life @ Life::Unified(_) => Some(life.folder()),
            Life::Freezer(_) => None,
        }
    }

    /// Stops all its processes. Waits until they have stopped, 20 ms at most: a thread in an uninterruptible call stops
    /// later, before it runs one more instruction of its program. Freezing a frozen group does nothing.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn freeze(&self) -> Result<(), Errno> {
        self.life().freeze()?;
        self.inner.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets its processes run again. Thawing a running group does nothing.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn thaw(&self) -> Result<(), Errno> {
        self.inner.frozen.store(false, Ordering::Release);
        self.life().thaw()
    }

    /// Whether we keep it frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.inner.frozen.load(Ordering::Acquire)
    }

    /// Sends SIGKILL to every process of it, frozen or not. On the v2 tree it is one write and covers processes that are
    /// being forked; else rounds of freezing and signalling, some milliseconds. Does not wait for the end of them.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn kill_all(&self) -> Result<(), Errno> {
        self.life().kill()
    }

    /// Whether it has no process.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn is_empty(&self) -> Result<bool, Errno> {
        self.life().is_empty()
    }

    /// Waits until it has no process, and says whether that came true in time. Blocks.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn wait_empty(&self, at_most: Duration) -> Result<bool, Errno> {
        self.life().wait_empty(at_most)
    }

    /// The most memory it has used. Files under `/tmp` count, and so do pages of files that the kernel keeps for it and
    /// could take back. One system call, since it is asked after every event.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn memory_peak(&self) -> Result<Mebibytes, Errno> {
        if self.inner.peak.get().is_none() {
            let opened = match &self.inner.back {
                Back::V1(v1) => v1.peak(),
                Back::V2(v2) => v2.peak(),
            };
            match opened {
                // Two threads may open it at once; one of the two descriptors is then dropped.
                Ok(file) => drop(self.inner.peak.set(file)),
                // Kernels before 5.19 do not keep the peak on v2: the present use is the best there is.
                Err(Errno::NOENT) => return self.usage().map(Mebibytes::holding),
                Err(error) => return Err(error),
            }
        }
        let file = self.inner.peak.get().ok_or(Errno::NOENT)?;
        files::read_number_from_start(file.as_fd()).map(Mebibytes::holding)
    }

    /// How many of its processes were killed for want of memory: by the kernel, or by [`super::OomWatch`], which counts
    /// one for all. On v2 the kernel kills and counts them all; what matters is whether it is zero.
    /// Read it after the process has ended and before the group is removed.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone and it was not ended by [`super::OomWatch`].
    pub fn oom_kills(&self) -> Result<u64, Errno> {
        let ours = u64::from(self.inner.exceeded.load(Ordering::Acquire));
        let kernels = match &self.inner.back {
            Back::V1(v1) => v1.oom_kills(),
            Back::V2(v2) => v2.oom_kills(),
        };
        match kernels {
            Ok(kernels) => Ok(kernels + ours),
            Err(_) if ours > 0 => Ok(ours),
            Err(error) => Err(error),
        }
    }

    /// Marks it as over its memory, then ends it.
    pub(super) fn kill_for_memory(&self) -> Result<(), Errno> {
        self.inner.exceeded.store(true, Ordering::Release);
        self.kill_all()
    }

    /// CPU time that its processes have used since it was made, past processes included.
    ///
    /// # Errors
    /// As the kernel says; `ENODEV` when the group is gone.
    pub fn cpu_usage(&self) -> Result<Duration, Errno> {
        match &self.inner.back {
            Back::V1(v1) => v1.cpu_usage(),
            Back::V2(v2) => v2.cpu_usage(),
        }
    }

    /// From now on it gets at most so many thousandths of a core, counted over 20 ms, with a burst of one more period
    /// when it ran less before.
    ///
    /// # Errors
    /// As the kernel says; `EINVAL` where a group above has a smaller cap.
    pub fn apply_cpu_cap(&self, millis: u32) -> Result<(), Errno> {
        let cap = CpuCap::of_millis(millis);
        match &self.inner.back {
            Back::V1(v1) => v1.apply_cpu_cap(cap),
            Back::V2(v2) => v2.apply_cpu_cap(cap),
        }
    }

    /// Memory in use, in bytes.
    pub(super) fn usage(&self) -> Result<u64, Errno> {
        match &self.inner.back {
            Back::V1(v1) => v1.usage(),
            Back::V2(v2) => v2.usage(),
        }
    }

    /// Memory in use that is not the cache of some file on a disk, in bytes.
    pub(super) fn held(&self) -> Result<u64, Errno> {
        let folder = match &self.inner.back {
            Back::V1(v1) => v1.memory_folder(),
            Back::V2(v2) => v2.dir(),
        };
        let usage = self.usage()?;
        let stat = files::read(folder, "memory.stat")?;
        let cached = ["active_file", "inactive_file"]
            .into_iter()
            .filter_map(|key| files::field(&stat, key))
            .sum();
        Ok(usage.saturating_sub(cached))
    }
}
