//! The scratch space of a cell, `/tmp`: a tmpfs that is mounted with the root, so that rules about files can name it, and
//! gets its room when the cell gets its instance.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::FsPickFlags;
use sonagi_model::InstanceLimits;

use super::tree;

/// A detached scratch space in which nothing can be made: its one inode is its own root.
pub(super) fn make() -> Result<OwnedFd, Errno> {
    let options = [("size", "4096"), ("nr_inodes", "1"), ("mode", "1777")];
    tree::new_mount("tmpfs", &options, tree::PLAIN)
}

/// Gives it the room of an instance.
pub(super) fn give_room(scratch: BorrowedFd<'_>, limits: &InstanceLimits) -> Result<(), Errno> {
    // Zero would mean no limit.
    let size = limits.scratch.bytes().max(4096).to_string();
    let inodes = limits.scratch_inodes.max(2).to_string();
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(scratch, c"", flags)?;
    for (key, value) in [("size", size), ("nr_inodes", inodes)] {
        rustix::mount::fsconfig_set_string(&context, key, value)?;
    }
    rustix::mount::fsconfig_reconfigure(&context)
}
