//! The one thread that writes, with group commit: whatever waits is applied in one transaction and flushed to disk once.

use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;
use sonagi_crash::crash_point;
use sonagi_ports::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::Bounds;
use super::events::{ACCEPT, Acceptance, Acceptor};
use super::failure::{CommitFailure, Doing};

/// Jobs that may wait; further callers wait for room.
const WAITING_JOBS: usize = 1024;
/// Jobs applied in one transaction at most, so that the first of them does not wait for too many others.
const GROUP: usize = 256;

/// How the work of a job went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    Done,
    /// What it did must be undone.
    Failed,
    /// Likewise; there was no space left.
    NoSpace,
}

/// A job on its way through the writer.
trait Job: Send {
    /// What it does, for people and for crash points.
    fn action(&self) -> &'static str;
    /// Does the work inside the open transaction.
    fn apply(&mut self, connection: &Connection) -> Applied;
    /// Tells the caller.
    fn finish(self: Box<Self>, committed: Result<(), &CommitFailure>);
}

struct Write<F, T> {
    action: &'static str,
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn action(&self) -> &'static str {
        self.action
    }

    fn apply(&mut self, connection: &Connection) -> Applied {
        let Some(work) = self.work.take() else {
            return Applied::Failed;
        };
        let result = work(connection);
        let applied = match &result {
            Ok(_) => Applied::Done,
            Err(StoreError::Full(_)) => Applied::NoSpace,
            Err(_) => Applied::Failed,
        };
        self.result = Some(result);
        applied
    }

    fn finish(self: Box<Self>, committed: Result<(), &CommitFailure>) {
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Err(failure)) => Err(failure.to_error(self.action)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // The caller may have lost interest; the work is done all the same.
        let _ = self.reply.send(answer);
    }
}

/// What waits for the thread.
enum Work {
    /// An event to accept. Those that follow one another are applied together.
    Accept(Box<Acceptance>),
    Job(Box<dyn Job>),
}

impl Work {
    fn action(&self) -> &'static str {
        match self {
            Self::Accept(_) => ACCEPT,
            Self::Job(job) => job.action(),
        }
    }

    fn finish(self, committed: Result<(), &CommitFailure>) {
        match self {
            Self::Accept(acceptance) => acceptance.finish(committed),
            Self::Job(job) => job.finish(committed),
        }
    }
}

/// Handle of the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: Mutex<Option<Sender>>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

type Sender = mpsc::Sender<Work>;

impl Writer {
    /// Starts the thread over a connection.
    pub(crate) fn start(connection: Connection, bounds: Bounds) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_JOBS);
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                serve(&connection, bounds, receiver);
                finish(connection);
                // Nobody waits for the end when the store is dropped without being closed.
                let _ = ended.send(());
            })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some((thread, end))),
        })
    }

    fn job<T: Send + 'static>(
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> (Work, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Work::Job(Box::new(Write {
                action,
                work: Some(work),
                result: None,
                reply,
            })),
            answer,
        )
    }

    fn sender(&self) -> Result<Sender, StoreError> {
        self.sender.lock().clone().ok_or(StoreError::Closed)
    }

    /// Applies `work` in a transaction that it shares with others; durable when this returns `Ok`. Work that fails is
    /// undone alone. Once queued it is applied even if this future is dropped.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = Self::job(action, work);
        self.sender()?.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Hands over an event; its outcome comes by its own reply.
    pub(crate) async fn accept(&self, acceptance: Acceptance) -> Result<(), StoreError> {
        let work = Work::Accept(Box::new(acceptance));
        self.sender()?.send(work).await.map_err(|_| StoreError::Closed)
    }

    /// As [`Writer::write`], from a thread that may block.
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = Self::job(action, work);
        self.sender()?.blocking_send(job).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Finishes what waits, moves the log into the database file, ends the thread.
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

