//! A cell as the server holds it, until a program runs in it.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use sonagi_ports::{CellKind, LaunchPlan, SandboxError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use crate::cgroup::GroupHandle;
use crate::channel::{self, Received};
use crate::protocol::{Answer, Delivery, Failure, Order, StartOrder, When, words};
use crate::sandbox::{Alive, Inner};
use crate::sys::reactor;
use crate::wire::{DETAIL_MAX, Kind, REPORT_LEN, Report, Step};

/// Longest wait until nothing is left of a cell.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait until a new cell is ready. It takes milliseconds; this is for a host that does nothing any more.
const PREPARE_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait until a stem has read what it is to run.
const TELL_LIMIT: Duration = Duration::from_secs(5);

/// The right to a cell and its user id. Dropping it removes the cell, in the background.
#[derive(Debug)]
pub(crate) struct Claim {
    inner: Arc<Inner>,
    cell: u64,
    uid: u32,
    group: Option<GroupHandle>,
    alive: Option<Alive>,
    removed: CancellationToken,
}

impl Claim {
    pub(crate) fn number(&self) -> u64 {
        self.cell
    }

    /// Cancelled when the cell was removed, or would not go in time.
    pub(crate) fn removed(&self) -> CancellationToken {
        self.removed.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let leaving = Leaving {
            inner: Arc::clone(&self.inner),
            cell: self.cell,
            uid: self.uid,
            group: self.group.take(),
            alive: self.alive.take(),
            removed: self.removed.clone(),
        };
        self.inner.in_background(leaving.remove());
    }
}

/// A cell on its way out.
struct Leaving {
    inner: Arc<Inner>,
    cell: u64,
    uid: u32,
    group: Option<GroupHandle>,
    alive: Option<Alive>,
    removed: CancellationToken,
}

impl Leaving {
    /// Removes the cell. Its user id is used again only when nothing of it is left; after [`END_LIMIT`] that is an error
    /// in the log.
    async fn remove(self) {
        let gone = tokio::time::timeout(END_LIMIT, self.end()).await == Ok(true);
        self.inner.forget(self.cell);
        if gone {
            self.inner.uids.lock().give_back(self.uid);
            drop(self.alive);
        } else {
            tracing::error!(
                cell = self.cell,
                uid = self.uid,
                "a cell would not go; its user id is not used again"
            );
            if let Some(alive) = self.alive {
                alive.stays();
            }
        }
        self.removed.cancel();
    }

    async fn end(&self) -> bool {
        match self.inner.link.ask(Order::Destroy { cell: self.cell }).await {
            Ok((Answer::Destroyed, _)) => true,
            Ok((answer, _)) => {
                tracing::error!(cell = self.cell, ?answer, "a cell cannot be removed");
                false
            }
            // Without a spawner the kernel ends its cells; the next spawner removes their groups.
            Err(_) => {
                self.wait_empty().await;
                true
            }
        }
    }

    async fn wait_empty(&self) {
        // Without a group we were never told that there is a cell.
        let Some(group) = &self.group else { return };
        while matches!(group.is_empty(), Ok(false)) {
            // The kernel was told already by the end of the spawner, unless the group is frozen.
            let _ = group.kill_all();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A cell that waits for a program.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) claim: Claim,
    /// The init reports here how the program ended, and nothing else.
    pub(crate) control: AsyncFd<OwnedFd>,
    pub(crate) group: GroupHandle,
    stem: AsyncFd<OwnedFd>,
    pub(crate) channel: OwnedFd,
    /// Output of the stem that is booted in it.
    booted: Option<OwnedFd>,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) sockets: Vec<UdpSocket>,
    pub(crate) output: OwnedFd,
    pub(crate) scratch: OwnedFd,
}

