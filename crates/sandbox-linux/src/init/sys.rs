//! System calls of the init, of zygotes and of the supervisor, one function each.
//!
//! With `start.rs` and the entry of `zygote.rs`, everything unsafe of them is here. Error numbers are those of the kernel, positive.

#![allow(dead_code, reason = "each side uses its part")]

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the init knows the system calls of x86_64 only");

use core::arch::asm;

/// System call numbers. Source: Linux `arch/x86/entry/syscalls/syscall_64.tbl`.
mod number {
    pub const READ: usize = 0;
    pub const POLL: usize = 7;
    pub const GETPID: usize = 39;
    pub const SOCKET: usize = 41;
    pub const CONNECT: usize = 42;
    pub const KILL: usize = 62;
    pub const SIGNALFD4: usize = 289;
    pub const PIPE2: usize = 293;
    pub const PREAD64: usize = 17;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const SENDMSG: usize = 46;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const SETNS: usize = 308;
    pub const CLONE3: usize = 435;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const RECVMSG: usize = 47;
    pub const SOCKETPAIR: usize = 53;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const GETCWD: usize = 79;
    pub const CHDIR: usize = 80;
    pub const UMASK: usize = 95;
    pub const SETSID: usize = 112;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const CAPSET: usize = 126;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const UNSHARE: usize = 272;
    pub const DUP3: usize = 292;
    pub const PRLIMIT64: usize = 302;
    pub const SECCOMP: usize = 317;
    pub const CLOSE_RANGE: usize = 436;
    pub const LANDLOCK_CREATE_RULESET: usize = 444;
    pub const LANDLOCK_ADD_RULE: usize = 445;
    pub const LANDLOCK_RESTRICT_SELF: usize = 446;
}

/// One system call.
///
/// # Safety
/// As the call says: every pointer among the arguments must be good for what the kernel does with it.
unsafe fn call(number: usize, a: [usize; 6]) -> Result<usize, i32> {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel changes only the registers named here, and memory as
    // the call says, which the missing `nomem` option tells the compiler.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) {
        Err(-result as i32)
    } else {
        Ok(result as usize)
    }
}

/// A call all of whose arguments are numbers that the kernel takes for no address.
fn plain(number: usize, a: [usize; 6]) -> Result<usize, i32> {
    // SAFETY: no pointers.
    unsafe { call(number, a) }
}

const EINTR: i32 = 4;

/// Reads into the buffer; 0 at the end.
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the kernel writes at most the buffer's length into it.
    unsafe {
        call(
            number::READ,
            [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0],
        )
    }
}

/// Reads at an offset, without moving that of the file, which other processes share.
pub fn read_at(fd: i32, buffer: &mut [u8], offset: usize) -> Result<usize, i32> {
    let address = buffer.as_mut_ptr() as usize;
    // SAFETY: the kernel writes at most the buffer's length into it.
    unsafe { call(number::PREAD64, [fd as usize, address, buffer.len(), offset, 0, 0]) }
}

/// Writes once.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the kernel reads the slice.
    unsafe {
        call(
            number::WRITE,
            [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )
    }
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    let _ = plain(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
}

/// Closes every descriptor from `first`, or marks them to be closed at the next exec.
pub fn close_from(first: i32, at_exec: bool) -> Result<(), i32> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let flags = if at_exec { CLOSE_RANGE_CLOEXEC } else { 0 };
    plain(number::CLOSE_RANGE, [first as usize, u32::MAX as usize, flags, 0, 0, 0]).map(drop)
}

/// Opens a file for writing by absolute path; `path` ends with a NUL. Close-on-exec.
pub fn open_to_write(path: &[u8]) -> Result<i32, i32> {
    open(path, 1)
}

/// Opens a file for reading by absolute path; `path` ends with a NUL. Close-on-exec.
pub fn open_to_read(path: &[u8]) -> Result<i32, i32> {
    open(path, 0)
}