fn serve(connection: &Connection, bounds: Bounds, mut receiver: mpsc::Receiver<Work>) {
    let mut broken: Option<CommitFailure> = None;
    let mut failing = false;
    let mut group = Vec::with_capacity(GROUP);
    while receiver.blocking_recv_many(&mut group, GROUP) > 0 {
        // A disk that failed to keep what it was given is not trusted again by this process: what it holds is found out
        // by recovery at the next start.
        if let Some(failure) = &broken {
            for work in group.drain(..) {
                work.finish(Err(failure));
            }
        } else {
            let failure = commit(connection, bounds, &mut group);
            // Once per failure and not per transaction: a full disk fails many.
            if let Some(failure) = failure.as_ref().filter(|_| !failing) {
                tracing::error!(%failure, "a transaction of the store failed");
            }
            failing = failure.is_some();
            broken = failure.filter(|failure| failure.fatal);
        }
    }
}

/// Applies and answers the jobs of one group. A job that fails alone is undone alone; when the transaction fails, all of
/// them do, and its failure is returned.
fn commit(connection: &Connection, bounds: Bounds, group: &mut Vec<Work>) -> Option<CommitFailure> {
    let failure = transact(connection, bounds, group).err();
    if failure.is_some() && !connection.is_autocommit() {
        // If even this fails, the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for work in group.drain(..) {
        crash_point!(work.action(), "flushed");
        work.finish(failure.as_ref().map_or(Ok(()), Err));
    }
    failure
}

fn transact(connection: &Connection, bounds: Bounds, group: &mut [Work]) -> Result<(), CommitFailure> {
    run(connection, "BEGIN IMMEDIATE")?;
    let are_events = |one: &Work, next: &Work| matches!((one, next), (Work::Accept(_), Work::Accept(_)));
    for part in group.chunk_by_mut(are_events) {
        match part {
            [Work::Job(job)] => apply(connection, job.as_mut())?,
            events => accept(connection, bounds, events)?,
        }
    }
    run(connection, "COMMIT")
}

/// Accepts events that follow one another, all within one savepoint: if one of them cannot be stored, each is tried in one
/// of its own.
fn accept(connection: &Connection, bounds: Bounds, events: &mut [Work]) -> Result<(), CommitFailure> {
    let Err(error) = accept_within(connection, bounds, events)? else {
        return Ok(());
    };
    if let [Work::Accept(acceptance)] = events {
        acceptance.fail(error);
        return Ok(());
    }
    for event in events {
        accept(connection, bounds, std::slice::from_mut(event))?;
    }
    Ok(())
}

/// Accepts events within one savepoint; after an error none of them.
fn accept_within(
    connection: &Connection,
    bounds: Bounds,
    events: &mut [Work],
) -> Result<Result<(), StoreError>, CommitFailure> {
    run(connection, "SAVEPOINT job")?;
    let accept_all = || {
        let mut acceptor = Acceptor::open(connection, bounds)?;
        for event in events {
            match event {
                Work::Accept(acceptance) => acceptor.accept(acceptance)?,
                Work::Job(_) => {}
            }
        }
        acceptor.close()
    };
    let accepted = accept_all();
    // On a full disk or a failed write the database gives the transaction up by itself.
    if matches!(accepted, Err(StoreError::Full(_))) && connection.is_autocommit() {
        return Err(CommitFailure::no_space());
    }
    if accepted.is_err() {
        run(connection, "ROLLBACK TO job")?;
    }
    run(connection, "RELEASE job")?;
    Ok(accepted)
}

fn run(connection: &Connection, sql: &str) -> Result<(), CommitFailure> {
    let executed = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]));
    executed.map(drop).map_err(|error| CommitFailure::new(&error))
}

/// Applies one job within a savepoint of its own. An error means that the whole transaction is lost: on a full disk or
/// a failed write the database gives it up by itself.
fn apply(connection: &Connection, job: &mut dyn Job) -> Result<(), CommitFailure> {
    run(connection, "SAVEPOINT job")?;
    crash_point!(job.action(), "begun");
    let applied = job.apply(connection);
    crash_point!(job.action(), "applied");
    if applied == Applied::NoSpace && connection.is_autocommit() {
        return Err(CommitFailure::no_space());
    }
    if applied != Applied::Done {
        run(connection, "ROLLBACK TO job")?;
    }
    run(connection, "RELEASE job")
}

/// Leaves one file behind, as small as it can be.
fn finish(connection: Connection) {
    let truncated = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .doing("truncate the log");
    if let Err(error) = truncated {
        tracing::warn!(%error, "the store's log stays; the next start takes it over");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the store was not closed cleanly");
    }
}
