//! Mounts as descriptors: cloned or made detached, given their attributes, and only then put in place. Targets are
//! resolved inside a root that is ours, to a descriptor, and the mount is placed on that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::sys::mount::{Reach, set_attributes};

/// What a mount point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// No device nodes, no set-user-id programs.
pub(super) const PLAIN: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// That, and nothing can be changed.
pub(super) const READ_ONLY: MountAttrFlags = PLAIN.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
/// That, and nothing can be executed.
pub(super) const DATA: MountAttrFlags = READ_ONLY.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Attributes of something of the host that is shown inside.
pub(super) fn shown(executable: bool) -> MountAttrFlags {
    if executable { READ_ONLY } else { DATA }
}

/// A detached clone of what is mounted at a path, everything below included, with these attributes set on all of it.
pub(super) fn clone_tree(dir: BorrowedFd<'_>, path: &Path, set: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(dir, path, flags)?;
    set_attributes(tree.as_fd(), Reach::Tree, set, MountAttrFlags::empty())?;
    Ok(tree)
}

/// A clone of one mount, without what is mounted below it.
pub(super) fn clone_one(dir: BorrowedFd<'_>, path: &Path, set: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(dir, path, flags)?;
    set_attributes(tree.as_fd(), Reach::One, set, MountAttrFlags::empty())?;
    Ok(tree)
}

/// A new, detached mount of a file system that needs no device.
pub(super) fn new_mount(kind: &str, options: &[(&str, &str)], set: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, set)
}

/// Puts a detached mount on a mount point.
pub(super) fn place(mount: BorrowedFd<'_>, point: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", point, c"", flags)
}

/// Puts a detached mount on a path of the calling process's own root.
pub(super) fn place_at(mount: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// What is at a path below a root, as a descriptor that can only be named. Symlinks lead nowhere but below the root.
pub(super) fn find(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// As [`find`], and makes what is missing: folders on the way, and a folder or an empty file at the end.
pub(super) fn find_or_make(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    match find(root, path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let path = path.trim_end_matches('/');
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = if above.is_empty() {
        find(root, ".")
    } else {
        find_or_make(root, above, Kind::Folder)
    }?;
    match kind {
        Kind::Folder => rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)),
        Kind::File => rustix::fs::mknodat(&above, name, FileType::RegularFile, Mode::from_raw_mode(0o444), 0),
    }?;
    find(above.as_fd(), name)
}

/// What is at a path of this host: only a folder is mounted on a folder.
pub(super) fn kind_of(mount: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let found = rustix::fs::fstat(mount)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile
        | FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::File,
    })
}