fn open(path: &[u8], access: usize) -> Result<i32, i32> {
    const O_CLOEXEC: usize = 0o2_000_000;
    if path.last() != Some(&0) {
        return Err(22);
    }
    let flags = access | O_CLOEXEC;
    // SAFETY: the path ends with a NUL, within the slice.
    let fd = unsafe {
        call(
            number::OPENAT,
            [-100_isize as usize, path.as_ptr() as usize, flags, 0, 0, 0],
        )
    }?;
    Ok(fd as i32)
}

/// Makes `to` refer to what `from` refers to, open across exec.
pub fn duplicate(from: i32, to: i32) -> Result<(), i32> {
    plain(number::DUP3, [from as usize, to as usize, 0, 0, 0, 0]).map(drop)
}

/// Fresh zeroed memory for the rest of the process's life.
pub fn map(bytes: usize) -> Result<&'static mut [u8], i32> {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
    let address = plain(number::MMAP, [0, bytes, 3, 0x22, usize::MAX, 0])?;
    // SAFETY: the kernel mapped that many zeroed bytes there, which nobody else knows and nobody unmaps.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, bytes) })
}

/// A connected pair of stream sockets, close-on-exec.
pub fn socket_pair() -> Result<[i32; 2], i32> {
    const SOCK_STREAM_CLOEXEC: usize = 1 | 0o2_000_000;
    let mut pair = [0_i32; 2];
    // SAFETY: the kernel writes two ints.
    unsafe {
        call(
            number::SOCKETPAIR,
            [1, SOCK_STREAM_CLOEXEC, 0, pair.as_mut_ptr() as usize, 0, 0],
        )
    }?;
    Ok(pair)
}

#[repr(C)]
struct IoVector {
    base: *mut u8,
    len: usize,
}

#[repr(C)]
struct Message {
    name: usize,
    name_len: u32,
    vectors: *mut IoVector,
    vector_count: usize,
    control: *mut Control,
    control_len: usize,
    flags: i32,
}

/// Most descriptors of one message.
pub const DESCRIPTORS_MAX: usize = 16;

/// Room for one control message. Source: `struct cmsghdr` in Linux `include/linux/socket.h`.
#[repr(C, align(8))]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; DESCRIPTORS_MAX],
}

impl Control {
    const HEADER: usize = 16;

    const fn empty() -> Self {
        Self {
            len: 0,
            level: 0,
            kind: 0,
            descriptors: [-1; DESCRIPTORS_MAX],
        }
    }
}

/// Descriptors that came with a message.
pub struct Descriptors {
    list: [i32; DESCRIPTORS_MAX],
    len: usize,
}

impl Descriptors {
    /// In the order in which they were sent.
    pub fn as_slice(&self) -> &[i32] {
        &self.list[..self.len]
    }
}

/// Receives one message, with its descriptors, which are close-on-exec. Bytes and descriptors beyond the room for them
/// are an error (`EMSGSIZE`); the end of the socket is a message of length 0.
pub fn receive(fd: i32, buffer: &mut [u8]) -> Result<(usize, Descriptors), i32> {
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    const MSG_CTRUNC_OR_TRUNC: i32 = 0x8 | 0x20;
    let mut vector = IoVector {
        base: buffer.as_mut_ptr(),
        len: buffer.len(),
    };
    let mut control = Control::empty();
    let mut message = Message {
        name: 0,
        name_len: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: &raw mut control,
        control_len: size_of::<Control>(),
        flags: 0,
    };
    let received = loop {
        let address = &raw mut message as usize;
        // SAFETY: the message points to one vector, which is the buffer, and to room for control data with its length.
        match unsafe { call(number::RECVMSG, [fd as usize, address, MSG_CMSG_CLOEXEC, 0, 0, 0]) } {
            Err(EINTR) => {}
            other => break other?,
        }
    };
    if message.flags & MSG_CTRUNC_OR_TRUNC != 0 {
        return Err(90);
    }
    // SOL_SOCKET, SCM_RIGHTS
    let has_descriptors = control.len > Control::HEADER && control.level == 1 && control.kind == 1;
    let len = if has_descriptors {
        ((control.len - Control::HEADER) / size_of::<i32>()).min(DESCRIPTORS_MAX)
    } else {
        0
    };
    Ok((
        received,
        Descriptors {
            list: control.descriptors,
            len,
        },
    ))
}

