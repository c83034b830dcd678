//! What the spawner, its children, the init of a cell and the server say to each other about one cell: fixed-size
//! reports, and the one message that starts a program.
//!
//! Compiled twice: into this crate, and into the `no_std` init. Both are always of the same build, so there is no
//! version in it.

#![allow(dead_code, reason = "each side uses its half")]

/// Descriptor of the control socket in the init: reports of [`Kind::Ready`], [`Kind::Exited`], [`Kind::Killed`].
pub const CONTROL_FD: i32 = 3;
/// Descriptor of the socket on which the stem waits for its start message.
pub const STEM_FD: i32 = 4;
/// Descriptor of the file that holds the seccomp program.
pub const FILTER_FD: i32 = 5;

/// Descriptor of the channel in the stem, until it executes the program.
pub const CHANNEL_FD: i32 = 6;
/// Descriptor of the channel in the program, if it gets one.
pub const PROGRAM_CHANNEL_FD: i32 = 3;

/// Descriptors of a zygote: where it hears what to branch into, and as in the init; then those of its library.
pub const ZYGOTE_CONTROL_FD: i32 = 3;
/// Descriptor of the file that holds the seccomp program, in a zygote.
pub const ZYGOTE_FILTER_FD: i32 = 4;
/// Descriptor of the library by which a zygote branches.
pub const ZYGOTE_LIBRARY_FD: i32 = 5;

/// Largest start message. The kernel's own limit is larger; this one keeps the stem's buffer small.
pub const START_MESSAGE_MAX: usize = 160 * 1024;
/// Most arguments and variables of one program together.
pub const STRINGS_MAX: usize = 8192;
/// Most instructions of a seccomp program. Source: `BPF_MAXINSNS` in Linux `include/uapi/linux/bpf_common.h`.
pub const FILTER_MAX: usize = 4096;

/// Bytes of a report. Text may follow it that says on what a step failed.
pub const REPORT_LEN: usize = 12;
/// Longest text after a report.
pub const DETAIL_MAX: usize = 256;

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The cell waits for a program.
    Ready,
    /// The program's first process exited; the value is its status.
    Exited,
    /// A signal ended the program's first process; the value is its number.
    Killed,
    /// The stem is about to execute the program: what follows is the end of its socket, or [`Kind::Failed`].
    Executing,
    /// A step failed; the value is the error number.
    Failed,
}

impl Step {
    /// Its number, for messages.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The step of this number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

impl Kind {
    const ALL: [Self; 5] = [Self::Ready, Self::Exited, Self::Killed, Self::Executing, Self::Failed];
}

macro_rules! steps {
    ($($name:ident: $text:literal,)*) => {
        /// A step on the way from nothing to a running program.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step {
            $(#[doc = $text] $name,)*
        }

        impl Step {
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// The step in words, to be followed by what went wrong.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

steps! {
    Groups: "make control groups",
    Limits: "set limits",
    Clone: "make namespaces",
    ParentGone: "find the spawner alive",
    Private: "make mounts private",
    Root: "make the root",
    Folders: "make the folders of the root",
    Files: "make the files of the root",
    Devices: "show devices",
    Mounts: "show the runtime",
    Proc: "mount /proc",
    ProcMasks: "mask parts of /proc",
    SharedMemory: "mount /dev/shm",
    Pivot: "enter the root",
    Hostname: "set the host name",
    Loopback: "bring the loopback interface up",
    Network: "connect the cell to the network",
    JoinGroups: "join control groups",
    GroupNamespace: "make a control group namespace",
    Descriptors: "place descriptors",
    ExecInit: "execute the init",
    Arguments: "read the arguments of the init",
    Filter: "read the system call filter",
    Fork: "fork the stem",
    Sockets: "make sockets",
    Session: "start a session",
    DropGroups: "drop groups",
    HostIds: "take the ids of the instance",
    UserNamespace: "make a user namespace",
    IdMaps: "map ids",
    InnerIds: "take the ids inside",
    Capabilities: "drop capabilities",
    Privileges: "set no_new_privs",
    Landlock: "restrict the use of files",
    ParentDeath: "set the parent death signal",
    Limit: "set a resource limit",
    LoadFilter: "load the system call filter",
    Receive: "receive the start message",
    Output: "connect the output",
    CloseDescriptors: "close descriptors",
    WorkingDirectory: "enter the working directory",
    Execute: "execute the program",
    Code: "open the code tree",
    Scratch: "make the scratch space",
    EnterMounts: "enter the mounts of the cell",
    PlaceCode: "show the code tree",
    EnterNetwork: "enter the network of the cell",
    Listen: "listen inside the cell",
    Pipe: "make the output pipe",
    Send: "send the start message",
    MemoryFile: "show the memory limit",
    EnterNamespaces: "enter the namespaces of the cell",
    Thread: "find the thread's own record",
    Branch: "fork a zygote",
}

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What it says.
    pub kind: Kind,
    /// At which step.
    pub step: Step,
    /// Status, signal or error number.
    pub value: i32,
}

impl Report {
    /// A step failed with this error number.
    #[must_use]
    pub const fn failed(step: Step, errno: i32) -> Self {
        Self {
            kind: Kind::Failed,
            step,
            value: errno,
        }
    }

    /// The bytes sent.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; REPORT_LEN] {
        let kind = (self.kind as u32).to_ne_bytes();
        let step = self.step.number().to_ne_bytes();
        let value = self.value.to_ne_bytes();
        let mut bytes = [0; REPORT_LEN];
        let mut i = 0;
        while i < 4 {
            bytes[i] = kind[i];
            bytes[4 + i] = step[i];
            bytes[8 + i] = value[i];
            i += 1;
        }
        bytes
    }

    /// The report at the beginning of these bytes; `None` when they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<REPORT_LEN>()?;
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let kind = *Kind::ALL.get(u32::from_ne_bytes(word(0)) as usize)?;
        let step = Step::of_number(u32::from_ne_bytes(word(4)))?;
        Some(Self {
            kind,
            step,
            value: i32::from_ne_bytes(word(8)),
        })
    }
}

/// Bytes before the strings of a start message.
pub const START_HEADER_LEN: usize = 40;

/// The numbers of a start message. After them come strings, each with a NUL at its end: the working directory, the
/// program and its arguments, then the variables. One descriptor comes along: standard output and error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartHeader {
    /// Program and arguments.
    pub arguments: u32,
    /// Variables.
    pub variables: u32,
    /// `RLIMIT_NOFILE`.
    pub descriptors: u64,
    /// `RLIMIT_NPROC`.
    pub processes: u64,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_size: u64,
    /// 1 if the program gets the channel, else 0.
    pub channel: u64,
}

