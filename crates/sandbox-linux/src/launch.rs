//! Starting the spawner: before the server has threads, and before anything else is set up.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{RecvFlags, SendFlags};

use serde::{Deserialize, Serialize};

use crate::channel;
use crate::protocol::{self, Answer, Configured, Order, Reply, Request, SPAWNER_ARGUMENT, words};
use crate::ready::Bounds;
use crate::uids;

/// Folder of the sandbox inside the state folder.
const FOLDER: &str = "sandbox";
/// Longest wait until the spawner is ready. It removes what an earlier one left, which may take seconds.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Attempts to find a block of user ids that no process has.
const BLOCK_ATTEMPTS: u64 = 16;

/// How much of `/proc` a function sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcView {
    /// All of it that tells nothing about the host or others: parts that runtimes read to size themselves are there, with
    /// the instance's own limits; the rest is hidden or cannot be changed.
    #[default]
    Compat,
    /// Its own processes, and nothing else. Programs that ask for processors or memory find none: Node.js then counts no
    /// processor and takes the host's memory for its own.
    Strict,
}

/// Networks that no function may reach, each with its length in bits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Denied {
    /// Of IPv4.
    pub v4: Vec<(Ipv4Addr, u8)>,
    /// Of IPv6.
    pub v6: Vec<(Ipv6Addr, u8)>,
}

/// A way out of cells that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatTold {
    /// Families and interfaces, for people.
    pub ways: String,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Chains of others in the host's packet filter that may refuse what cells send.
    pub closed: Vec<String>,
}

/// How to run sandboxes on this node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the node, which exists. Its path names the node: control groups, user ids, locks.
    pub state_dir: PathBuf,
    /// User ids set aside for instances on this host. Default: 1,000,000,000 up to 2,000,000,000.
    pub uids: Range<u32>,
    /// User ids of this node: the most instances and ready cells at once. Default 4096.
    pub uid_count: u32,
    /// Most cells kept ready. Default 8.
    pub ready_cells_max: usize,
    /// Most memory of cells kept ready, in MiB, by what a kind of cell usually takes. Default 512.
    pub ready_memory_mib: usize,
    /// What functions see of `/proc`. Default: [`ProcView::Compat`].
    pub proc_view: ProcView,
    /// Give cells a way out by translated addresses, to everything but this. Default: none, cells reach nothing.
    pub nat: Option<Denied>,
}

impl Options {
    /// The defaults for a node with this folder.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            uids: 1_000_000_000..2_000_000_000,
            uid_count: 4096,
            ready_cells_max: 8,
            ready_memory_mib: 512,
            proc_view: ProcView::default(),
            nat: None,
        }
    }
}

/// The spawner cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Namespaces, mounts and control groups need root.
    #[error("sandboxes need root, this process runs as user {0}")]
    NotRoot(u32),
    /// Another server has the folder.
    #[error("{0} is in use by another server")]
    InUse(PathBuf),
    /// User ids for instances belong to somebody.
    #[error("user ids {}-{} for instances are taken: {claim}", range.start, range.end)]
    Uids {
        /// The range.
        range: Range<u32>,
        /// The line that claims one of them, or what is wrong with the range.
        claim: String,
    },
    /// A file or folder of the node cannot be used.
    #[error("{action} {path}: {reason}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The spawner did not come up; its words.
    #[error("the spawner did not start: {0}")]
    Spawner(String),
}

/// The spawner process, ready for [`crate::LinuxSandbox::attach`]. When this is dropped, it ends.
#[derive(Debug)]
pub struct Spawner {
    pub(crate) socket: OwnedFd,
    pub(crate) process: Child,
    pub(crate) uids: Range<u32>,
    pub(crate) ready: Bounds,
    /// Held as long as the server lives.
    pub(crate) lock: File,
    /// What an earlier server left behind and was removed: cells.
    pub swept: usize,
    /// The control groups in use, for people.
    pub groups: String,
    /// The way out of cells, or why this host has none; `None` if it was not asked for.
    pub nat: Option<Result<NatTold, String>>,
}

impl Spawner {
    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Starts the spawner, which removes what an earlier one of the same folder has left. Blocks until it is ready. To be
/// called before this process has other threads; [`crate::spawner::maybe_run`] must have been called in `main` before.
///
/// # Errors
/// [`LaunchError`].
pub fn launch(options: &Options) -> Result<Spawner, LaunchError> {
    let user = rustix::process::geteuid();
    if !user.is_root() {
        return Err(LaunchError::NotRoot(user.as_raw()));
    }
    let at = |action, path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| LaunchError::File {
            action,
            path,
            reason: error.to_string(),
        }
    };
    let state_dir = options
        .state_dir
        .canonicalize()
        .map_err(at("find", &options.state_dir))?;
    let folder = state_dir.join(FOLDER);
    match rustix::fs::mkdir(&folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(at("make", &folder)(errno.into())),
    }
    let mut lock = take_lock(&folder.join("server.lock"))?;
    let hash = fnv(state_dir.as_os_str().as_encoded_bytes());
    // For people and tools that look for what belongs to this node.
    let name = folder.join("group");
    std::fs::write(&name, format!("sonagi-{hash:016x}\n")).map_err(at("write", &name))?;
    let (socket, process) = start_process().map_err(|error| LaunchError::Spawner(error.to_string()))?;
    let order = Order::Configure {
        folder: folder.clone(),
        node: format!("{hash:016x}"),
        proc_view: options.proc_view,
        nat: options.nat.clone(),
    };
    let Configured { swept, groups, nat } = configure(&socket, order)?;
    let uids = choose_uids(options, hash, &mut lock).map_err(|error| match error {
        UidError::Io(error) => at("use", &folder.join("server.lock"))(error),
        UidError::Taken(range, claim) => LaunchError::Uids { range, claim },
    })?;
    Ok(Spawner {
        socket,
        process,
        uids,
        ready: Bounds {
            cells: options.ready_cells_max,
            memory_mib: options.ready_memory_mib,
        },
        lock,
        swept,
        groups,
        nat,
    })
}