/// Sends one message with one descriptor.
pub fn send(fd: i32, bytes: &[u8], descriptor: i32) -> Result<(), i32> {
    const MSG_NOSIGNAL: usize = 0x4000;
    let mut vector = IoVector {
        base: bytes.as_ptr().cast_mut(),
        len: bytes.len(),
    };
    let mut control = Control::empty();
    (control.len, control.level, control.kind) = (Control::HEADER + size_of::<i32>(), 1, 1);
    control.descriptors[0] = descriptor;
    let message = Message {
        name: 0,
        name_len: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: &raw mut control,
        // With its padding.
        control_len: Control::HEADER + size_of::<usize>(),
        flags: 0,
    };
    let address = &raw const message as usize;
    // SAFETY: the message points to one vector, which is the slice and is only read, and to control data of that length.
    unsafe { call(number::SENDMSG, [fd as usize, address, MSG_NOSIGNAL, 0, 0, 0]) }.map(drop)
}

/// Forks. `Ok(None)` in the child.
pub fn fork() -> Result<Option<i32>, i32> {
    const SIGCHLD: usize = 17;
    // SAFETY: without CLONE_VM both go on with memory of their own; a null stack means a copy of this one.
    let pid = unsafe { call(number::CLONE, [SIGCHLD, 0, 0, 0, 0, 0]) }?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Where the C library of this process keeps the number of its thread, which the kernel writes into a new process.
/// Linux 3.5, if built for checkpoints.
pub fn thread_record() -> Result<usize, i32> {
    const PR_GET_TID_ADDRESS: usize = 40;
    let mut address = 0_usize;
    // SAFETY: the kernel writes one word.
    unsafe { call(number::PRCTL, [PR_GET_TID_ADDRESS, &raw mut address as usize, 0, 0, 0, 0]) }?;
    Ok(address)
}

/// Forks a child of this process's own parent, born in a group of the v2 tree if one is given. `Ok(None)` in the child,
/// a descriptor of it in this one. Linux 5.7.
pub fn fork_sibling(thread_record: usize, group: Option<i32>) -> Result<Option<i32>, i32> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_PARENT: u64 = 0x8000;
    const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    const CLONE_CHILD_SETTID: u64 = 0x100_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd = -1_i32;
    let mut flags = CLONE_PIDFD | CLONE_PARENT | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;
    if group.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    // Source: `struct clone_args` in Linux `include/uapi/linux/sched.h`. The signal is that of this process's own end.
    let arguments: [u64; 11] = [
        flags,
        &raw mut pidfd as u64,
        thread_record as u64,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        group.unwrap_or(0) as u64,
    ];
    let address = arguments.as_ptr() as usize;
    // SAFETY: without CLONE_VM both go on with memory of their own, the child on a copy of this stack. The arguments are
    // a struct of the size given; the kernel writes one int to `pidfd`, and the child's number to the record of its
    // thread, as the C library would have it.
    let pid = unsafe { call(number::CLONE3, [address, size_of_val(&arguments), 0, 0, 0, 0]) }?;
    Ok((pid != 0).then_some(pidfd))
}

/// Moves into namespaces: that of a descriptor of one, or those of a process (Linux 5.8). For processes it concerns the
/// children only.
pub fn enter_namespaces(fd: i32, kinds: usize) -> Result<(), i32> {
    plain(number::SETNS, [fd as usize, kinds, 0, 0, 0, 0]).map(drop)
}

