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

/// The largest packet that an interface sends, in the network namespace to which the socket belongs.
///
/// # Errors
/// As the kernel says; `ENODEV` when there is none of that name, `ENAMETOOLONG` when there can be none.
pub(crate) fn mtu(socket: BorrowedFd<'_>, interface: &str) -> Result<u32, Errno> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 },
    };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(Errno::NAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: this request reads and writes one `ifreq`, whose name ends with a NUL, and which lives for the whole call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, std::ptr::from_mut(&mut request)) };
    if done != 0 {
        return Err(super::last_errno());
    }
    // SAFETY: the kernel has written the field that this request is about.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| Errno::RANGE)
}
