//! One thread owns all writing: it takes what waits, applies it in one transaction and flushes once for all of it. What
//! dies with a transaction is removed from disk after it, and forgotten with the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;
use sonagi_crash::crash_point;
use tokio::sync::{mpsc, oneshot};

use crate::bodies::Bodies;
use crate::error::{Doing, Error, of_index};
use crate::staging::Staged;

/// Changes that may wait; further callers wait for room.
const WAITING: usize = 256;
/// Most changes of one transaction.
const GROUP: usize = 256;

/// What a change works on.
pub(crate) struct Change<'a> {
    pub(crate) index: &'a Connection,
    /// Bodies that nobody names any more.
    pub(crate) dead: Vec<String>,
}

trait Job: Send {
    /// Does the work in a transaction; what died with it, or nothing if it is to be undone.
    fn apply(&mut self, index: &Connection) -> Option<Vec<String>>;
    /// Tells the caller.
    fn finish(self: Box<Self>, committed: Result<(), &str>);
}

struct Write<F, T> {
    work: Option<F>,
    result: Option<Result<T, Error>>,
    staged: Option<Staged>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&mut Change<'_>) -> Result<T, Error> + Send,
    T: Send,
{
    fn apply(&mut self, index: &Connection) -> Option<Vec<String>> {
        let mut change = Change {
            index,
            dead: Vec::new(),
        };
        let result = self.work.take()?(&mut change);
        let done = result.is_ok();
        self.result = Some(result);
        done.then_some(change.dead)
    }

    fn finish(mut self: Box<Self>, committed: Result<(), &str>) {
        let answer = match (self.result.take(), committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => {
                self.staged.take().into_iter().for_each(Staged::keep);
                Ok(value)
            }
            (Some(Ok(_)) | None, Err(failure)) => {
                // Whether it is on disk is not known: the file stays, and the next start finds out.
                self.staged.take().into_iter().for_each(Staged::keep);
                Err(Error::Index {
                    action: "commit a change of objects",
                    source: failure.into(),
                })
            }
            (None, Ok(())) => Err(Error::Closed),
        };
        // The caller may have lost interest; the work is done all the same.
        let _ = self.reply.send(answer);
    }
}

type Sender = mpsc::Sender<Box<dyn Job>>;

/// Handle of the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Mutex<Option<Sender>>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Writer {
    pub(crate) fn start(index: Connection, bodies: Arc<Bodies>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("objects-writer".to_owned())
            .spawn(move || {
                Serving {
                    index,
                    bodies,
                    remembered: VecDeque::new(),
                    gone: Vec::new(),
                }
                .serve(receiver);
                // Nobody waits for the end when the store is dropped without being closed.
                let _ = ended.send(());
            })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some((thread, end))),
        })
    }

    /// Applies `work` in a transaction that it shares with others; durable when this returns `Ok`. Work that fails is
    /// undone alone. Once queued it is applied even if this future is dropped.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        staged: Option<Staged>,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write {
            work: Some(work),
            result: None,
            staged,
            reply,
        });
        let sender = self.sender.lock().clone().ok_or(Error::Closed)?;
        sender.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Finishes what waits and ends the thread.
    pub(crate) async fn close(&self) {
        drop(self.sender.lock().take());
        let thread = self.thread.lock().take();
        if let Some((thread, end)) = thread {
            // An error only means that the thread ended without a word.
            let _ = end.await;
            let _ = thread.join();
        }
    }
}

struct Serving {
    index: Connection,
    bodies: Arc<Bodies>,
    /// Dead bodies whose files are still there.
    remembered: VecDeque<String>,
    /// Dead bodies whose files are gone; the index does not know yet.
    gone: Vec<String>,
}

impl Serving {
    fn serve(mut self, mut receiver: mpsc::Receiver<Box<dyn Job>>) {
        let mut broken: Option<String> = None;
        let mut group = Vec::with_capacity(GROUP);
        while receiver.blocking_recv_many(&mut group, GROUP) > 0 {
            // A disk that failed to keep what it was given is not trusted again by this process.
            let (failure, fatal) = match &broken {
                Some(failure) => (Some(failure.clone()), true),
                None => self.commit(&mut group),
            };
            for job in group.drain(..) {
                job.finish(failure.as_deref().map_or(Ok(()), Err));
            }
            if failure.is_none() {
                let (gone, left) = self.bodies.remove(self.remembered.drain(..).collect());
                self.gone.extend(gone);
                self.remembered.extend(left);
            }
            broken = failure.filter(|_| fatal);
        }
        if let Err(error) = self.index.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "the log of the index of objects stays; the next start takes it over");
        }
    }

    /// Applies the jobs of one group; a failure of all of them, and whether nothing may follow it.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> (Option<String>, bool) {
        match self.transact(group) {
            Ok(dead) => {
                crash_point!("object/committed");
                self.remembered.extend(dead);
                self.gone.clear();
                (None, false)
            }
            Err(error) => {
                if !self.index.is_autocommit() {
                    // If even this fails, the next transaction says so.
                    let _ = self.index.execute_batch("ROLLBACK");
                }
                let fatal = !matches!(of_index("commit", error), Error::Full(_));
                tracing::error!(fatal, "a transaction of the index of objects failed");
                (Some("the transaction failed".to_owned()), fatal)
            }
        }
    }

    fn transact(&self, group: &mut [Box<dyn Job>]) -> rusqlite::Result<Vec<String>> {
        let run = |sql: &str| self.index.prepare_cached(sql)?.execute([]).map(drop);
        run("BEGIN IMMEDIATE")?;
        for name in &self.gone {
            self.index
                .prepare_cached("DELETE FROM dead WHERE name = ?1")?
                .execute([name])?;
        }
        let mut dead = Vec::new();
        for job in group {
            run("SAVEPOINT job")?;
            match job.apply(&self.index) {
                Some(died) => dead.extend(died),
                None => run("ROLLBACK TO job")?,
            }
            run("RELEASE job")?;
        }
        run("COMMIT")?;
        Ok(dead)
    }
}

impl Change<'_> {
    /// Runs a statement; how many rows it changed.
    pub(crate) fn run(
        &self,
        action: &'static str,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<usize, Error> {
        self.index
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .doing(action)
    }
}