/// Blocks the signal of a child's end, so that [`wait_for_child`] sees it.
pub fn hold_child_signal() -> Result<(), i32> {
    const SIG_BLOCK: usize = 0;
    let set = SIGCHLD_SET;
    // SAFETY: the kernel reads a set of eight bytes.
    unsafe { call(number::RT_SIGPROCMASK, [SIG_BLOCK, &raw const set as usize, 0, 8, 0, 0]) }.map(drop)
}

/// Waits until a child has ended, or another signal has come.
pub fn wait_for_child() {
    let set = SIGCHLD_SET;
    // SAFETY: the kernel reads a set of eight bytes and writes nothing.
    let _ = unsafe { call(number::RT_SIGTIMEDWAIT, [&raw const set as usize, 0, 0, 8, 0, 0]) };
}

const SIGCHLD_SET: u64 = 1 << (17 - 1);

/// Waits for any child to end; its number and wait status.
pub fn wait() -> Result<(i32, i32), i32> {
    let mut status = 0_i32;
    loop {
        // SAFETY: the kernel writes one int.
        match unsafe { call(number::WAIT4, [-1_isize as usize, &raw mut status as usize, 0, 0, 0, 0]) } {
            Err(EINTR) => {}
            other => return other.map(|pid| (pid as i32, status)),
        }
    }
}

/// The same, if one has ended already; an error otherwise.
pub fn wait_now() -> Result<(i32, i32), i32> {
    const WNOHANG: usize = 1;
    const ECHILD: i32 = 10;
    let mut status = 0_i32;
    // SAFETY: the kernel writes one int.
    let pid = unsafe { call(number::WAIT4, [-1_isize as usize, &raw mut status as usize, WNOHANG, 0, 0, 0]) }?;
    if pid == 0 { Err(ECHILD) } else { Ok((pid as i32, status)) }
}

/// Lets the signal of a child's end through again.
pub fn release_child_signal() -> Result<(), i32> {
    const SIG_UNBLOCK: usize = 1;
    let set = SIGCHLD_SET;
    // SAFETY: the kernel reads a set of eight bytes.
    unsafe { call(number::RT_SIGPROCMASK, [SIG_UNBLOCK, &raw const set as usize, 0, 8, 0, 0]) }.map(drop)
}

/// A descriptor that can be read when a child has ended, close-on-exec. The signal must be held.
pub fn child_signals() -> Result<i32, i32> {
    const SFD_CLOEXEC_NONBLOCK: usize = 0o2_000_000 | 0o4_000;
    let set = SIGCHLD_SET;
    let none = -1_isize as usize;
    // SAFETY: the kernel reads a set of eight bytes.
    let fd = unsafe { call(number::SIGNALFD4, [none, &raw const set as usize, 8, SFD_CLOEXEC_NONBLOCK, 0, 0]) }?;
    Ok(fd as i32)
}

/// Takes what [`child_signals`] has.
pub fn forget_signals(fd: i32) {
    let mut records = [0; 1024];
    while read(fd, &mut records).is_ok_and(|got| got == records.len()) {}
}

/// A pipe: the reading end, then the writing end, close-on-exec.
pub fn pipe() -> Result<[i32; 2], i32> {
    const O_CLOEXEC: usize = 0o2_000_000;
    let mut ends = [0_i32; 2];
    // SAFETY: the kernel writes two ints.
    unsafe { call(number::PIPE2, [ends.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0, 0]) }?;
    Ok(ends)
}

