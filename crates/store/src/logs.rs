//! Lines of functions, in files of bounded size per function.
//!
//! Lines are written some 20 ms after they came, many at once. What was written survives the end of the process; a power
//! cut may lose the last seconds, since lines are not worth a flush to disk. Writing never blocks the caller.

mod followers;
mod inbox;
mod line;
mod read;
mod segments;
mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{FunctionId, InvocationId, Timestamp};
use sonagi_ports::{Clock, LogLine, LogSink, StoreError};
use tokio::sync::{broadcast, oneshot};

use crate::workers::Workers;
use followers::Followers;
use inbox::{Command, Inbox};
use read::{Filter, tail};
use writer::{OpenFiles, Writer};

/// The [`LogSink`] of a node.
#[derive(Debug)]
pub(crate) struct Logs {
    root: PathBuf,
    inbox: Inbox,
    followers: Arc<Followers>,
    readers: Workers<()>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl Logs {
    /// Opens or creates the folder; keeps at most `limit` bytes per function.
    pub(crate) fn open(root: PathBuf, limit: u64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        let (inbox, commands, backlog) = Inbox::new();
        let followers = Arc::new(Followers::default());
        let (of_thread, root_of_thread) = (followers.clone(), root.clone());
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("store-logs".to_owned())
            .spawn(move || {
                let open = OpenFiles::default();
                Writer {
                    root: root_of_thread,
                    limit,
                    backlog,
                    followers: of_thread,
                    clock,
                    open,
                }
                .serve(commands);
                // Nobody waits for the end when the store is dropped without being closed.
                let _ = ended.send(());
            })?;
        let readers = Workers::start("store-logs-reader", vec![()])?;
        Ok(Self {
            root,
            inbox,
            followers,
            readers,
            thread: Mutex::new(Some((thread, end))),
        })
    }

    /// Writes what waits, and ends the threads.
    pub(crate) async fn close(&self) {
        self.inbox.close();
        self.readers.close().await;
        let thread = self.thread.lock().take();
        if let Some((thread, end)) = thread {
            // An error only means that the thread ended without a word.
            let _ = end.await;
            let _ = thread.join();
        }
    }

    /// Returns when everything written before is in its file.
    async fn flush(&self) -> Result<(), StoreError> {
        let (waiter, done) = oneshot::channel();
        if !self.inbox.send(Command::Flush(waiter)).await {
            return Err(StoreError::Closed);
        }
        done.await.map_err(|_| StoreError::Closed)
    }
}

#[async_trait]
impl LogSink for Logs {
    fn write(&self, lines: Vec<LogLine>) {
        for line in &lines {
            self.followers.publish(line);
        }
        self.inbox.write(lines);
    }

    async fn read(
        &self,
        function: FunctionId,
        invocation: Option<InvocationId>,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        self.flush().await?;
        let folder = self.root.join(function.to_string());
        let filter = Filter {
            function,
            invocation,
            since,
            limit,
        };
        let read = self
            .readers
            .run(move |()| tail(&folder, &filter))
            .await
            .map_err(|_| StoreError::Closed)?;
        read.map_err(|error| StoreError::Database {
            action: "read logs",
            source: Box::new(error),
        })
    }

    fn follow(&self, function: FunctionId) -> broadcast::Receiver<Arc<LogLine>> {
        self.followers.follow(function)
    }

    async fn remove(&self, function: FunctionId) {
        let (waiter, done) = oneshot::channel();
        if self.inbox.send(Command::Remove(function, waiter)).await {
            // An error only means that the store is closing; the folder is then still there for another try.
            let _ = done.await;
        }
    }
}
