//! Isolation of one instance.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sonagi_model::{Exit, InstanceId, InstanceLimits, Mebibytes, Outside};

/// A folder or file of the host, shown read-only inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mount {
    /// On the host. Chosen by the platform, never by a user.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: String,
    /// Whether files in it may be executed or mapped executable.
    pub executable: bool,
}

/// A language runtime that is booted in a cell ahead of demand and waits to be told what to run. Nothing of a tenant is in
/// it, so it can serve any launch that names it, once.
///
/// It is executed with the channel as descriptor 3. When it is ready it writes the one byte `R` there, then waits for
/// the launch: a length in bytes (32 bits, little-endian), then that many bytes, strings with a NUL after each: the
/// working directory, the number of arguments in decimal, the program and its arguments, then variables as
/// `NAME=value`. From then on the channel is the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stem {
    /// Program and arguments; the first is an absolute path inside.
    pub program: Vec<String>,
    /// The whole environment until the launch.
    pub environment: Vec<(String, String)>,
    /// Whether it can be a zygote: booted once for all cells of its kind, and forked into each. It is one if the variable
    /// [`ZYGOTE_VARIABLE`] is set, the path of a shared library with `int sonagi_branch(void (*)(void), void (*)(void),
    /// void (*)(void))`, which it calls, from its only thread, when it has booted: with what is to be called before each
    /// fork, after it in the zygote, and after it in the new process. The call returns 0 in each new process, where
    /// everything is then as in a stem that was executed; otherwise it returns an error number.
    pub forks: bool,
}

/// Tells a stem that it is to be a zygote; see [`Stem::forks`].
pub const ZYGOTE_VARIABLE: &str = "SONAGI_ZYGOTE";

/// What a cell is made with: launches with the same kind can use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CellKind {
    /// Read-only mounts of the runtime.
    pub mounts: Vec<Mount>,
    /// What is booted in it ahead of demand.
    pub stem: Option<Stem>,
    /// What it reaches outside, as far as the sandbox has a way there.
    pub outside: Outside,
}

/// Everything that a sandbox needs to start one instance.
#[derive(Debug, Clone)]
pub struct LaunchPlan {
    /// The instance.
    pub instance: InstanceId,
    /// The cell it fits in. Its mounts are beyond those that every sandbox has. If its stem is ready it is told to run
    /// the program; otherwise the program is executed.
    pub cell: CellKind,
    /// The verified code tree.
    pub code: Mount,
    /// Program and arguments; the first is an absolute path inside.
    pub program: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Absolute path inside.
    pub working_directory: String,
    /// TCP ports on the loopback address of the instance's own network namespace whose listeners the platform serves.
    pub listeners: Vec<u16>,
    /// UDP ports there whose sockets the platform serves.
    pub sockets: Vec<u16>,
    /// Whether the program is connected to the platform by a Unix stream socket, its descriptor 3.
    pub channel: bool,
    /// Whether the platform meets the program in its `/tmp` (a socket that it makes there, say).
    pub meets_in_scratch: bool,
    /// What it may use.
    pub limits: InstanceLimits,
}

/// How far something is that is kept ready for instances to come: the lower levels of the ladder of readiness. The
/// upper ones, an instance that is loaded, idle or busy, are the pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// A cell: everything of an instance but a runtime.
    Cell,
    /// A cell with a runtime that waits to be told what to run.
    Stem,
}

impl Prepared {
    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Stem => "stem",
        }
    }
}

/// How many of one level are ready, and how they served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Ready now.
    pub ready: usize,
    /// To be kept ready now.
    pub wanted: usize,
    /// Starts that found one.
    pub hits: u64,
    /// Starts that found none.
    pub misses: u64,
    /// Made ahead of demand.
    pub made: u64,
    /// Failed to be made.
    pub failed: u64,
    /// Time that making them took, all together.
    pub making: Duration,
}

/// A started instance, as the sandbox hands it over.
#[derive(Debug)]
pub struct Started {
    /// The handle.
    pub sandbox: Arc<dyn RunningSandbox>,
    /// The listeners, in the order of the plan, non-blocking.
    pub listeners: Vec<TcpListener>,
    /// The UDP sockets, in the order of the plan, non-blocking.
    pub sockets: Vec<UdpSocket>,
    /// Our end of the channel if the plan asks for one, non-blocking.
    pub channel: Option<UnixStream>,
    /// The instance's `/tmp` if the plan asks for it, to look up names below it. Whatever is in there is the function's:
    /// no link in it may be followed. While this is open the space is not given back.
    pub scratch: Option<OwnedFd>,
    /// Reading end of the one pipe behind standard output and standard error, non-blocking.
    pub output: OwnedFd,
    /// Time to get or make the cell: namespaces, control groups, mounts.
    pub cell: Duration,
    /// Time from the cell to the started process.
    pub process: Duration,
}

/// A sandbox could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The function's program cannot be executed (missing, not executable, wrong format); text for the function's owner.
    #[error("cannot execute {program}: {reason}")]
    Program {
        /// The path inside.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// The host has no room: process table, uids, memory.
    #[error("the host has no room for another instance: {0}")]
    NoRoom(String),
    /// Something the platform needs failed; text for operators.
    #[error("{action}: {reason}")]
    Host {
        /// What was tried.
        action: &'static str,
        /// The system's words.
        reason: String,
    },
    /// The sandbox service is stopping.
    #[error("the sandbox service is stopping")]
    Stopping,
}

/// Makes instances.
#[async_trait]
pub trait Sandbox: Send + Sync + std::fmt::Debug {
    /// Starts one instance. If the future is dropped, whatever was made is removed.
    ///
    /// # Errors
    /// [`SandboxError`].
    async fn start(&self, plan: LaunchPlan) -> Result<Started, SandboxError>;

    /// Prepares to start instances in cells of this kind soon. A hint: may do nothing.
    fn expect(&self, kind: &CellKind, cells: usize);

    /// How the levels stand that are prepared ahead of demand; none where nothing is.
    fn readiness(&self) -> Vec<(Prepared, Readiness)> {
        Vec::new()
    }

    /// Instances that are not entirely gone.
    fn alive(&self) -> usize;

    /// Ends and removes every instance; returns when nothing is left, or with the number that would not go.
    async fn shut_down(&self) -> usize;
}

/// One live instance. Dropping the handle does not end it: [`RunningSandbox::destroy`] does.
#[async_trait]
pub trait RunningSandbox: Send + Sync + std::fmt::Debug {
    /// Stops all its processes from running. Blocks for tens of microseconds. Freezing a frozen one does nothing.
    ///
    /// # Errors
    /// [`SandboxError::Host`].
    fn freeze(&self) -> Result<(), SandboxError>;

    /// Lets its processes run again. Blocks for tens of microseconds.
    ///
    /// # Errors
    /// [`SandboxError::Host`].
    fn thaw(&self) -> Result<(), SandboxError>;

    /// Initialization is over: from now on the CPU cap holds, if there is one.
    fn initialized(&self);

    /// Waits until its first process has ended, and says how. Any number of tasks may wait; cancel safe.
    async fn exited(&self) -> Exit;

    /// The highest memory it has used, as of now or a few milliseconds ago. Asked for after every event: at most a single
    /// system call.
    fn memory_peak(&self) -> Mebibytes;

    /// Ends every process of it, frozen or not, and removes everything that it had. Returns when nothing is left.
    /// Calling it again waits for the same end.
    async fn destroy(&self);
}