/// A TCP connection to a port of 127.0.0.1, close-on-exec.
pub fn connect_loopback(port: u16) -> Result<i32, i32> {
    const AF_INET: usize = 2;
    const SOCK_STREAM_CLOEXEC: usize = 1 | 0o2_000_000;
    let fd = plain(number::SOCKET, [AF_INET, SOCK_STREAM_CLOEXEC, 0, 0, 0, 0])?;
    let [high, low] = port.to_be_bytes();
    // Source: `struct sockaddr_in` in Linux `include/uapi/linux/in.h`.
    let address: [u8; 16] = [2, 0, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: the kernel reads the address, whose length is given.
    let connected = unsafe { call(number::CONNECT, [fd, address.as_ptr() as usize, address.len(), 0, 0, 0]) };
    match connected {
        Ok(_) => Ok(fd as i32),
        Err(errno) => {
            close(fd as i32);
            Err(errno)
        }
    }
}

/// Writes everything. A peer that is gone ends the process by its signal.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), i32> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads until the buffer is full; an end before is an error.
pub fn read_all(fd: i32, buffer: &mut [u8]) -> Result<(), i32> {
    const EPIPE: i32 = 32;
    let mut got = 0;
    while got < buffer.len() {
        match read(fd, &mut buffer[got..]) {
            Ok(0) => return Err(EPIPE),
            Ok(read) => got += read,
            Err(EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sends a signal to a process and whatever is in its group.
pub fn kill_group(leader: i32, signal: i32) {
    let _ = plain(number::KILL, [-(leader as isize) as usize, signal as usize, 0, 0, 0, 0]);
}

/// Sends this process a signal.
pub fn kill_self(signal: i32) {
    if let Ok(own) = plain(number::GETPID, [0; 6]) {
        let _ = plain(number::KILL, [own, signal as usize, 0, 0, 0, 0]);
    }
}

/// Descriptors that are watched for what comes.
pub struct Watched {
    list: [PollFd; 24],
    len: usize,
}

/// Source: `struct pollfd` in Linux `include/uapi/asm-generic/poll.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PollFd {
    fd: i32,
    events: i16,
    seen: i16,
}

impl Watched {
    /// None.
    pub fn new() -> Self {
        let nobody = PollFd {
            fd: -1,
            events: 0,
            seen: 0,
        };
        Self {
            list: [nobody; 24],
            len: 0,
        }
    }

    /// One more; there is room for 24. A negative one is passed over.
    pub fn add(&mut self, fd: i32) {
        const POLLIN: i16 = 1;
        self.list[self.len] = PollFd {
            fd,
            events: POLLIN,
            seen: 0,
        };
        self.len += 1;
    }

    /// Waits until something has come or ended, if it is to wait, and notes what.
    pub fn wait(&mut self, waits: bool) -> Result<(), i32> {
        let limit = if waits { -1_isize as usize } else { 0 };
        loop {
            // SAFETY: the kernel reads and writes the first `len` entries.
            match unsafe { call(number::POLL, [self.list.as_mut_ptr() as usize, self.len, limit, 0, 0, 0]) } {
                Ok(_) => return Ok(()),
                Err(EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Whether there was something at a descriptor.
    pub fn ready(&self, fd: i32) -> bool {
        self.list[..self.len]
            .iter()
            .any(|watched| watched.fd == fd && watched.seen != 0)
    }
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        let _ = plain(number::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]);
    }
}

/// Becomes the leader of a session of its own.
pub fn start_session() -> Result<(), i32> {
    plain(number::SETSID, [0; 6]).map(drop)
}

/// Sets the file mode mask.
pub fn set_file_mask(mask: u32) {
    let _ = plain(number::UMASK, [mask as usize, 0, 0, 0, 0, 0]);
}

/// Drops all supplementary groups.
pub fn drop_groups() -> Result<(), i32> {
    plain(number::SETGROUPS, [0; 6]).map(drop)
}

/// Takes real, effective and saved group and user.
pub fn take_ids(uid: u32, gid: u32) -> Result<(), i32> {
    let (uid, gid) = (uid as usize, gid as usize);
    plain(number::SETRESGID, [gid, gid, gid, 0, 0, 0])?;
    plain(number::SETRESUID, [uid, uid, uid, 0, 0, 0]).map(drop)
}

/// Moves into a new user namespace.
pub fn new_user_namespace() -> Result<(), i32> {
    const CLONE_NEWUSER: usize = 0x1000_0000;
    plain(number::UNSHARE, [CLONE_NEWUSER, 0, 0, 0, 0, 0]).map(drop)
}

/// Empties all five capability sets.
pub fn drop_capabilities() -> Result<(), i32> {
    const PR_CAPBSET_DROP: usize = 24;
    const PR_CAP_AMBIENT: usize = 47;
    const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
    const EINVAL: i32 = 22;
    const VERSION_3: u32 = 0x2008_0522;
    for capability in 0..64 {
        match plain(number::PRCTL, [PR_CAPBSET_DROP, capability, 0, 0, 0, 0]) {
            Ok(_) => {}
            // Beyond the last one that this kernel knows.
            Err(EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    plain(number::PRCTL, [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0])?;
    let header = [VERSION_3, 0];
    let sets = [0_u32; 6];
    // SAFETY: version 3 has a header of two words, and reads two times three words.
    unsafe {
        call(
            number::CAPSET,
            [header.as_ptr() as usize, sets.as_ptr() as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// No exec gives privileges from now on.
pub fn set_no_new_privs() -> Result<(), i32> {
    plain(number::PRCTL, [38, 1, 0, 0, 0, 0]).map(drop)
}

/// The process is killed when its parent ends.
pub fn die_with_parent() -> Result<(), i32> {
    const PR_SET_PDEATHSIG: usize = 1;
    const SIGKILL: usize = 9;
    plain(number::PRCTL, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0]).map(drop)
}

/// Nobody without privileges may look into the process.
pub fn set_not_dumpable() {
    let _ = plain(number::PRCTL, [4, 0, 0, 0, 0, 0]);
}

/// The process may look into itself, as any program may: what a program gets by being executed.
pub fn set_dumpable() -> Result<(), i32> {
    plain(number::PRCTL, [4, 1, 0, 0, 0, 0]).map(drop)
}

/// Sets the soft and, unless it is to stay, the hard limit of a resource. A limit that may not be raised stays.
pub fn limit(resource: usize, soft: u64, hard: Option<u64>) -> Result<(), i32> {
    const EPERM: i32 = 1;
    let mut limits = [0_u64; 2];
    // SAFETY: the kernel writes two words.
    unsafe { call(number::PRLIMIT64, [0, resource, 0, limits.as_mut_ptr() as usize, 0, 0]) }?;
    limits[0] = soft;
    limits[1] = hard.unwrap_or(limits[1]);
    // SAFETY: the kernel reads two words.
    match unsafe { call(number::PRLIMIT64, [0, resource, limits.as_ptr() as usize, 0, 0, 0]) } {
        Ok(_) | Err(EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Loads a seccomp program for this process; its bytes are those of `struct sock_filter`, eight each.
pub fn load_filter(program: &[u8]) -> Result<(), i32> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const u8,
    }
    let program = Program {
        len: u16::try_from(program.len() / 8).unwrap_or(0),
        filter: program.as_ptr(),
    };
    // SAFETY: the kernel reads `len` instructions of eight bytes, which the slice holds. SECCOMP_SET_MODE_FILTER is 1.
    unsafe { call(number::SECCOMP, [1, 0, &raw const program as usize, 0, 0, 0]) }.map(drop)
}

/// The version of Landlock that this kernel has; `None` without it, or when it is switched off.
pub fn landlock_version() -> Option<u32> {
    const CREATE_RULESET_VERSION: usize = 1;
    let version = plain(number::LANDLOCK_CREATE_RULESET, [0, 0, CREATE_RULESET_VERSION, 0, 0, 0]).ok()?;
    u32::try_from(version).ok()
}

/// A new set of rules that refuses these accesses of files and these scopes, close-on-exec.
pub fn landlock_rules(files: u64, scopes: u64) -> Result<i32, i32> {
    // Files, network, scopes. The kernel takes the first alone; it refuses fields that it does not know unless they
    // are zero, and then takes them too.
    let attributes = [files, 0, scopes];
    let address = attributes.as_ptr() as usize;
    // SAFETY: the kernel reads the array, whose length is given.
    let rules = unsafe {
        call(
            number::LANDLOCK_CREATE_RULESET,
            [address, size_of_val(&attributes), 0, 0, 0, 0],
        )
    }?;
    Ok(rules as i32)
}

/// Allows accesses of what is at and below a place.
pub fn landlock_allow(rules: i32, place: i32, access: u64) -> Result<(), i32> {
    const RULE_PATH_BENEATH: usize = 1;
    /// Source: `struct landlock_path_beneath_attr`, which is packed.
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        place: i32,
    }
    let rule = PathBeneath { access, place };
    // SAFETY: the kernel reads the rule.
    unsafe {
        call(
            number::LANDLOCK_ADD_RULE,
            [rules as usize, RULE_PATH_BENEATH, &raw const rule as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// The rules hold from now on.
pub fn landlock_restrict(rules: i32) -> Result<(), i32> {
    plain(number::LANDLOCK_RESTRICT_SELF, [rules as usize, 0, 0, 0, 0, 0]).map(drop)
}

/// Opens a file or folder only to name it, by absolute path; `path` ends with a NUL. Close-on-exec.
pub fn open_place(path: &[u8]) -> Result<i32, i32> {
    const O_PATH: usize = 0o10_000_000;
    open(path, O_PATH)
}

/// Enters a folder; `path` ends with a NUL. Refuses one that is not below the root.
pub fn enter(path: &[u8]) -> Result<(), i32> {
    const ENOENT: i32 = 2;
    if path.last() != Some(&0) {
        return Err(22);
    }
    // SAFETY: the path ends with a NUL, within the slice.
    unsafe { call(number::CHDIR, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }?;
    let mut buffer = [0_u8; 4096];
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { call(number::GETCWD, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0]) }?;
    // The kernel says "(unreachable)" before the path of a folder outside the root.
    if buffer[0] == b'/' { Ok(()) } else { Err(ENOENT) }
}

/// A list of pointers to strings as exec wants it.
pub struct PointerList {
    words: &'static mut [u8],
    len: usize,
}

impl PointerList {
    /// Room for so many strings.
    pub fn with_room(strings: usize) -> Result<Self, i32> {
        // The last word stays null.
        Ok(Self {
            words: map((strings + 1) * size_of::<usize>())?,
            len: 0,
        })
    }

    /// Adds a string, which ends with a NUL and lives as long as the process.
    pub fn push(&mut self, text: &'static [u8]) -> Result<(), i32> {
        const E2BIG: i32 = 7;
        let at = self.len * size_of::<usize>();
        let last = self.words.len() - size_of::<usize>();
        if at >= last || text.last() != Some(&0) {
            return Err(E2BIG);
        }
        self.words[at..at + size_of::<usize>()].copy_from_slice(&(text.as_ptr() as usize).to_ne_bytes());
        self.len += 1;
        Ok(())
    }
}

/// Executes a program; returns only the error number. `path` ends with a NUL.
pub fn execute(path: &'static [u8], arguments: &PointerList, variables: &PointerList) -> i32 {
    if path.last() != Some(&0) {
        return 22;
    }
    let (argv, envp) = (arguments.words.as_ptr() as usize, variables.words.as_ptr() as usize);
    // SAFETY: the path ends with a NUL; both lists point to strings that do, and end with a null word.
    match unsafe { call(number::EXECVE, [path.as_ptr() as usize, argv, envp, 0, 0, 0]) } {
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(134)
}

/// The compiled core names it in its unwind tables; with `panic=abort` nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    exit(134)
}