impl Cell {
    /// Makes a cell.
    pub(crate) async fn prepare(
        inner: &Arc<Inner>,
        kind: &CellKind,
        when: When,
        alive: Option<Alive>,
    ) -> Result<Self, SandboxError> {
        let uid = {
            let mut uids = inner.uids.lock();
            uids.take()
                .ok_or_else(|| SandboxError::NoRoom(format!("all {} user ids are in use", uids.total())))
        }?;
        let number = inner.next_cell.fetch_add(1, Ordering::Relaxed);
        let removed = CancellationToken::new();
        let mut claim = Claim {
            inner: Arc::clone(inner),
            cell: number,
            uid,
            group: None,
            alive,
            removed,
        };
        let order = Order::Prepare {
            cell: number,
            uid,
            kind: kind.clone(),
            when,
        };
        let delivery = inner.link.ask(order).await?;
        let booted = matches!(delivery.0, Answer::Prepared { booted: true });
        let mut descriptors = delivered(delivery, "")?.into_iter();
        let (Some(control), Some(stem), Some(channel)) = (descriptors.next(), descriptors.next(), descriptors.next())
        else {
            return Err(wrong_answer());
        };
        let booted = if booted { descriptors.next() } else { None };
        let group = GroupHandle::from_fds(descriptors.collect()).map_err(|errno| SandboxError::Host {
            action: Step::Groups.text(),
            reason: words(errno),
        })?;
        claim.group = Some(group.clone());
        let register = |fd| {
            reactor::register(fd, Interest::READABLE).map_err(|error| SandboxError::Host {
                action: "watch a cell",
                reason: error.to_string(),
            })
        };
        let cell = Self {
            claim,
            control: register(control)?,
            group,
            stem: register(stem)?,
            channel,
            booted,
        };
        match tokio::time::timeout(PREPARE_LIMIT, cell.get_ready()).await {
            Ok(Ok(())) => Ok(cell),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SandboxError::Host {
                action: "wait for a cell",
                reason: "it does not get ready".to_owned(),
            }),
        }
    }

    /// Waits until the cell is built and its stem, if there is one, has booted.
    async fn get_ready(&self) -> Result<(), SandboxError> {
        match read_report(&self.control).await? {
            Some((Report { kind: Kind::Ready, .. }, _)) => {}
            Some((Report { step, value, .. }, detail)) => {
                return Err(Failure::reported(step, value, &detail).into_error(""));
            }
            None => {
                return Err(SandboxError::Host {
                    action: "make a cell",
                    reason: "it ended".to_owned(),
                });
            }
        }
        if self.booted.is_some() {
            self.wait_booted().await?;
        }
        Ok(())
    }

    /// Waits for the one byte by which a stem says that it is ready.
    async fn wait_booted(&self) -> Result<(), SandboxError> {
        let host = |error: std::io::Error| SandboxError::Host {
            action: "hear a stem",
            reason: error.to_string(),
        };
        let channel = rustix::io::fcntl_dupfd_cloexec(&self.channel, 0).map_err(|errno| host(errno.into()))?;
        let channel = reactor::register(channel, Interest::READABLE).map_err(host)?;
        let mut bytes = [0; REPORT_LEN];
        let read = channel.async_io(Interest::READABLE, |channel| {
            rustix::io::read(channel, &mut bytes).map_err(Into::into)
        });
        let got = read.await.map_err(host)?;
        match Report::from_bytes(&bytes[..got]) {
            _ if bytes[..got] == *b"R" => Ok(()),
            // It did not even get as far as its runtime.
            Some(Report { step, value, .. }) => Err(Failure::reported(step, value, &[]).into_error("")),
            None => Err(self.not_booted()),
        }
    }

    /// Why there is no stem: it could not be executed, or has ended.
    fn not_booted(&self) -> SandboxError {
        let mut buffer = [0; REPORT_LEN + DETAIL_MAX];
        while let Ok(Received { length, .. }) =
            channel::receive(self.stem.get_ref().as_fd(), &mut buffer, RecvFlags::DONTWAIT)
            && let Some(report) = Report::from_bytes(&buffer[..length])
        {
            if report.kind == Kind::Failed {
                let detail = &buffer[REPORT_LEN..length];
                return Failure::reported(report.step, report.value, detail).into_error("a stem");
            }
        }
        SandboxError::Host {
            action: "boot a stem",
            reason: format!("it ended: {}", self.last_words()),
        }
    }

    /// What a stem that failed has printed.
    fn last_words(&self) -> String {
        let mut words = [0; 1024];
        let read = self.booted.as_ref().map(|output| rustix::io::read(output, &mut words));
        let length = read.and_then(Result::ok).unwrap_or(0);
        String::from_utf8_lossy(&words[..length]).trim_end().to_owned()
    }

    /// Whether it still waits. One that was ended from outside does not.
    pub(crate) fn is_waiting(&self) -> bool {
        let mut buffer = [0; REPORT_LEN];
        let read = channel::receive(
            self.control.get_ref().as_fd(),
            &mut buffer,
            RecvFlags::DONTWAIT | RecvFlags::PEEK,
        );
        matches!(read, Err(Errno::AGAIN))
    }

    /// Counts it as an instance.
    pub(crate) fn count(&mut self, alive: Alive) {
        self.claim.alive = Some(alive);
    }

    /// Starts the program; returns when it was executed, or when the booted stem was told to run it.
    pub(crate) async fn start(&mut self, plan: LaunchPlan) -> Result<Running, SandboxError> {
        let message = self.booted.is_some().then(|| launch_message(&plan));
        let program = plan.program.first().cloned().unwrap_or_default();
        let (wanted, wanted_sockets) = (plan.listeners.len(), plan.sockets.len());
        let order = Order::Start(StartOrder {
            cell: self.claim.cell,
            code: plan.code,
            program: plan.program,
            environment: plan.environment,
            working_directory: plan.working_directory,
            listeners: plan.listeners,
            sockets: plan.sockets,
            channel: plan.channel,
            limits: plan.limits,
        });
        let mut descriptors = delivered(self.claim.inner.link.ask(order).await?, &program)?.into_iter();
        let scratch = descriptors.next();
        let output = self.booted.take().or_else(|| descriptors.next());
        let (Some(output), Some(scratch)) = (output, scratch) else {
            return Err(wrong_answer());
        };
        let listeners: Vec<_> = descriptors.by_ref().take(wanted).map(TcpListener::from).collect();
        let sockets: Vec<_> = descriptors.map(UdpSocket::from).collect();
        if listeners.len() != wanted || sockets.len() != wanted_sockets {
            return Err(wrong_answer());
        }
        match message {
            Some(message) => self.tell(&message).await?,
            None => self.wait_executed(&program).await?,
        }
        Ok(Running {
            listeners,
            sockets,
            output,
            scratch,
        })
    }

    /// Sends the launch over the channel. It has room for all but the largest at once.
    async fn tell(&self, message: &[u8]) -> Result<(), SandboxError> {
        let deadline = tokio::time::Instant::now() + TELL_LIMIT;
        let mut rest = message;
        while !rest.is_empty() {
            match rustix::net::send(&self.channel, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::AGAIN) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(errno) => {
                    return Err(SandboxError::Host {
                        action: "tell a stem what to run",
                        reason: words(errno),
                    });
                }
            }
        }
        Ok(())
    }

    /// The stem says that it will execute the program, and its socket ends when that has succeeded.
    async fn wait_executed(&self, program: &str) -> Result<(), SandboxError> {
        let mut executing = false;
        loop {
            match read_report(&self.stem).await? {
                Some((
                    Report {
                        kind: Kind::Executing, ..
                    },
                    _,
                )) => executing = true,
                Some((Report { step, value, .. }, detail)) => {
                    return Err(Failure::reported(step, value, &detail).into_error(program));
                }
                None if executing => return Ok(()),
                None => {
                    let reason = "the waiting process was killed".to_owned();
                    return Err(SandboxError::Host {
                        action: "start a program",
                        reason,
                    });
                }
            }
        }
    }
}

