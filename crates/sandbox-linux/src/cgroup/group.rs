//! One group as the process sees it that makes and removes groups.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sonagi_model::InstanceLimits;

use super::handle::Back;
use super::life::{Deadline, Life, pause};
use super::{Error, GroupHandle, files, v1, v2};

/// Longest wait for the last process to leave a group that is being removed.
const REMOVE_WAIT: Duration = Duration::from_millis(500);

/// Where the parts of one group are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Places {
    V1 {
        memory: PathBuf,
        cpu: PathBuf,
        cpuacct: PathBuf,
        pids: PathBuf,
        life: LifePlace,
    },
    V2(PathBuf),
}

/// Where its life cycle is controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LifePlace {
    Unified(PathBuf),
    Freezer(PathBuf),
}

impl LifePlace {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Unified(path) | Self::Freezer(path) => path,
        }
    }
}

impl Places {
    /// Every folder once, for controllers may be mounted together.
    pub(super) fn folders(&self) -> Vec<&Path> {
        match self {
            Self::V1 {
                memory,
                cpu,
                cpuacct,
                pids,
                life,
            } => {
                let mut folders = Vec::with_capacity(5);
                for path in [memory.as_path(), cpu, cpuacct, pids, life.path()] {
                    if !folders.contains(&path) {
                        folders.push(path);
                    }
                }
                folders
            }
            Self::V2(folder) => vec![folder],
        }
    }

    /// The same places one level down.
    pub(super) fn below(&self, name: &str) -> Self {
        match self {
            Self::V1 {
                memory,
                cpu,
                cpuacct,
                pids,
                life,
            } => Self::V1 {
                memory: memory.join(name),
                cpu: cpu.join(name),
                cpuacct: cpuacct.join(name),
                pids: pids.join(name),
                life: match life {
                    LifePlace::Unified(path) => LifePlace::Unified(path.join(name)),
                    LifePlace::Freezer(path) => LifePlace::Freezer(path.join(name)),
                },
            },
            Self::V2(folder) => Self::V2(folder.join(name)),
        }
    }

    /// The file through which a process joins, in each folder.
    fn doors(&self) -> Vec<PathBuf> {
        let unified = |path: &Path| match self {
            Self::V1 { life, .. } => matches!(life, LifePlace::Unified(unified) if unified == path),
            Self::V2(_) => true,
        };
        // A v1 `tasks` file moves the one thread that writes "0", which takes none of the locks that a write to
        // `cgroup.procs` takes there.
        let door = |path: &Path| path.join(if unified(path) { "cgroup.procs" } else { "tasks" });
        self.folders().into_iter().map(door).collect()
    }
}

/// One group. Dropping it does not remove it: [`Group::remove`] does.
#[derive(Debug)]
pub struct Group {
    places: Places,
    handle: GroupHandle,
    pids: Option<OwnedFd>,
    doors: Vec<OwnedFd>,
}

impl Group {
    pub(super) fn open(places: Places) -> Result<Self, Error> {
        let folder = |path: &Path| files::folder(path).map_err(Error::kernel("open", path));
        let (back, pids) = match &places {
            Places::V1 {
                memory,
                cpu,
                cpuacct,
                pids,
                life,
            } => {
                let life = match life {
                    LifePlace::Unified(path) => Life::unified(folder(path)?),
                    LifePlace::Freezer(path) => Life::Freezer(folder(path)?),
                };
                let back = v1::Folders {
                    memory: folder(memory)?,
                    cpu: folder(cpu)?,
                    cpuacct: folder(cpuacct)?,
                    life,
                };
                (Back::V1(back), Some(folder(pids)?))
            }
            Places::V2(path) => (
                Back::V2(v2::Folder {
                    life: Life::unified(folder(path)?),
                }),
                None,
            ),
        };
        let doors = places
            .doors()
            .into_iter()
            .map(|path| {
                let opened = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
                opened.map_err(Error::kernel("open", path))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            places,
            handle: GroupHandle::new(back),
            pids,
            doors,
        })
    }

    /// The group as the server sees it; its descriptors are what to send there.
    #[must_use]
    pub fn handle(&self) -> &GroupHandle {
        &self.handle
    }

    /// Descriptors to send to the server, for [`GroupHandle::from_fds`].
    #[must_use]
    pub fn handle_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.handle.fds()
    }

    /// Descriptors through which a process joins: see [`join`]. On a hybrid host the v2 tree's is the last.
    #[must_use]
    pub fn join_fds(&self) -> &[OwnedFd] {
        &self.doors
    }

    /// Moves the calling process in. It must have one thread. Allocates nothing, so it may follow a fork.
    ///
    /// # Errors
    /// As the kernel says; the process may then be in some of the trees only, and should end.
    pub fn join_self(&self) -> Result<(), Errno> {
        join(&self.doors)
    }

    /// Sets every limit but the CPU cap, which comes with [`GroupHandle::apply_cpu_cap`] when initialization is over.
    /// The kernel's own memory limit is memory and scratch together: [`super::OomWatch`] enforces memory alone.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn set_limits(&self, limits: &InstanceLimits) -> Result<(), Error> {
        let done = match (self.handle.back(), &self.pids) {
            (Back::V1(v1), Some(pids)) => v1.set_limits(pids.as_fd(), limits),
            (Back::V1(_), None) => Err(Errno::NOENT),
            (Back::V2(v2), _) => v2.set_limits(limits),
        };
        done.map_err(Error::kernel("set the limits of", self.main_folder()))
    }

    /// Removes it. Its processes must have been killed; the last of them may still be on its way out, which is waited
    /// for, half a second at most.
    ///
    /// # Errors
    /// [`Error::Busy`] when processes are left after that.
    pub fn remove(&self) -> Result<(), Error> {
        self.handle.wait_empty(REMOVE_WAIT).ok();
        remove_folders(&self.places.folders(), REMOVE_WAIT)
    }

    fn main_folder(&self) -> &Path {
        match &self.places {
            Places::V1 { memory, .. } => memory,
            Places::V2(folder) => folder,
        }
    }
}

/// Moves the calling process through these doors ([`Group::join_fds`], perhaps received in another process). Allocates
/// nothing.
///
/// # Errors
/// As the kernel says, for the first that fails.
pub fn join<Fd: AsFd>(doors: &[Fd]) -> Result<(), Errno> {
    for door in doors {
        rustix::io::retry_on_intr(|| rustix::io::write(door, b"0"))?;
    }
    Ok(())
}

/// Removes empty groups, waiting for those that still have a process on its way out.
pub(super) fn remove_folders(folders: &[&Path], at_most: Duration) -> Result<(), Error> {
    let deadline = Deadline::after(at_most);
    for folder in folders {
        loop {
            match rustix::fs::rmdir(*folder) {
                Ok(()) | Err(Errno::NOENT) => break,
                // A process that has ended leaves its v1 groups a moment after its v2 group.
                Err(Errno::BUSY) if deadline.left().is_some() => pause(Duration::from_micros(500)),
                Err(Errno::BUSY) => return Err(Error::Busy(folder.to_path_buf())),
                Err(source) => return Err(Error::kernel("remove", *folder)(source)),
            }
        }
    }
    Ok(())
}
