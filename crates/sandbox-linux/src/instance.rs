//! One running instance.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rustix::io::Errno;
use sonagi_model::{Exit, Mebibytes};
use sonagi_ports::{RunningSandbox, SandboxError};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cell::{Claim, read_report};
use crate::cgroup::{GroupHandle, OomGuard};
use crate::protocol::words;
use crate::wire::{Kind, Report};

/// SIGKILL.
const KILLED: i32 = 9;

/// How old the peak of memory that is told may be: what a call that came this soon after another used on top is told with
/// the next one.
const PEAK_AGE: Duration = Duration::from_millis(10);

/// A program that runs in its cell.
#[derive(Debug)]
pub(crate) struct Instance {
    group: GroupHandle,
    cpu_cap_millis: Option<u32>,
    exit: watch::Sender<Option<Exit>>,
    /// Set when we end it.
    ending: AtomicBool,
    removed: CancellationToken,
    /// Until it is destroyed.
    claim: Mutex<Option<Claim>>,
    oom: Mutex<Option<OomGuard>>,
    /// Peak of memory in MiB as last seen.
    memory_peak: AtomicU32,
    begun: Instant,
    /// Until when that is good enough, microseconds after it began.
    peak_holds: AtomicU64,
}

impl Instance {
    pub(crate) fn new(claim: Claim, group: GroupHandle, oom: OomGuard, cpu_cap_millis: Option<u32>) -> Self {
        Self {
            group,
            cpu_cap_millis,
            exit: watch::Sender::new(None),
            ending: AtomicBool::new(false),
            removed: claim.removed(),
            claim: Mutex::new(Some(claim)),
            oom: Mutex::new(Some(oom)),
            memory_peak: AtomicU32::new(0),
            begun: Instant::now(),
            peak_holds: AtomicU64::new(0),
        }
    }

    /// Waits for the report of how it ended, and tells it to all who wait. One task runs this.
    pub(crate) async fn watch(&self, control: AsyncFd<OwnedFd>) {
        let report = match read_report(&control).await {
            Ok(report) => report.map(|(report, _)| report),
            Err(error) => {
                tracing::error!(%error, "cannot hear how an instance ended");
                None
            }
        };
        let exit = self.read_exit(report);
        self.exit.send_replace(Some(exit));
    }

    fn read_exit(&self, report: Option<Report>) -> Exit {
        let ending = self.ending.load(Ordering::Acquire);
        let exit = match report {
            Some(Report {
                kind: Kind::Exited,
                value,
                ..
            }) => Exit::Code(value),
            Some(Report {
                kind: Kind::Killed,
                value,
                ..
            }) => Exit::Signal(value),
            // The init itself was killed, with all others.
            Some(_) | None => Exit::Signal(KILLED),
        };
        if ending {
            // What it did by itself just before counts; our own signal does not.
            return if exit == Exit::Signal(KILLED) {
                Exit::Reclaimed
            } else {
                exit
            };
        }
        match self.group.oom_kills() {
            Ok(kills) if kills > 0 => Exit::OutOfMemory,
            Ok(_) => exit,
            Err(error) => {
                tracing::warn!(%error, "cannot see whether an instance ran out of memory");
                exit
            }
        }
    }

    /// Begins to end it, if that was not done before.
    pub(crate) fn begin_to_end(&self) {
        let claim = self.claim.lock().take();
        if let Some(claim) = claim {
            self.ending.store(true, Ordering::Release);
            // Its groups are about to go.
            self.note_memory();
            drop(self.oom.lock().take());
            drop(claim);
        }
    }

    fn note_memory(&self) {
        if let Ok(peak) = self.group.memory_peak() {
            self.memory_peak.store(peak.0, Ordering::Relaxed);
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn done(&self, action: &'static str, done: Result<(), Errno>) -> Result<(), SandboxError> {
        match done {
            Ok(()) => Ok(()),
            // The group goes away below us.
            Err(_) if self.is_ending() => Ok(()),
            Err(errno) => Err(SandboxError::Host {
                action,
                reason: words(errno),
            }),
        }
    }
}

#[async_trait]
impl RunningSandbox for Instance {
    fn freeze(&self) -> Result<(), SandboxError> {
        self.done("freeze an instance", self.group.freeze())
    }

    fn thaw(&self) -> Result<(), SandboxError> {
        self.done("thaw an instance", self.group.thaw())
    }

    fn initialized(&self) {
        let Some(millis) = self.cpu_cap_millis else { return };
        if let Err(error) = self.done("cap the CPU of an instance", self.group.apply_cpu_cap(millis)) {
            tracing::error!(%error, "an instance runs without its CPU cap");
        }
    }

    async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        // The sender lives in this instance, and what was waited for is there.
        ended.ok().and_then(|exit| *exit).unwrap_or(Exit::Reclaimed)
    }

    fn memory_peak(&self) -> Mebibytes {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        if now >= self.peak_holds.load(Ordering::Relaxed) && !self.is_ending() {
            self.note_memory();
            let age = u64::try_from(PEAK_AGE.as_micros()).unwrap_or(u64::MAX);
            self.peak_holds.store(now.saturating_add(age), Ordering::Relaxed);
        }
        Mebibytes(self.memory_peak.load(Ordering::Relaxed))
    }

    async fn destroy(&self) {
        self.begin_to_end();
        self.removed.cancelled().await;
    }
}
