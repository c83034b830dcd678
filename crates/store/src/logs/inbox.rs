//! The queue between those who have lines and the thread that writes them. Full is no reason to wait: lines are dropped
//! and counted, and where they are missing a line of the platform says so.
//!
//! Waking a thread costs more than all else that a line costs, and takes a core from the function that wrote it. So the
//! thread, once woken, gathers lines for a moment before it writes them; lines that come meanwhile wake nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sonagi_model::{FunctionId, Timestamp};
use sonagi_ports::{LogLine, LogSource};
use tokio::sync::{mpsc, oneshot};

/// Calls that may wait.
const WAITING_CALLS: usize = 4096;
/// Bytes of text that may wait.
const WAITING_BYTES: usize = 8 * 1024 * 1024;
/// How long the first line waits for others to be written with.
const GATHER: Duration = Duration::from_millis(20);

/// What the writing thread is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Write these lines.
    Lines(Vec<LogLine>),
    /// Say when everything before is written.
    Flush(oneshot::Sender<()>),
    /// Forget a function's lines.
    Remove(FunctionId, oneshot::Sender<()>),
    /// Look at the dropped lines.
    Dropped,
}

/// Lines that are missing.
#[derive(Debug)]
struct Missing {
    count: u64,
    /// The last one, whose text is gone.
    like: LogLine,
}

/// What both sides share.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    /// Somebody waits for the thread, or it has enough to do.
    hurry: Mutex<bool>,
    hurried: Condvar,
    has_missing: AtomicBool,
    missing: Mutex<HashMap<FunctionId, Missing>>,
}

/// The side of those who have lines.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: Mutex<Option<mpsc::Sender<Command>>>,
    backlog: Arc<Backlog>,
}

/// Bytes that a line counts for.
fn weight(lines: &[LogLine]) -> usize {
    lines.iter().map(|line| line.text.len() + size_of::<LogLine>()).sum()
}

impl Inbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>, Arc<Backlog>) {
        let (sender, receiver) = mpsc::channel(WAITING_CALLS);
        let backlog = Arc::new(Backlog::default());
        (
            Self {
                sender: Mutex::new(Some(sender)),
                backlog: backlog.clone(),
            },
            receiver,
            backlog,
        )
    }

    /// Hands over lines; never waits.
    pub(super) fn write(&self, lines: Vec<LogLine>) {
        let Some(sender) = self.sender() else { return };
        let weight = weight(&lines);
        // One call alone is taken whatever its size: its text is there already.
        let waiting = self.backlog.bytes.fetch_add(weight, Ordering::AcqRel);
        let refused = if waiting > 0 && waiting + weight > WAITING_BYTES {
            Some(lines)
        } else {
            match sender.try_send(Command::Lines(lines)) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command)) => {
                    if let Command::Lines(lines) = command {
                        Some(lines)
                    } else {
                        None
                    }
                }
            }
        };
        if waiting + weight > WAITING_BYTES / 2 || sender.capacity() < WAITING_CALLS / 2 {
            self.backlog.hurry();
        }
        if let Some(lines) = refused {
            self.backlog.bytes.fetch_sub(weight, Ordering::AcqRel);
            self.backlog.miss(&lines);
            // If there is no room for this, the thread has enough to do and looks afterwards.
            let _ = sender.try_send(Command::Dropped);
        }
    }

    /// Hands over a command, waiting for room; `false`: the thread is gone.
    pub(super) async fn send(&self, command: Command) -> bool {
        let Some(sender) = self.sender() else { return false };
        let sent = sender.send(command).await.is_ok();
        self.backlog.hurry();
        sent
    }

    fn sender(&self) -> Option<mpsc::Sender<Command>> {
        self.sender.lock().clone()
    }

    pub(super) fn close(&self) {
        drop(self.sender.lock().take());
        self.backlog.hurry();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

impl Backlog {
    /// The thread is not to gather any longer.
    fn hurry(&self) {
        let mut hurry = self.hurry.lock();
        if !std::mem::replace(&mut *hurry, true) {
            self.hurried.notify_one();
        }
    }

    /// Waits a moment for more lines, unless there is a reason to hurry.
    pub(super) fn gather(&self) {
        let mut hurry = self.hurry.lock();
        self.hurried.wait_while_for(&mut hurry, |hurry| !*hurry, GATHER);
        *hurry = false;
    }

    /// Lines were written or given up.
    pub(super) fn done(&self, lines: &[LogLine]) {
        self.bytes.fetch_sub(weight(lines), Ordering::AcqRel);
    }

    /// Lines are missing from now on.
    pub(super) fn miss(&self, lines: &[LogLine]) {
        let mut missing = self.missing.lock();
        for line in lines {
            let like = || LogLine {
                text: String::new(),
                ..line.clone()
            };
            missing
                .entry(line.function)
                .or_insert_with(|| Missing { count: 0, like: like() })
                .count += 1;
        }
        self.has_missing.store(true, Ordering::Release);
    }

    /// Lines of the platform that say what is missing, each with the number it stands for.
    pub(super) fn take_missing(&self, now: Timestamp) -> Vec<(LogLine, u64)> {
        if !self.has_missing.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let missing = std::mem::take(&mut *self.missing.lock());
        missing
            .into_values()
            .map(|missing| (mark(&missing, now), missing.count))
            .collect()
    }

    /// Such a line could not be written either.
    pub(super) fn miss_again(&self, mark: LogLine, count: u64) {
        let mut missing = self.missing.lock();
        missing
            .entry(mark.function)
            .or_insert_with(|| Missing { count: 0, like: mark })
            .count += count;
        self.has_missing.store(true, Ordering::Release);
    }
}

fn mark(missing: &Missing, now: Timestamp) -> LogLine {
    LogLine {
        time: now,
        invocation: None,
        source: LogSource::Platform,
        text: format!("{} lines could not be kept and are missing here", missing.count),
        truncated: true,
        ..missing.like.clone()
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample;

    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (inbox, mut receiver, backlog) = Inbox::new();
        let function = sample::function("floods");
        let large = |bytes| vec![sample::line(&function, sample::NOW, &"x".repeat(bytes))];
        inbox.write(large(WAITING_BYTES + 1));
        inbox.write(large(1));
        inbox.write(large(1));
        let Ok(Command::Lines(first)) = receiver.try_recv() else {
            panic!("a call alone is taken")
        };
        assert!(matches!(receiver.try_recv(), Ok(Command::Dropped)));
        backlog.done(&first);
        inbox.write(large(1));
        assert!(matches!(receiver.try_recv(), Ok(Command::Dropped)));
        assert!(matches!(receiver.try_recv(), Ok(Command::Lines(_))));
        let marks = backlog.take_missing(sample::NOW);
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].0.text, "2 lines could not be kept and are missing here");
        assert!(backlog.take_missing(sample::NOW).is_empty());
    }

    #[test]
    fn calls_are_bounded_as_well() {
        let (inbox, _receiver, backlog) = Inbox::new();
        let function = sample::function("floods");
        for _ in 0..WAITING_CALLS + 5 {
            inbox.write(vec![sample::line(&function, sample::NOW, "")]);
        }
        assert_eq!(backlog.take_missing(sample::NOW)[0].1, 5);
    }
}
