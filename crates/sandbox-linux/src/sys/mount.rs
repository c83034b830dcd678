//! Attributes of mounts, which rustix does not set.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// Which mounts a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The one mount.
    One,
    /// It and every mount below.
    Tree,
}

/// Sets and clears attributes of the mount that `mount` refers to. Linux 5.12.
///
/// # Errors
/// As the kernel says; `EBUSY` when it is to become read-only and a file of it is open for writing.
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    reach: Reach,
    set: MountAttrFlags,
    clear: MountAttrFlags,
) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(set.bits()),
        attr_clr: u64::from(clear.bits()),
        propagation: 0,
        userns_fd: 0,
    };
    let recursive = match reach {
        Reach::One => 0,
        Reach::Tree => libc::AT_RECURSIVE,
    };
    // SAFETY: the path is a constant C string, the attributes are a struct of the size given, both live for the whole
    // call and are only read; the descriptor is borrowed for as long.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(super::last_errno()) }
}
