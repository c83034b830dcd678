//! The root of a cell: a small read-only tmpfs of our own, to which is added what is needed. Nothing of the host is ever
//! taken away from a view of it, for there is none.
//!
//! Runs in a child of the spawner, in its own mount namespace, before anything of a tenant is near.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};
use sonagi_ports::Mount;

use super::texts;
use super::tree::{self, Kind};
use super::workshop::Workshop;
use crate::launch::ProcView;
use crate::protocol::{At, Failure};
use crate::sys::mount::{Reach, set_attributes};
use crate::wire::Step;

/// Inodes of the root beside two for each mount of a runtime and each folder above it.
const INODES: usize = 200;
const INODES_PER_MOUNT: usize = 10;

/// Folders that every root has: mount points, and those to which the usual symlinks lead.
const FOLDERS: [&str; 12] = [
    "dev",
    "dev/shm",
    "etc",
    "opt",
    "proc",
    "tmp",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/sbin",
    "var",
];
const LINKS: [(&str, &str); 8] = [
    ("usr/bin", "bin"),
    ("usr/lib", "lib"),
    ("usr/lib64", "lib64"),
    ("usr/sbin", "sbin"),
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Parts of `/proc` that can be read but not changed.
const READ_ONLY: [&str; 5] = ["sys", "bus", "fs", "irq", "sysrq-trigger"];
/// Parts of `/proc` that are not there: an empty folder or file is. What this kernel does not have is left out.
const MASKED: [&str; 26] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
    "cmdline",
    "kallsyms",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "kpagecgroup",
    "config.gz",
    "modules",
    "slabinfo",
    "vmallocinfo",
    "pagetypeinfo",
    "swaps",
    "diskstats",
    "buddyinfo",
    "zoneinfo",
    "key-users",
];
/// Files of `/proc` with a text of ours that is the same for all. `meminfo` comes with the program.
const REPLACED: [&str; 4] = ["cpuinfo", "stat", "uptime", "loadavg"];

/// Builds the root and enters it; the calling process must be the first of its pid namespace. The root stays as
/// descriptor for what is added later.
pub(super) fn build(shop: &Workshop, mounts: &[Mount], scratch: &OwnedFd) -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Step::Private)?;
    let inodes = (INODES + INODES_PER_MOUNT * mounts.len()).to_string();
    let options = [("size", "64k"), ("nr_inodes", inodes.as_str()), ("mode", "0755")];
    let root = tree::new_mount("tmpfs", &options, tree::PLAIN).at(Step::Root)?;
    tree::place_at(root.as_fd(), &shop.root).at_path(Step::Root, &shop.root)?;
    let root = root.as_fd();
    for folder in FOLDERS {
        rustix::fs::mkdirat(root, folder, Mode::from_raw_mode(0o755)).at_path(Step::Folders, folder)?;
    }
    for (to, link) in LINKS {
        rustix::fs::symlinkat(to, root, link).at_path(Step::Folders, link)?;
    }
    put(scratch, root, "tmp", Kind::Folder).at(Step::Scratch)?;
    show_devices(root)?;
    show_files(shop, root, mounts)?;
    show_runtime(root, mounts)?;
    mount_proc(shop, root)?;
    enter(root).at(Step::Pivot)?;
    set_attributes(
        root,
        Reach::One,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        MountAttrFlags::empty(),
    )
    .at(Step::Pivot)
}

/// Puts a detached mount at a path of the root, where a folder or an empty file is made if there is nothing.
fn put(mount: &OwnedFd, root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<(), Errno> {
    let point = tree::find_or_make(root, path, kind)?;
    tree::place(mount.as_fd(), point.as_fd())
}

fn show_devices(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    for device in DEVICES {
        let path = format!("dev/{device}");
        tree::clone_one(CWD, &Path::new("/").join(&path), attributes)
            .and_then(|mount| put(&mount, root, &path, Kind::File))
            .at_path(Step::Devices, &path)?;
    }
    let options = [("size", "16m"), ("nr_inodes", "1024"), ("mode", "1777")];
    tree::new_mount("tmpfs", &options, tree::PLAIN | MountAttrFlags::MOUNT_ATTR_NOEXEC)
        .and_then(|mount| put(&mount, root, "dev/shm", Kind::Folder))
        .at(Step::SharedMemory)
}

fn show_files(shop: &Workshop, root: BorrowedFd<'_>, mounts: &[Mount]) -> Result<(), Failure> {
    for (name, _) in texts::ETC {
        let path = format!("etc/{name}");
        // A runtime may bring its own.
        if mounts.iter().any(|mount| mount.target.trim_start_matches('/') == path) {
            continue;
        }
        shop.show(&format!("etc.{name}"))
            .and_then(|mount| put(&mount, root, &path, Kind::File))
            .at_path(Step::Files, &path)?;
    }
    Ok(())
}

fn show_runtime(root: BorrowedFd<'_>, mounts: &[Mount]) -> Result<(), Failure> {
    let mut ordered: Vec<_> = mounts.iter().collect();
    // What is mounted on another mount comes after it.
    ordered.sort_by_key(|mount| mount.target.matches('/').count());
    for mount in ordered {
        tree::clone_tree(CWD, &mount.source, tree::shown(mount.executable))
            .and_then(|source| put(&source, root, &mount.target, tree::kind_of(source.as_fd())?))
            .at_path(Step::Mounts, &mount.target)?;
    }
    Ok(())
}

fn mount_proc(shop: &Workshop, root: BorrowedFd<'_>) -> Result<(), Failure> {
    let attributes = tree::PLAIN | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let all = [("hidepid", "invisible"), ("subset", "pid")];
    let options = match shop.proc_view {
        ProcView::Compat => &all[..1],
        ProcView::Strict => &all,
    };
    let proc = tree::new_mount("proc", options, attributes).at(Step::Proc)?;
    put(&proc, root, "proc", Kind::Folder).at(Step::Proc)?;
    if shop.proc_view == ProcView::Strict {
        return Ok(());
    }
    let proc = proc.as_fd();
    for name in READ_ONLY {
        let done = match tree::find(proc, name) {
            Ok(point) => tree::clone_one(proc, Path::new(name), tree::DATA)
                .and_then(|mount| tree::place(mount.as_fd(), point.as_fd())),
            Err(errno) => Err(errno),
        };
        skip_missing(done).at_path(Step::ProcMasks, name)?;
    }
    for name in MASKED {
        let done = tree::find(proc, name).and_then(|point| {
            let cover = match tree::kind_of(point.as_fd())? {
                Kind::Folder => "void",
                Kind::File => "empty",
            };
            tree::place(shop.show(cover)?.as_fd(), point.as_fd())
        });
        skip_missing(done).at_path(Step::ProcMasks, name)?;
    }
    for name in REPLACED {
        let done = tree::find(proc, name)
            .and_then(|point| tree::place(shop.show(&format!("proc.{name}"))?.as_fd(), point.as_fd()));
        skip_missing(done).at_path(Step::ProcMasks, name)?;
    }
    Ok(())
}

fn skip_missing(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Makes `root` the root, and lets go of everything else.
fn enter(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root lies on top of the new one now.
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
