//! The loopback interface of a network namespace.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Brings `lo` up in the network namespace to which the socket belongs, which may be of any kind.
///
/// # Errors
/// As the kernel says.
pub(crate) fn bring_loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short,
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    // SAFETY: this request reads one `ifreq`, whose name ends with a NUL, and which lives for the whole call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request)) };
    if done == 0 { Ok(()) } else { Err(super::last_errno()) }
}
