//! Leaving the host's namespaces.
#![expect(
    unsafe_code,
    reason = "unshare is an unsafe function of rustix; this module is the only one that calls it"
)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves this process into new mount, pid (for its children), ipc and uts namespaces; without root, into a new user
/// namespace as well, in which it has every capability over the other new ones. The network stays the host's.
pub fn leave(user: User) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if user == User::New {
        flags |= UnshareFlags::NEWUSER;
    }
    // SAFETY: the hazard of `unshare` is with CLONE_FILES, which gives threads different tables of descriptors; it is
    // not among the flags.
    unsafe { unshare_unsafe(flags) }?;
    Ok(())
}

/// Whether the user namespace stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// It stays.
    Kept,
    /// A new one.
    New,
}
