//! What the spawner makes once and uses for every cell.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::process::PidfdFlags;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use sonagi_model::{Mebibytes, Outside};

use super::nat::{Nat, Slot};
use super::{texts, tree};
use crate::cgroup::Hierarchy;
use crate::launch::ProcView;
use crate::protocol::{At, Failure};
use crate::sys::process;
use crate::wire::Step;

/// The init of every cell, built by `build.rs`.
static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));
/// The library of every zygote, built by `build.rs`.
static ZYGOTE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zygote"));
/// Memory sizes for which a text is kept. Beyond it all are made anew; cells keep those that they show.
const MEMORY_TEXTS_MAX: usize = 256;

/// Tools and shared files of the spawner.
#[derive(Debug)]
pub(super) struct Workshop {
    /// The init, executable, sealed.
    pub(super) init: OwnedFd,
    /// The library of zygotes, executable, sealed.
    pub(super) zygote: OwnedFd,
    /// The seccomp program, sealed.
    pub(super) filter: OwnedFd,
    /// This process, to ask whether it is still there.
    pub(super) myself: OwnedFd,
    pub(super) hierarchy: Hierarchy,
    pub(super) proc_view: ProcView,
    /// The way out of cells, if they have one.
    pub(super) nat: Option<Nat>,
    own_mounts: OwnedFd,
    own_network: OwnedFd,
    /// Mounted in this process's own mount namespace only: files that cells show.
    template: PathBuf,
    /// Where a cell attaches its root before it enters it.
    pub(super) root: PathBuf,
    memory_texts: HashSet<u32>,
}

impl Workshop {
    /// Makes everything. The process must be single-threaded; it gets a mount namespace of its own.
    pub(super) fn open(folder: &Path, hierarchy: Hierarchy, proc_view: ProcView) -> Result<Self, Failure> {
        process::new_mount_namespace().at(Step::Private)?;
        // What the host unmounts later must not be kept alive here, and nothing of ours may show outside.
        let receive_only = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", receive_only).at(Step::Private)?;
        let (template, root) = (folder.join("template"), folder.join("root"));
        for path in [&template, &root] {
            make_folder(path).at_path(Step::Files, path)?;
        }
        let shop = Self {
            init: sealed("init", INIT, MemfdFlags::EXEC).at(Step::ExecInit)?,
            zygote: sealed("zygote", ZYGOTE, MemfdFlags::EXEC).at(Step::Branch)?,
            filter: sealed("filter", crate::seccomp::bytes(), MemfdFlags::NOEXEC_SEAL).at(Step::Filter)?,
            myself: rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).at(Step::ParentGone)?,
            hierarchy,
            proc_view,
            nat: None,
            own_mounts: open("/proc/self/ns/mnt").at(Step::EnterMounts)?,
            own_network: open("/proc/self/ns/net").at(Step::EnterNetwork)?,
            template,
            root,
            memory_texts: HashSet::new(),
        };
        shop.fill_template()?;
        Ok(shop)
    }

    fn fill_template(&self) -> Result<(), Failure> {
        let mount = tree::new_mount("tmpfs", &[("mode", "0755")], tree::PLAIN).at(Step::Files)?;
        tree::place_at(mount.as_fd(), &self.template).at_path(Step::Files, &self.template)?;
        let host = |file: &str| {
            fs::read_to_string(file).map_err(|error| Failure::new(Step::Files, errno_of(&error), file.to_owned()))
        };
        self.write("empty", "")?;
        make_folder(&self.template.join("void")).at(Step::Files)?;
        for (name, text) in texts::ETC {
            self.write(&format!("etc.{name}"), text)?;
        }
        self.write("proc.cpuinfo", &host("/proc/cpuinfo")?)?;
        self.write("proc.stat", &texts::stat(&host("/proc/stat")?))?;
        self.write("proc.uptime", texts::UPTIME)?;
        self.write("proc.loadavg", texts::LOADAVG)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.template.join(name);
        fs::write(&path, text).map_err(|error| Failure::new(Step::Files, errno_of(&error), path.display().to_string()))
    }

    /// A detached mount of one file, or of the folder `void`, of the template.
    pub(super) fn show(&self, name: &str) -> Result<OwnedFd, Errno> {
        tree::clone_one(CWD, &self.template.join(name), tree::DATA)
    }

    /// A detached mount of the text that tells a function its memory, if it sees such things.
    pub(super) fn show_memory(&mut self, memory: Mebibytes) -> Result<Option<OwnedFd>, Failure> {
        match self.proc_view {
            ProcView::Compat => {}
            ProcView::Strict => return Ok(None),
        }
        let name = |size: u32| format!("meminfo.{size}");
        if !self.memory_texts.contains(&memory.0) {
            if self.memory_texts.len() >= MEMORY_TEXTS_MAX {
                for size in self.memory_texts.drain() {
                    // One that cannot be removed is written over when it is needed again.
                    drop(fs::remove_file(self.template.join(name(size))));
                }
            }
            self.write(&name(memory.0), &texts::meminfo(memory))?;
            self.memory_texts.insert(memory.0);
        }
        self.show(&name(memory.0)).map(Some).at(Step::MemoryFile)
    }

    /// Does something inside the mount namespace of a process, where `/` is its root.
    pub(super) fn in_mounts_of<T>(
        &self,
        process: BorrowedFd<'_>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT).at(Step::EnterMounts)?;
        let done = work();
        come_back(&self.own_mounts, LinkNameSpaceType::Mount);
        done
    }

    /// A place in the network for a cell that reaches the outside, if there is a way.
    pub(super) fn slot_for(&self, outside: Outside) -> Result<Option<Slot>, Failure> {
        let nat = self.nat.as_ref().filter(|_| outside == Outside::Open);
        nat.map(|nat| nat.take().ok_or(Errno::ADDRNOTAVAIL))
            .transpose()
            .at(Step::Network)
    }

    /// The network namespace of this host.
    pub(super) fn own_network(&self) -> BorrowedFd<'_> {
        self.own_network.as_fd()
    }

    /// Does something inside the network namespace of a process.
    pub(super) fn in_network_of<T>(
        &self,
        process: BorrowedFd<'_>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::NETWORK).at(Step::EnterNetwork)?;
        let done = work();
        come_back(&self.own_network, LinkNameSpaceType::Network);
        done
    }
}

/// Returns to a namespace of our own. A spawner that cannot is lost: it would do the next work in a cell.
fn come_back(own: &OwnedFd, kind: LinkNameSpaceType) {
    if let Err(errno) = rustix::thread::move_into_link_name_space(own.as_fd(), Some(kind)) {
        super::complain(&format!("cannot leave a cell's namespace: {errno}; ending"));
        process::exit_now(1);
    }
}

/// Opens something for reading, by a path that the spawner knows.
pub(super) fn open(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn make_folder(path: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A file that exists in memory only and that nobody can ever change, open for reading. `kind` says whether it may be
/// executed.
fn sealed(name: &str, content: &[u8], kind: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | kind) {
        // Kernels before 6.3 do not know the kinds: every such file may be executed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }?;
    let mut file = fs::File::from(file);
    file.write_all(content).map_err(|error| errno_of(&error))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    // A file that is open for writing anywhere cannot be executed.
    use std::os::fd::AsRawFd;
    open(&format!("/proc/self/fd/{}", file.as_raw_fd()))
}
