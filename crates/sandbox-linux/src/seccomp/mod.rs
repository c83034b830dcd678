//! The system calls a function may make.
//!
//! [`table`] is the list, [`program`] compiles it, once per process. A call that the table refuses does nothing and
//! fails with an errno chosen so that ordinary programs go on; a number that is no call, or newer than the table, fails
//! with ENOSYS; a call of another architecture or of the x32 interface ends the process with SIGSYS.
//!
//! The kernel can write refused calls to its audit log when the filter is loaded with `SECCOMP_FILTER_FLAG_LOG`. That is
//! off: a hostile function could fill the log of the host.
//!
//! In a sandbox the filter is loaded by the process that is about to execute a function's program, after it has given up
//! its privileges: it gets [`bytes`].

mod numbers;
mod program;
mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use libc::sock_filter;
use rustix::io::Errno;

#[cfg(target_arch = "aarch64")]
const NATIVE: program::Architecture = program::AARCH64;
#[cfg(target_arch = "x86_64")]
const NATIVE: program::Architecture = program::X86_64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the table of system calls has numbers for x86-64 and 64-bit ARM only");

static PROGRAM: LazyLock<Vec<sock_filter>> = LazyLock::new(|| program::compile(&NATIVE));

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let instruction = |step: &sock_filter| {
        let [code_low, code_high] = step.code.to_ne_bytes();
        let [a, b, c, d] = step.k.to_ne_bytes();
        [code_low, code_high, step.jt, step.jf, a, b, c, d]
    };
    PROGRAM.iter().flat_map(instruction).collect()
});

/// The filter for this machine, as the kernel takes it.
#[must_use]
pub fn program() -> &'static [sock_filter] {
    &PROGRAM
}

/// The same in bytes, 8 for each instruction, in the layout of `struct sock_filter`, to hand to another process.
#[must_use]
pub fn bytes() -> &'static [u8] {
    &BYTES
}

/// Numbers whose calls the filter of this machine refuses whatever their arguments are, each with its error, or none where
/// it pretends success; the last is the first that is newer than the table. To compare the table with a kernel.
pub fn refused() -> impl Iterator<Item = (u32, Option<Errno>)> {
    program::refused(&NATIVE)
}

/// Confines the calling thread and all that it makes to the filter, for ever.
///
/// # Errors
/// As the kernel says; `EINVAL` on a kernel built without filters.
pub fn confine_thread() -> Result<(), Errno> {
    rustix::thread::set_no_new_privs(true)?;
    crate::sys::seccomp::load(program())
}
