//! System calls that no library offers safely. The only place of this crate with `unsafe`.
#![expect(unsafe_code, reason = "raw system calls; each function is safe to call")]

pub(crate) mod landlock;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod reactor;
pub(crate) mod schedule;
pub(crate) mod seccomp;

/// The error number that the last call of this thread left.
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::INVAL)
}
