//! Which system calls a function may make, as data. This is the file to review; nothing is decided elsewhere.
//!
//! Every call that the kernel has is named exactly once, in a group or in a rule, and a test holds that. What an answer
//! means and what is done with numbers that are no call: see [`super`].

use rustix::io::Errno;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel runs it.
    Allow,
    /// It does nothing and fails so.
    Fail(Errno),
    /// It does nothing and reports success.
    Pretend,
    /// The whole process ends with SIGSYS.
    Kill,
}

/// Calls with the same answer for the same reason.
#[derive(Debug)]
pub(super) struct Group {
    /// Why they are together. For the reader of this file.
    #[cfg_attr(not(test), expect(dead_code, reason = "says why to whoever reviews the table"))]
    pub(super) reason: &'static str,
    /// The answer.
    pub(super) answer: Answer,
    /// The calls.
    pub(super) calls: &'static [&'static str],
}

/// A call whose answer depends on its arguments.
#[derive(Debug)]
pub(super) struct Rule {
    /// The call.
    pub(super) call: &'static str,
    /// Tried in this order; the first that matches answers.
    pub(super) clauses: &'static [Clause],
    /// The answer when none matches.
    pub(super) otherwise: Answer,
}

/// An answer for arguments that pass all its tests.
#[derive(Debug)]
pub(super) struct Clause {
    pub(super) tests: &'static [Test],
    pub(super) answer: Answer,
}

/// A test of the low 32 bits of one argument, counted from 0. The kernel looks at no more of flags, families, types,
/// protocols and requests; a filter that looked at 64 would be passed by setting one bit above (CVE-2019-10063).
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    /// Masked, it is one of these.
    In {
        argument: u32,
        mask: u32,
        values: &'static [u32],
    },
    /// Masked, it is none of these.
    NotIn {
        argument: u32,
        mask: u32,
        values: &'static [u32],
    },
    /// It has any of these bits.
    HasAny { argument: u32, bits: u32 },
}

const ALL_BITS: u32 = u32::MAX;
const EPERM: Answer = Answer::Fail(Errno::PERM);
const ENOSYS: Answer = Answer::Fail(Errno::NOSYS);

