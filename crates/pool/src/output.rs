//! The pipe behind an instance's standard output and error. Read by the instance's own task as bytes come, and once
//! more by whoever has just got its answer, so that what was printed before an answer is in the log before the caller
//! has it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use sonagi_model::InvocationId;
use sonagi_ports::{Clock, InstanceLog, LogLine, LogSink, LogSource, LogTap};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use crate::scribe::Scribe;

/// Bytes of one read.
const READ_BYTES: usize = 8192;
/// Reads in a row, after which others get their turn.
const READS_AT_ONCE: usize = 32;

/// What a round of reading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is left for now.
    Nothing,
    /// There may be more.
    More,
    /// Every writing end is closed.
    End,
}

/// Output of one instance.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: Receiver,
    scribe: Mutex<Scribe>,
    logs: Arc<dyn LogSink>,
    /// Who hears what the function prints, if anybody does.
    tap: OnceLock<Arc<dyn LogTap>>,
    clock: Arc<dyn Clock>,
    settle: Duration,
}

impl Output {
    /// Needs a runtime with I/O.
    pub(crate) fn new(
        pipe: OwnedFd,
        scribe: Scribe,
        settle: Duration,
        logs: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        Ok(Self {
            // Unchecked: a socket that behaves like a pipe is as good.
            pipe: Receiver::from_owned_fd_unchecked(pipe)?,
            scribe: Mutex::new(scribe),
            logs,
            tap: OnceLock::new(),
            clock,
            settle,
        })
    }

    /// Says who hears what the function prints from now on.
    pub(crate) fn attach(&self, tap: Arc<dyn LogTap>) {
        let _ = self.tap.set(tap);
    }

    /// Waits for output and reads it; returns once every writing end is closed. Cancel safe.
    pub(crate) async fn read_to_end(&self) {
        loop {
            if self.pipe.readable().await.is_err() {
                return;
            }
            // Reported as blocking, an empty pipe makes the next round wait.
            let round = self.pipe.try_io(|| match self.read_some() {
                Found::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                found @ (Found::More | Found::End) => Ok(found),
            });
            match round {
                Ok(Found::End) => return,
                Ok(Found::More | Found::Nothing) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(_) => return,
            }
        }
    }

    /// Reads what is there, for as long as settling may take. One system call where nothing was printed.
    pub(crate) fn settle(&self) {
        if self.read_some() == Found::More {
            let limit = Instant::now() + self.settle;
            while Instant::now() < limit && self.read_some() == Found::More {}
        }
    }

    /// An invocation begins, with these lines of the platform.
    pub(crate) fn begin(&self, invocation: Option<InvocationId>, tail: Option<usize>, lines: Vec<String>) {
        let mut scribe = self.scribe.lock();
        scribe.begin(invocation, tail);
        self.write(&mut scribe, invocation, lines);
    }

    /// Lines of the platform about an invocation, after everything that was read so far; a line that has no end yet is
    /// ended, where it can be nobody else's.
    pub(crate) fn say(&self, invocation: Option<InvocationId>, lines: Vec<String>) {
        let mut scribe = self.scribe.lock();
        scribe.finish(self.clock.now());
        self.write(&mut scribe, invocation, lines);
    }

    /// An invocation is over, with these last lines of the platform. The end of its log, if it was wanted.
    pub(crate) fn end(&self, invocation: Option<InvocationId>, lines: Vec<String>) -> Option<Vec<u8>> {
        let mut scribe = self.scribe.lock();
        scribe.finish(self.clock.now());
        self.write(&mut scribe, invocation, lines);
        scribe.end(invocation)
    }

    /// The instance will write nothing any more.
    pub(crate) fn close(&self) {
        let mut scribe = self.scribe.lock();
        scribe.cut(self.clock.now());
        self.write(&mut scribe, None, Vec::new());
    }

    fn write(&self, scribe: &mut Scribe, invocation: Option<InvocationId>, lines: Vec<String>) {
        if !lines.is_empty() {
            scribe.platform(invocation, lines, self.clock.now());
        }
        self.hand_on(scribe.take());
    }

    /// To be called under the scribe's lock, so that lines of one instance reach the sink in order.
    fn hand_on(&self, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        if let Some(tap) = self.tap.get() {
            tap.heard(&lines);
        }
        self.logs.write(lines);
    }

    fn read_some(&self) -> Found {
        let mut scribe = self.scribe.lock();
        let mut buffer = [0; READ_BYTES];
        let mut found = Found::More;
        for _ in 0..READS_AT_ONCE {
            found = match rustix::io::read(self.pipe.as_fd(), &mut buffer[..]) {
                Ok(0) => Found::End,
                Ok(read) => {
                    scribe.feed(&buffer[..read], self.clock.now());
                    // A pipe gives all it has: a short read has emptied it.
                    if read < READ_BYTES { Found::Nothing } else { Found::More }
                }
                Err(Errno::INTR) => Found::More,
                Err(Errno::AGAIN) => Found::Nothing,
                Err(_) => Found::End,
            };
            if found != Found::More {
                break;
            }
        }
        if found == Found::End {
            scribe.cut(self.clock.now());
        }
        self.hand_on(scribe.take());
        found
    }
}

impl InstanceLog for Output {
    fn write(&self, source: LogSource, lines: Vec<String>) {
        let mut scribe = self.scribe.lock();
        self.hand_on(scribe.take());
        let now = self.clock.now();
        for line in lines {
            scribe.beside(source, line, now);
        }
        let lines = scribe.take();
        if !lines.is_empty() {
            self.logs.write(lines);
        }
    }
}
