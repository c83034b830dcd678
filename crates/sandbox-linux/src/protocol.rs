//! What the server and the spawner say to each other.
//!
//! Each message is one JSON document in one packet of at most [`crate::channel::MESSAGE_MAX`] bytes. Both ends are the
//! same executable, so there is no version. Descriptors come along in the order that each variant names.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};
use sonagi_model::InstanceLimits;
use sonagi_ports::{CellKind, Mount, SandboxError};

use crate::channel;
use crate::launch::{Denied, NatTold, ProcView};
use crate::wire::Step;

/// First argument of the spawner process.
pub(crate) const SPAWNER_ARGUMENT: &str = "__spawner";

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// From 1; repeated in the reply.
    pub(crate) id: u64,
    pub(crate) order: Order,
}

/// What the spawner is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first order, once.
    Configure {
        /// Folder of the spawner, which exists.
        folder: PathBuf,
        /// Name of this node's control groups.
        node: String,
        /// What functions see of `/proc`.
        proc_view: ProcView,
        /// Whether cells are to have a way out, and what is not reached by it.
        nat: Option<Denied>,
    },
    /// Make a cell.
    Prepare {
        cell: u64,
        uid: u32,
        kind: CellKind,
        when: When,
    },
    /// No more cells of this kind are expected: what was booted for all of them may go.
    Retire { kind: CellKind },
    /// Start a program in a cell that is ready.
    Start(StartOrder),
    /// End a cell and remove everything of it. Of an unknown cell nothing is left already.
    Destroy { cell: u64 },
}

/// Why a cell is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    /// Somebody will need it.
    Ahead,
    /// Somebody waits for it.
    OnDemand,
}

/// What to start where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartOrder {
    pub(crate) cell: u64,
    pub(crate) code: Mount,
    pub(crate) program: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: String,
    pub(crate) listeners: Vec<u16>,
    /// UDP ports.
    pub(crate) sockets: Vec<u16>,
    pub(crate) channel: bool,
    pub(crate) limits: InstanceLimits,
}

/// From the spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) answer: Answer,
}

/// What a spawner says when it is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Configured {
    /// Cells of an earlier process that were removed.
    pub(crate) swept: usize,
    /// The control groups in use, for people.
    pub(crate) groups: String,
    /// The way out of cells, or why there is none, if one was asked for.
    pub(crate) nat: Option<Result<NatTold, String>>,
}

/// What came of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Ready for orders.
    Configured(Configured),
    /// The cell is being made; the init says on the control socket when it is ready. Descriptors: control socket, the
    /// stem's socket, the channel, output if a stem is booted, those of the group.
    Prepared {
        /// Whether a stem is booted in it.
        booted: bool,
    },
    /// The start message is with the stem, which says on its socket what becomes of it; or the cell is filled and its
    /// booted stem may be told what to run. Descriptors: scratch mount, output unless a stem was booted, listeners, UDP sockets.
    Started,
    /// Nothing is left of the cell.
    Destroyed,
    /// It is or will be gone.
    Retired,
    /// It could not be done. A cell that could not be made is gone; one in which nothing could be started has to be
    /// destroyed.
    Failed(Failure),
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// [`Step::number`].
    step: u32,
    /// The system's error number.
    errno: i32,
    /// On what; may be empty.
    detail: String,
}

impl Failure {
    pub(crate) fn new(step: Step, errno: Errno, detail: impl Into<String>) -> Self {
        Self {
            step: step.number(),
            errno: errno.raw_os_error(),
            detail: detail.into(),
        }
    }

    /// As a report told it.
    pub(crate) fn reported(step: Step, errno: i32, detail: &[u8]) -> Self {
        Self {
            step: step.number(),
            errno,
            detail: String::from_utf8_lossy(detail).into_owned(),
        }
    }

    pub(crate) fn step(&self) -> Step {
        Step::of_number(self.step).unwrap_or(Step::Arguments)
    }

    pub(crate) fn errno(&self) -> Errno {
        Errno::from_raw_os_error(self.errno)
    }

    /// On what it failed, shortened to the room that a report has.
    pub(crate) fn detail(&self) -> &[u8] {
        let detail = self.detail.as_bytes();
        &detail[..detail.len().min(crate::wire::DETAIL_MAX)]
    }

    /// The failure as the port has it; `program` is what was to be started.
    pub(crate) fn into_error(self, program: &str) -> SandboxError {
        let reason = if self.detail.is_empty() {
            words(self.errno())
        } else {
            format!("{}: {}", self.detail, words(self.errno()))
        };
        match (self.step(), self.errno()) {
            (
                Step::Execute,
                Errno::NOENT
                | Errno::ACCESS
                | Errno::PERM
                | Errno::NOEXEC
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::TOOBIG
                | Errno::LIBBAD
                | Errno::TXTBSY
                | Errno::INVAL,
            ) => SandboxError::Program {
                program: program.to_owned(),
                reason,
            },
            (Step::WorkingDirectory, _) => SandboxError::Program {
                program: program.to_owned(),
                reason: format!("working directory: {reason}"),
            },
            (
                step,
                Errno::NOMEM | Errno::AGAIN | Errno::NFILE | Errno::MFILE | Errno::NOSPC | Errno::USERS | Errno::NOBUFS,
            ) => SandboxError::NoRoom(format!("{}: {reason}", step.text())),
            (step, _) => SandboxError::Host {
                action: step.text(),
                reason,
            },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.step().text())?;
        if !self.detail.is_empty() {
            write!(f, "{}: ", self.detail)?;
        }
        f.write_str(&words(self.errno()))
    }
}

/// The system's words for an error number, without the number.
pub(crate) fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Names the step that an error number belongs to.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
    fn at_path(self, step: Step, what: impl AsRef<std::path::Path>) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno, ""))
    }

    fn at_path(self, step: Step, what: impl AsRef<std::path::Path>) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno, what.as_ref().display().to_string()))
    }
}

/// Sends one message.
///
/// # Errors
/// As [`channel::send`]; `EMSGSIZE` also when the message cannot be written as JSON.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::MSGSIZE)?;
    channel::send(socket, &bytes, descriptors, flags)
}

/// A reply with its descriptors.
pub(crate) type Delivery = (Answer, Vec<OwnedFd>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_to_whom_they_concern() {
        let error = |step, errno| Failure::new(step, errno, "").into_error("/bin/x");
        let texts = [
            (
                error(Step::Execute, Errno::NOENT),
                "cannot execute /bin/x: No such file or directory",
            ),
            (
                error(Step::Execute, Errno::NOEXEC),
                "cannot execute /bin/x: Exec format error",
            ),
            (
                error(Step::WorkingDirectory, Errno::NOENT),
                "cannot execute /bin/x: working directory: No such file or directory",
            ),
            (
                error(Step::Clone, Errno::AGAIN),
                "the host has no room for another instance: make namespaces: Resource temporarily unavailable",
            ),
            (error(Step::Proc, Errno::PERM), "mount /proc: Operation not permitted"),
        ];
        for (error, text) in texts {
            assert_eq!(error.to_string(), text);
        }
        let named = Failure::new(Step::Mounts, Errno::NOENT, "/opt/x").into_error("/bin/x");
        assert_eq!(named.to_string(), "show the runtime: /opt/x: No such file or directory");
    }
}