/// Calls whose answer does not depend on arguments.
#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    Group {
        reason: "files and folders",
        answer: Answer::Allow,
        calls: &[
            "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
            "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2",
            "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "file_getattr", "flistxattr", "flock",
            "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents",
            "getdents64", "getxattr", "getxattrat", "lchown", "lgetxattr", "link", "linkat", "listxattr",
            "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat",
            "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
            "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr", "removexattrat",
            "rename", "renameat", "renameat2", "rmdir", "sendfile", "setxattr", "setxattrat", "splice", "stat",
            "statfs", "statx", "symlink", "symlinkat", "sync_file_range", "tee", "truncate", "umask", "unlink",
            "unlinkat", "utime", "utimensat", "utimes", "write", "writev",
        ],
    },
    Group {
        reason: "waiting for files and notices",
        answer: Answer::Allow,
        calls: &[
            "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
            "eventfd2", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "pipe", "pipe2",
            "poll", "ppoll", "pselect6", "select", "signalfd", "signalfd4", "timerfd_create", "timerfd_gettime",
            "timerfd_settime",
        ],
    },
    Group {
        reason: "memory",
        answer: Answer::Allow,
        calls: &[
            "brk", "cachestat", "get_mempolicy", "madvise", "map_shadow_stack", "membarrier", "memfd_create",
            "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "mseal", "msync", "munlock",
            "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
        ],
    },
    Group {
        reason: "processes, threads and scheduling within the instance",
        answer: Answer::Allow,
        calls: &[
            "arch_prctl", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_wait",
            "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getpgid", "getpgrp", "getpid", "getppid",
            "getpriority", "getrlimit", "getrusage", "getsid", "gettid", "ioprio_get", "ioprio_set", "kill",
            "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "process_mrelease", "restart_syscall", "rseq",
            "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
            "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity", "sched_setattr",
            "sched_setparam", "sched_setscheduler", "sched_yield", "set_robust_list", "set_tid_address", "setpgid",
            "setpriority", "setrlimit", "setsid", "sysinfo", "tgkill", "times", "tkill", "uname", "vfork", "wait4",
            "waitid",
        ],
    },
    Group {
        reason: "signals",
        answer: Answer::Allow,
        calls: &[
            "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
            "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack",
        ],
    },
    Group {
        reason: "ids and self-restriction: the kernel refuses what a process without capabilities may not",
        answer: Answer::Allow,
        calls: &[
            "capget", "capset", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid",
            "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lsm_get_self_attr",
            "lsm_list_modules", "seccomp", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid",
            "setresuid", "setreuid", "setuid",
        ],
    },
    Group {
        reason: "time; setting it needs a capability, and adjtimex and clock_adjtime can also read",
        answer: Answer::Allow,
        calls: &[
            "adjtimex", "alarm", "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer",
            "gettimeofday", "nanosleep", "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun",
            "timer_gettime", "timer_settime",
        ],
    },
    Group {
        reason: "sockets once made",
        answer: Answer::Allow,
        calls: &[
            "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
            "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
        ],
    },
    Group {
        reason: "System V and POSIX IPC: the namespace isolates it, the memory is charged",
        answer: Answer::Allow,
        calls: &[
            "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl",
            "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt",
            "shmget",
        ],
    },
    Group {
        reason: "random numbers",
        answer: Answer::Allow,
        calls: &["getrandom"],
    },
    Group {
        reason: "mounts and roots",
        answer: EPERM,
        calls: &[
            "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "listmount", "mount", "mount_setattr", "move_mount",
            "open_tree", "open_tree_attr", "pivot_root", "quotactl", "quotactl_fd", "statmount", "swapoff", "swapon",
            "sysfs", "umount2", "ustat",
        ],
    },
    Group {
        reason: "namespaces",
        answer: EPERM,
        calls: &["setns", "unshare"],
    },
    Group {
        reason: "its flags are in memory, where a filter cannot look; libraries fall back to clone",
        answer: ENOSYS,
        calls: &["clone3"],
    },
    Group {
        reason: "kernel code, devices and power",
        answer: EPERM,
        calls: &[
            "acct", "bpf", "create_module", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
            "kexec_file_load", "kexec_load", "reboot", "vhangup",
        ],
    },
    Group {
        reason: "looking into other processes and the kernel",
        answer: EPERM,
        calls: &[
            "fanotify_init", "fanotify_mark", "kcmp", "lookup_dcookie", "perf_event_open", "process_vm_readv",
            "process_vm_writev", "ptrace", "syslog",
        ],
    },
    Group {
        reason: "the same, with a fallback",
        answer: ENOSYS,
        calls: &["pidfd_getfd", "process_madvise"],
    },
    Group {
        reason: "files by handle, which pass by every mount",
        answer: EPERM,
        calls: &["name_to_handle_at", "open_by_handle_at"],
    },
    Group {
        reason: "rarely needed, often broken, and programs do without",
        answer: ENOSYS,
        calls: &[
            "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "io_uring_enter",
            "io_uring_register", "io_uring_setup", "memfd_secret", "modify_ldt", "nfsservctl", "remap_file_pages",
            "userfaultfd", "uselib",
        ],
    },
    Group {
        reason: "writes into the page cache of others have come through it",
        answer: EPERM,
        calls: &["vmsplice"],
    },
    Group {
        reason: "keys are shared beyond namespaces",
        answer: EPERM,
        calls: &["add_key", "keyctl", "request_key"],
    },
    Group {
        reason: "clocks and names of the host",
        answer: EPERM,
        calls: &["clock_settime", "setdomainname", "sethostname", "settimeofday"],
    },
    Group {
        reason: "placement of memory",
        answer: EPERM,
        calls: &["mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node"],
    },
    Group {
        reason: "flushes every file system of the host",
        answer: Answer::Pretend,
        calls: &["sync", "syncfs"],
    },
    Group {
        reason: "attributes for the platform to set, not for functions",
        answer: EPERM,
        calls: &["file_setattr", "lsm_set_self_attr"],
    },
    Group {
        reason: "the kernel itself has none of these any more",
        answer: ENOSYS,
        calls: &[
            "_sysctl", "afs_syscall", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms", "get_thread_area",
            "getpmsg", "putpmsg", "query_module", "security", "set_thread_area", "tuxcall", "vserver",
        ],
    },
];

/// Source: `CLONE_NEW*` in Linux `include/uapi/linux/sched.h`: TIME, NS, CGROUP, UTS, IPC, USER, PID, NET.
const NEW_NAMESPACES: u32 =
    0x80 | 0x2_0000 | 0x200_0000 | 0x400_0000 | 0x800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