/// The message for a booted stem; see [`sonagi_ports::Stem`].
fn launch_message(plan: &LaunchPlan) -> Vec<u8> {
    let mut message = vec![0; 4];
    let mut push = |parts: &[&str]| {
        for part in parts {
            message.extend_from_slice(part.as_bytes());
        }
        message.push(0);
    };
    push(&[&plan.working_directory]);
    push(&[&plan.program.len().to_string()]);
    plan.program.iter().for_each(|argument| push(&[argument]));
    plan.environment
        .iter()
        .for_each(|(name, value)| push(&[name, "=", value]));
    // Bounded by the check of the plan.
    let length = u32::try_from(message.len() - 4).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_le_bytes());
    message
}

/// The next report and the text after it; `None` at the end.
pub(crate) async fn read_report(socket: &AsyncFd<OwnedFd>) -> Result<Option<(Report, Vec<u8>)>, SandboxError> {
    let mut buffer = [0; REPORT_LEN + DETAIL_MAX];
    let received = socket.async_io(Interest::READABLE, |socket| {
        channel::receive(socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT).map_err(Into::into)
    });
    match received.await {
        Ok(Received { length: 0, .. }) => Ok(None),
        Ok(Received { length, .. }) => {
            let report = Report::from_bytes(&buffer[..length]).ok_or_else(wrong_answer)?;
            Ok(Some((report, buffer[REPORT_LEN..length].to_vec())))
        }
        Err(error) => Err(SandboxError::Host {
            action: "hear a cell",
            reason: error.to_string(),
        }),
    }
}

/// The descriptors of a good answer.
fn delivered((answer, descriptors): Delivery, program: &str) -> Result<Vec<OwnedFd>, SandboxError> {
    match answer {
        Answer::Prepared { .. } | Answer::Started => Ok(descriptors),
        Answer::Failed(failure) => Err(failure.into_error(program)),
        Answer::Configured(_) | Answer::Destroyed | Answer::Retired => Err(wrong_answer()),
    }
}

fn wrong_answer() -> SandboxError {
    SandboxError::Host {
        action: "understand the spawner",
        reason: "it gave a wrong answer".to_owned(),
    }
}