impl StartHeader {
    /// The bytes sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; START_HEADER_LEN] {
        let mut bytes = [0; START_HEADER_LEN];
        bytes[..4].copy_from_slice(&self.arguments.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.variables.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.descriptors.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.processes.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.file_size.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.channel.to_ne_bytes());
        bytes
    }

    /// The header at the beginning of a message, and the strings after it.
    #[must_use]
    pub fn split(message: &[u8]) -> Option<(Self, &[u8])> {
        let (header, strings) = message.split_first_chunk::<START_HEADER_LEN>()?;
        let (small, large) = header.split_first_chunk::<8>()?;
        let word = |at: usize| u32::from_ne_bytes([small[at], small[at + 1], small[at + 2], small[at + 3]]);
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&large[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        let header = Self {
            arguments: word(0),
            variables: word(4),
            descriptors: long(0),
            processes: long(8),
            file_size: long(16),
            channel: long(24),
        };
        Some((header, strings))
    }
}

/// Bytes of a request to a zygote.
pub const BRANCH_LEN: usize = 48;
/// Descriptors that come with a request before the doors of the groups: the init of the cell, its user namespace, the
/// output, the channel.
pub const BRANCH_FDS: usize = 4;

/// What a zygote is told to fork a process for. The answer is a report: [`Kind::Ready`] with a descriptor of the process,
/// or [`Kind::Failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// User and group on the host.
    pub host: u32,
    /// User inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Whether the last descriptor is a folder of the v2 tree, in which the process is to be born.
    pub born: u32,
    /// `RLIMIT_NOFILE`.
    pub descriptors: u64,
    /// `RLIMIT_NPROC`.
    pub processes: u64,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_size: u64,
}

impl Branch {
    /// The bytes sent.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BRANCH_LEN] {
        let mut bytes = [0; BRANCH_LEN];
        for (at, word) in [self.host, self.uid, self.gid, self.born].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_ne_bytes());
        }
        let long = [self.descriptors, self.processes, self.file_size];
        for (at, word) in long.into_iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// From the bytes received.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<BRANCH_LEN>()?;
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at * 4..at * 4 + 4]);
            u32::from_ne_bytes(word)
        };
        let long = |at: usize| {
            let mut long = [0; 8];
            long.copy_from_slice(&bytes[16 + at * 8..24 + at * 8]);
            u64::from_ne_bytes(long)
        };
        Some(Self {
            host: word(0),
            uid: word(1),
            gid: word(2),
            born: word(3),
            descriptors: long(0),
            processes: long(1),
            file_size: long(2),
        })
    }
}
