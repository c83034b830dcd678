//! The thread that writes lines into files. It has a bounded number of files open and sleeps while there are no lines.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sonagi_model::FunctionId;
use sonagi_ports::{Clock, LogLine};
use tokio::sync::{mpsc, oneshot};

use super::followers::Followers;
use super::inbox::{Backlog, Command};
use super::line::encode;
use super::segments::Segments;

/// Commands taken at once; lines of one function among them become one write.
const BATCH: usize = 1024;
/// Functions whose newest segment is open.
const OPEN_FILES: usize = 64;

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) root: PathBuf,
    /// Bytes kept of one function.
    pub(super) limit: u64,
    pub(super) backlog: Arc<Backlog>,
    pub(super) followers: Arc<Followers>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) open: OpenFiles,
}

/// The functions written most recently.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    turn: u64,
    files: HashMap<FunctionId, (u64, Segments)>,
}

/// Lines of one function, about to be written together.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    lines: Vec<LogLine>,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn serve(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::with_capacity(BATCH);
        while let Some(first) = commands.blocking_recv() {
            taken.push(first);
            self.backlog.gather();
            while taken.len() < BATCH
                && let Ok(command) = commands.try_recv()
            {
                taken.push(command);
            }
            let mut batches: HashMap<FunctionId, Batch> = HashMap::new();
            let mut waiters: Vec<oneshot::Sender<()>> = Vec::new();
            for command in taken.drain(..) {
                match command {
                    Command::Lines(lines) => add(&mut batches, lines),
                    Command::Flush(waiter) => waiters.push(waiter),
                    Command::Remove(function, waiter) => {
                        if let Some(batch) = batches.remove(&function) {
                            self.backlog.done(&batch.lines);
                        }
                        self.remove(function);
                        waiters.push(waiter);
                    }
                    Command::Dropped => {}
                }
            }
            for (function, batch) in batches {
                self.write(function, &batch);
            }
            self.mark_missing();
            for waiter in waiters {
                // Whoever asked may have lost interest.
                let _ = waiter.send(());
            }
        }
    }

    fn write(&mut self, function: FunctionId, batch: &Batch) {
        if let Err(error) = self.append(function, &batch.text) {
            tracing::warn!(%function, %error, "log lines could not be written");
            self.backlog.miss(&batch.lines);
        }
        self.backlog.done(&batch.lines);
    }

    fn mark_missing(&mut self) {
        for (mark, count) in self.backlog.take_missing(self.clock.now()) {
            let mut text = Vec::new();
            let written = encode(&mark, &mut text)
                .map_err(io::Error::from)
                .and_then(|()| self.append(mark.function, &text));
            match written {
                Ok(()) => self.followers.publish(&mark),
                // Tried again with the next lines.
                Err(_) => self.backlog.miss_again(mark, count),
            }
        }
    }

    fn append(&mut self, function: FunctionId, text: &[u8]) -> io::Result<()> {
        let appended = self.segments(function)?.append(text);
        if appended.is_err() {
            // What is on disk is looked at again before the next line.
            self.open.files.remove(&function);
        }
        appended
    }

    fn segments(&mut self, function: FunctionId) -> io::Result<&mut Segments> {
        let open = &mut self.open;
        open.turn += 1;
        if !open.files.contains_key(&function) {
            if open.files.len() >= OPEN_FILES {
                let oldest = open
                    .files
                    .iter()
                    .min_by_key(|(_, (turn, _))| *turn)
                    .map(|(function, _)| *function);
                oldest.and_then(|oldest| open.files.remove(&oldest));
            }
            let segments = Segments::open(&self.root.join(function.to_string()), self.limit)?;
            open.files.insert(function, (open.turn, segments));
        }
        let (turn, segments) = open.files.get_mut(&function).ok_or(io::ErrorKind::NotFound)?;
        *turn = open.turn;
        Ok(segments)
    }

    fn remove(&mut self, function: FunctionId) {
        self.open.files.remove(&function);
        match fs::remove_dir_all(self.root.join(function.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%function, %error, "log lines could not be removed");
            }
            Err(_) | Ok(()) => {}
        }
    }
}

/// Adds lines to the batches of their functions.
fn add(batches: &mut HashMap<FunctionId, Batch>, lines: Vec<LogLine>) {
    for line in lines {
        let batch = batches.entry(line.function).or_default();
        if let Err(error) = encode(&line, &mut batch.text) {
            tracing::warn!(%error, "a log line has no stored form");
        }
        batch.lines.push(line);
    }
}
