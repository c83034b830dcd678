//! Threads for blocking work, so that it never runs on a task scheduler's worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; further callers wait for room.
const WAITING_JOBS: usize = 256;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// The threads are gone, or the job ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed")]
pub(crate) struct Stopped;

/// A few threads that take jobs from one bounded queue. Each has a value of its own (a connection, for instance).
pub(crate) struct Workers<C> {
    sender: Mutex<Option<mpsc::Sender<Job<C>>>>,
    threads: Mutex<Vec<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl<C> std::fmt::Debug for Workers<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads.lock().len())
            .finish_non_exhaustive()
    }
}

impl<C: Send + 'static> Workers<C> {
    /// Starts one thread per value.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(name: &str, values: Vec<C>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Job<C>>(WAITING_JOBS);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for mut value in values {
            let receiver = receiver.clone();
            let (ended, end) = oneshot::channel();
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                serve(&receiver, &mut value);
                drop(value);
                // Nobody waits for the end when the store is dropped without being closed.
                let _ = ended.send(());
            })?;
            threads.push((thread, end));
        }
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })
    }

    /// Runs a job on one of the threads. The job runs to its end even if this future is dropped once it was queued.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let sender = self.sender.lock().clone().ok_or(Stopped)?;
        let (reply, answer) = oneshot::channel();
        let job: Job<C> = Box::new(move |value| {
            // The caller may have lost interest.
            let _ = reply.send(job(value));
        });
        sender.send(job).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Takes no more jobs, finishes those that wait, ends the threads.
    pub(crate) async fn close(&self) {
        drop(self.sender.lock().take());
        let threads = std::mem::take(&mut *self.threads.lock());
        for (thread, end) in threads {
            // An error only means that the thread ended without a word.
            let _ = end.await;
            let _ = thread.join();
        }
    }
}

fn serve<C>(receiver: &Mutex<mpsc::Receiver<Job<C>>>, value: &mut C) {
    loop {
        // One idle thread waits in the channel, the others for the lock: none of them wakes up without work.
        let Some(job) = receiver.lock().blocking_recv() else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| job(value))).is_err() {
            tracing::error!("a job of the store panicked; its caller was told that the store is closed");
        }
    }
}
