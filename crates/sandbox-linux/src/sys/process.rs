//! Making, preparing and replacing processes. For single-threaded processes only: the spawner and its children.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// Source: Linux `include/uapi/linux/sched.h`. The constant of `libc` does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Where a call of [`clone_into_namespaces`] returned.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// In the new process.
    Child,
    /// In the old one, with a descriptor of the new one, close-on-exec.
    Parent(OwnedFd),
}

/// Forks into new namespaces (`CLONE_NEW*`), with the child born in a group of the v2 tree if one is given. Linux 5.7.
///
/// The child has a copy of all memory, so code may go on there as after `fork`; that is sound only while the calling
/// process has one thread, which is checked.
///
/// # Errors
/// As the kernel says; `EDEADLK` in a process with more than one thread.
pub(crate) fn clone_into_namespaces(namespaces: libc::c_int, group: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    if !is_single_threaded() {
        return Err(Errno::DEADLK);
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = libc::CLONE_PIDFD as u64 | namespaces as u64;
    if group.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
    };
    // SAFETY: the arguments are a struct of the size given that lives for the whole call. Without CLONE_VM the child has
    // memory of its own and goes on from here on a copy of this stack; there is no other thread whose locks or state it
    // could have copied half-way. The kernel writes one int to `pidfd`.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    };
    if pid < 0 {
        return Err(super::last_errno());
    }
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel has put a new descriptor there, which nobody else owns.
    Ok(Cloned::Parent(unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Whether this process has one thread. Source: unshare(2), `CLONE_THREAD`: without effect in such a process, refused
/// in others.
fn is_single_threaded() -> bool {
    // SAFETY: the kernel changes nothing.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Moves the calling process into a new mount namespace, a copy of its present one.
///
/// # Errors
/// As the kernel says.
pub(crate) fn new_mount_namespace() -> Result<(), Errno> {
    // SAFETY: only the mounts that this process sees are concerned; its descriptor table and memory stay as they are.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// Moves the calling process into a new namespace of control groups, whose root is the group that it is in.
///
/// # Errors
/// As the kernel says.
pub(crate) fn new_group_namespace() -> Result<(), Errno> {
    // SAFETY: only the view of control groups is concerned.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// Makes the number `to` refer to what `from` refers to, open across exec. Whatever `to` was is closed: for a process
/// that is about to exec and uses none of its other descriptors any more.
///
/// # Errors
/// As the kernel says.
pub(crate) fn place_descriptor(from: BorrowedFd<'_>, to: i32) -> Result<(), Errno> {
    // SAFETY: the call closes a descriptor that some owner in this process may believe to hold. The callers are
    // processes between clone and exec, which drop nothing any more.
    let done = unsafe { libc::dup3(from.as_raw_fd(), to, 0) };
    if done < 0 { Err(super::last_errno()) } else { Ok(()) }
}

/// Every signal back to its default action, and none blocked: both survive exec otherwise.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. Numbers that may not be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call initializes the set that it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was initialized above, and is only read; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Ignores a signal from now on.
pub(crate) fn ignore_signal(signal: libc::c_int) {
    // SAFETY: ignoring runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Executes the program in a file, with an empty environment. Returns only the error number. Linux 3.19.
pub(crate) fn execute(program: BorrowedFd<'_>, arguments: &[&CStr]) -> Errno {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let no_variables: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: the path is a constant C string; both lists end with a null pointer and hold pointers to C strings that
    // live for the whole call. On success nothing of this process is left.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            no_variables.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    super::last_errno()
}

/// Executes the program that the first argument names. Returns only the error number.
pub(crate) fn execute_path(arguments: &[CString], variables: &[CString]) -> Errno {
    let Some(program) = arguments.first() else {
        return Errno::INVAL;
    };
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        let texts = texts.iter().map(|text| text.as_ptr());
        texts.chain([std::ptr::null()]).collect()
    };
    let (arguments, variables) = (pointers(arguments), pointers(variables));
    // SAFETY: the path is a C string; both lists end with a null pointer and hold pointers to C strings that live for the
    // whole call. On success nothing of this process is left.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    super::last_errno()
}

/// Marks every descriptor from `first` to be closed by exec. Linux 5.11.
///
/// # Errors
/// As the kernel says.
pub(crate) fn close_from(first: i32) -> Result<(), Errno> {
    let (first, last) = (libc::c_long::from(first), libc::c_long::from(u32::MAX));
    let flags = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: a flag of descriptors is set; none is closed, so none changes what it refers to.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done < 0 { Err(super::last_errno()) } else { Ok(()) }
}

/// Ends the process at once: no destructors, no flushing.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process; nothing runs afterwards.
    unsafe { libc::_exit(status) }
}
