//! Stopping, killing and watching the processes of a group: through the v2 tree where the host has one, even one
//! without controllers, else through the v1 freezer.
//!
//! Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (`cgroup.freeze`, `cgroup.events`, `cgroup.kill`) and
//! `cgroup-v1/freezer-subsystem.rst`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::time::{ClockId, Timespec};

use super::files;

/// Longest wait until a group reports that it is frozen. A thread in an uninterruptible call may take longer; it stops
/// by itself before it runs one more instruction of its program.
const FREEZE_WAIT: Duration = Duration::from_millis(20);
/// Rounds of freeze, signal, thaw where the kernel has no single call for it.
const KILL_ROUNDS: usize = 64;

/// The life cycle of one group.
#[derive(Debug)]
pub(super) enum Life {
    /// A group of the v2 tree.
    Unified(Unified),
    /// A group of the v1 freezer.
    Freezer(OwnedFd),
}

/// A group of the v2 tree, with the two files used most kept open once they were used.
#[derive(Debug)]
pub(super) struct Unified {
    folder: OwnedFd,
    freeze: OnceLock<OwnedFd>,
    events: OnceLock<OwnedFd>,
}

impl Unified {
    fn kept<'a>(&'a self, slot: &'a OnceLock<OwnedFd>, name: &str, access: OFlags) -> Result<BorrowedFd<'a>, Errno> {
        if slot.get().is_none() {
            // Two threads may open it at once; one of the two descriptors is then dropped.
            drop(slot.set(files::open(self.folder.as_fd(), name, access)?));
        }
        slot.get().map(AsFd::as_fd).ok_or(Errno::NOENT)
    }

    fn set_frozen(&self, value: &str) -> Result<(), Errno> {
        let file = self.kept(&self.freeze, "cgroup.freeze", OFlags::WRONLY)?;
        rustix::io::retry_on_intr(|| rustix::io::pwrite(file, value.as_bytes(), 0)).map(drop)
    }

    /// Waits until `key` of `cgroup.events` has this value; says whether it came true in time.
    fn wait(&self, key: &str, value: u64, at_most: Duration) -> Result<bool, Errno> {
        let events = self.kept(&self.events, "cgroup.events", OFlags::RDONLY)?;
        let deadline = Deadline::after(at_most);
        loop {
            if files::field(&files::read_from_start(events)?, key) == Some(value) {
                return Ok(true);
            }
            let Some(left) = deadline.left() else { return Ok(false) };
            // The kernel wakes us at every change since our last read of this descriptor.
            let mut waited = [PollFd::from_borrowed_fd(events, PollFlags::PRI)];
            match rustix::event::poll(&mut waited, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Life {
    pub(super) fn unified(folder: OwnedFd) -> Self {
        Self::Unified(Unified {
            folder,
            freeze: OnceLock::new(),
            events: OnceLock::new(),
        })
    }

    /// The folder of the group.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unified(unified) => unified.folder.as_fd(),
            Self::Freezer(folder) => folder.as_fd(),
        }
    }

    /// Stops everything and waits, bounded, until it has stopped.
    pub(super) fn freeze(&self) -> Result<(), Errno> {
        match self {
            Self::Unified(unified) => {
                unified.set_frozen("1")?;
                unified.wait("frozen", 1, FREEZE_WAIT).map(drop)
            }
            Self::Freezer(folder) => {
                files::write(folder.as_fd(), "freezer.state", "FROZEN")?;
                let deadline = Deadline::after(FREEZE_WAIT);
                while files::read(folder.as_fd(), "freezer.state")?.trim() != "FROZEN" && deadline.left().is_some() {
                    pause(Duration::from_micros(100));
                }
                Ok(())
            }
        }
    }

    /// Lets everything run again.
    pub(super) fn thaw(&self) -> Result<(), Errno> {
        match self {
            Self::Unified(unified) => unified.set_frozen("0"),
            Self::Freezer(folder) => files::write(folder.as_fd(), "freezer.state", "THAWED"),
        }
    }

    /// Sends SIGKILL to everything, frozen or not. Does not wait for the end of it.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        if let Self::Unified(unified) = self {
            match files::write(unified.folder.as_fd(), "cgroup.kill", "1") {
                // Kernels before 5.14.
                Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
                done => return done,
            }
        }
        for _ in 0..KILL_ROUNDS {
            // Frozen, nothing can fork away from the list, and no number on it can come to mean another process.
            self.freeze()?;
            let found = signal_members(self.folder());
            self.thaw()?;
            if found? == 0 {
                break;
            }
            pause(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Whether no process is left.
    pub(super) fn is_empty(&self) -> Result<bool, Errno> {
        match self {
            Self::Unified(unified) => unified.wait("populated", 0, Duration::ZERO),
            Self::Freezer(folder) => Ok(files::read(folder.as_fd(), "cgroup.procs")?.is_empty()),
        }
    }

    /// Waits until no process is left; says whether that came true in time.
    pub(super) fn wait_empty(&self, at_most: Duration) -> Result<bool, Errno> {
        if let Self::Unified(unified) = self {
            return unified.wait("populated", 0, at_most);
        }
        let deadline = Deadline::after(at_most);
        while !self.is_empty()? {
            if deadline.left().is_none() {
                return Ok(false);
            }
            pause(Duration::from_micros(200));
        }
        Ok(true)
    }
}

/// Sends SIGKILL to every process that the folder lists, and says how many there were.
pub(super) fn signal_members(folder: BorrowedFd<'_>) -> Result<usize, Errno> {
    let list = files::read(folder, "cgroup.procs")?;
    let mut found = 0;
    for pid in list.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        found += 1;
        match rustix::process::kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Waits this long. Only for states of the kernel that cannot be waited for.
pub(super) fn pause(time: Duration) {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // Woken early by a signal, the caller looks again: no harm.
    let _ = rustix::event::poll(&mut [], Some(&time));
}

/// An end of waiting on the monotonic clock. This code runs in a process without an async runtime.
pub(super) struct Deadline(Duration);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(monotonic().saturating_add(time))
    }

    /// What is left of it; `None` when it has passed.
    pub(super) fn left(&self) -> Option<Timespec> {
        let left = self.0.checked_sub(monotonic()).filter(|left| !left.is_zero())?;
        Some(Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        })
    }
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