/// FNV-1a, 64 bits: a short name for a path that stays the same in every version.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn take_lock(path: &Path) -> Result<File, LaunchError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let failed = |errno: Errno| LaunchError::File {
        action: "lock",
        path: path.to_path_buf(),
        reason: words(errno),
    };
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(File::from(file)),
        Err(Errno::AGAIN) => Err(LaunchError::InUse(path.to_path_buf())),
        Err(errno) => Err(failed(errno)),
    }
}

/// Runs this executable again. Its socket is its standard input.
fn start_process() -> std::io::Result<(OwnedFd, Child)> {
    let (ours, theirs) = channel::pair()?;
    channel::make_room(ours.as_fd())?;
    let process = Command::new("/proc/self/exe")
        .arg0("sonagi")
        .arg(SPAWNER_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    Ok((ours, process))
}

fn configure(socket: &OwnedFd, order: Order) -> Result<Configured, LaunchError> {
    let failed = |errno: Errno| LaunchError::Spawner(words(errno));
    let request = Request { id: 1, order };
    protocol::send(socket.as_fd(), &request, &[], SendFlags::empty()).map_err(failed)?;
    let mut buffer = vec![0; channel::MESSAGE_MAX];
    rustix::net::sockopt::set_socket_timeout(socket, Timeout::Recv, Some(START_LIMIT)).map_err(failed)?;
    let length = channel::receive(socket.as_fd(), &mut buffer, RecvFlags::empty())
        .map_err(failed)?
        .length;
    rustix::net::sockopt::set_socket_timeout(socket, Timeout::Recv, None).map_err(failed)?;
    if length == 0 {
        return Err(LaunchError::Spawner(
            "it ended; is it this executable that runs first?".to_owned(),
        ));
    }
    let reply: Reply =
        serde_json::from_slice(&buffer[..length]).map_err(|error| LaunchError::Spawner(error.to_string()))?;
    match reply.answer {
        Answer::Configured(configured) => Ok(configured),
        Answer::Failed(failure) => Err(LaunchError::Spawner(failure.to_string())),
        Answer::Prepared { .. } | Answer::Started | Answer::Destroyed | Answer::Retired => {
            Err(LaunchError::Spawner("it gave a wrong answer".to_owned()))
        }
    }
}

enum UidError {
    Io(std::io::Error),
    Taken(Range<u32>, String),
}

impl From<std::io::Error> for UidError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// The block of user ids of this node, which it keeps in its lock file: the first of its places that no process has.
fn choose_uids(options: &Options, hash: u64, lock: &mut File) -> Result<Range<u32>, UidError> {
    let (passwd, subuid) = (read_or_empty("/etc/passwd")?, read_or_empty("/etc/subuid")?);
    if let Some(claim) = uids::claimed(&options.uids, &passwd, &subuid) {
        return Err(UidError::Taken(options.uids.clone(), claim.to_owned()));
    }
    let used = users_of_processes()?;
    let mut last = options.uids.clone();
    let recorded = recorded(lock, options)?;
    let derived = (0..BLOCK_ATTEMPTS).filter_map(|n| uids::block(&options.uids, options.uid_count, hash, n));
    for block in recorded.into_iter().chain(derived) {
        if !used.iter().any(|uid| block.contains(uid)) {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{} {}", block.start, block.end)?;
            return Ok(block);
        }
        last = block;
    }
    Err(UidError::Taken(
        last,
        "no block of them is free of running processes".to_owned(),
    ))
}

/// The block that the lock file names, if it fits the options.
fn recorded(lock: &mut File, options: &Options) -> std::io::Result<Option<Range<u32>>> {
    let mut text = String::new();
    lock.take(64).read_to_string(&mut text)?;
    let mut numbers = text.split_whitespace().map_while(|number| number.parse::<u32>().ok());
    let (Some(start), Some(end)) = (numbers.next(), numbers.next()) else {
        return Ok(None);
    };
    let fits =
        end.checked_sub(start) == Some(options.uid_count) && options.uids.start <= start && end <= options.uids.end;
    Ok(fits.then_some(start..end))
}

fn read_or_empty(path: &str) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// Effective users of all processes. Those that end while we look do not matter.
fn users_of_processes() -> std::io::Result<Vec<u32>> {
    let user = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let mut users = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("status");
        users.extend(std::fs::read_to_string(path).ok().and_then(user));
    }
    users.sort_unstable();
    users.dedup();
    Ok(users)
}