// Source: `include/linux/socket.h`, `include/uapi/linux/in.h`, `include/linux/net.h`.
const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const NETLINK: u32 = 16;
/// The part of a socket's type that is no flag.
const TYPE: u32 = 0xf;
const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;

/// Calls whose answer depends on their arguments.
pub(super) const RULES: &[Rule] = &[
    Rule {
        call: "clone",
        clauses: &[Clause {
            tests: &[Test::HasAny {
                argument: 0,
                bits: NEW_NAMESPACES,
            }],
            answer: EPERM,
        }],
        otherwise: Answer::Allow,
    },
    Rule {
        call: "personality",
        // Linux, Linux calling itself 2.6, and asking which one it is. Never without address randomization.
        clauses: &[Clause {
            tests: &[Test::In {
                argument: 0,
                mask: ALL_BITS,
                values: &[0, 0x2_0000, 0xffff_ffff],
            }],
            answer: Answer::Allow,
        }],
        otherwise: EPERM,
    },
    Rule {
        call: "mknod",
        clauses: &[Clause {
            tests: &[DEVICE_MODE_1],
            answer: EPERM,
        }],
        otherwise: Answer::Allow,
    },
    Rule {
        call: "mknodat",
        clauses: &[Clause {
            tests: &[DEVICE_MODE_2],
            answer: EPERM,
        }],
        otherwise: Answer::Allow,
    },
    Rule {
        call: "ioctl",
        clauses: &[Clause {
            tests: &[Test::In {
                argument: 1,
                mask: ALL_BITS,
                values: &[
                    0x5412,      // TIOCSTI: types into the terminal
                    0x541c,      // TIOCLINUX
                    0x5423,      // TIOCSETD: loads line disciplines
                    0xc004_5877, // FIFREEZE
                    0xc004_5878, // FITHAW
                    0xc018_5879, // FITRIM
                    0x4080_6685, // FS_IOC_ENABLE_VERITY
                    0xc004_6686, // FS_IOC_MEASURE_VERITY
                    0xc028_6687, // FS_IOC_READ_VERITY_METADATA
                ],
            }],
            answer: EPERM,
        }],
        otherwise: Answer::Allow,
    },
    Rule {
        call: "socket",
        clauses: &[
            Clause {
                tests: &[Test::NotIn {
                    argument: 0,
                    mask: ALL_BITS,
                    values: &[UNIX, INET, INET6, NETLINK],
                }],
                answer: Answer::Fail(Errno::AFNOSUPPORT),
            },
            // Only routes, which listing one's own addresses needs.
            Clause {
                tests: &[
                    Test::In {
                        argument: 0,
                        mask: ALL_BITS,
                        values: &[NETLINK],
                    },
                    Test::NotIn {
                        argument: 2,
                        mask: ALL_BITS,
                        values: &[0],
                    },
                ],
                answer: Answer::Fail(Errno::PROTONOSUPPORT),
            },
            Clause {
                tests: &[
                    Test::In {
                        argument: 0,
                        mask: ALL_BITS,
                        values: &[INET, INET6],
                    },
                    Test::NotIn {
                        argument: 1,
                        mask: TYPE,
                        values: &[STREAM, DATAGRAM],
                    },
                ],
                answer: EPERM,
            },
            // Default, ICMP, TCP, UDP, ICMPv6. Not SCTP, DCCP, MPTCP; programs fall back to TCP.
            Clause {
                tests: &[
                    Test::In {
                        argument: 0,
                        mask: ALL_BITS,
                        values: &[INET, INET6],
                    },
                    Test::NotIn {
                        argument: 2,
                        mask: ALL_BITS,
                        values: &[0, 1, 6, 17, 58],
                    },
                ],
                answer: Answer::Fail(Errno::PROTONOSUPPORT),
            },
        ],
        otherwise: Answer::Allow,
    },
    Rule {
        call: "socketpair",
        clauses: &[Clause {
            tests: &[Test::In {
                argument: 0,
                mask: ALL_BITS,
                values: &[UNIX],
            }],
            answer: Answer::Allow,
        }],
        otherwise: Answer::Fail(Errno::AFNOSUPPORT),
    },
];

/// Block and character devices. FIFOs, sockets and regular files stay allowed.
const DEVICE_MODE_1: Test = Test::In {
    argument: 1,
    mask: 0o170_000,
    values: &[0o020_000, 0o060_000],
};
const DEVICE_MODE_2: Test = Test::In {
    argument: 2,
    mask: 0o170_000,
    values: &[0o020_000, 0o060_000],
};
