//! Loading a filter of system calls.

use libc::{sock_filter, sock_fprog};
use rustix::io::Errno;

/// Loads a filter into the calling thread, for it and all that it makes, for ever. The thread must have given up gaining
/// privileges (`no_new_privs`) or have `CAP_SYS_ADMIN`. Linux 3.17. Allocates nothing.
///
/// # Errors
/// `EINVAL` for a program that the kernel does not take, `EACCES` without the precondition.
pub(crate) fn load(program: &[sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions behind `filter`, which is a slice of that length borrowed for the
    // whole call, copies them and writes nothing; the remaining arguments are plain numbers.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&program),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
