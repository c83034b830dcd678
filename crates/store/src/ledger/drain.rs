//! Moves records from the rings into the database. Sleeps without a timer while the rings are empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::TransactionBehavior;
use sonagi_crash::crash_point;
use sonagi_ports::StoreError;
use tokio::sync::oneshot;

use super::Rings;
use super::ring::Ring;
use crate::database::{Database, Doing, KeptRun, Prepared, RingPosition, keep_runs_of_ring};

/// How long the first record waits for others, so that many share one flush to disk.
const DELAY: Duration = Duration::from_millis(200);
/// How long to wait after the database refused records (a full disk, for instance).
const RETRY: Duration = Duration::from_secs(1);
/// Bytes copied out of a ring in one turn: appending waits no longer than this copy.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes of records that one transaction takes at most.
const BATCH_BYTES: usize = 1024 * 1024;

const TAKE_OVER: &str = "take over run records";

type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// Handle of the thread.
#[derive(Debug)]
pub(super) struct Drain {
    shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

#[derive(Debug)]
struct Shared {
    /// The thread has been told that records wait. Checked without a lock on every append.
    noticed: AtomicBool,
    /// Likewise that a ring is filling up.
    hurried: AtomicBool,
    signal: Mutex<Signal>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Signal {
    records: bool,
    hurry: bool,
    stop: bool,
    waiters: Vec<Waiter>,
}

impl Drain {
    pub(super) fn start(rings: Arc<Rings>, database: Arc<Database>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            noticed: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            signal: Mutex::default(),
            wake: Condvar::new(),
        });
        let (ended, end) = oneshot::channel();
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store-ledger".to_owned())
            .spawn(move || {
                serve(&of_thread, &rings, &database);
                // Nobody waits for the end when the store is dropped without being closed.
                let _ = ended.send(());
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some((thread, end))),
        })
    }

    /// A record was stored. Only the first one of a batch, and the first one that finds a ring filling up, wake the
    /// thread; all others do one atomic operation.
    pub(super) fn notice(&self, crowded: bool) {
        let first = !self.shared.noticed.swap(true, Ordering::AcqRel);
        let hurry = crowded && !self.shared.hurried.swap(true, Ordering::AcqRel);
        if first || hurry {
            let mut signal = self.shared.signal.lock();
            signal.records = true;
            signal.hurry |= hurry;
            self.shared.wake.notify_one();
        }
    }

    /// Returns when every record that is in a ring now is in the database.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let (waiter, done) = oneshot::channel();
        {
            let mut signal = self.shared.signal.lock();
            if signal.stop {
                return Err(StoreError::Closed);
            }
            signal.waiters.push(waiter);
            self.shared.wake.notify_one();
        }
        done.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn close(&self) {
        self.stop();
        let thread = self.thread.lock().take();
        if let Some((thread, end)) = thread {
            // An error only means that the thread ended without a word.
            let _ = end.await;
            let _ = thread.join();
        }
    }

    fn stop(&self) {
        self.shared.signal.lock().stop = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(shared: &Shared, rings: &Rings, database: &Database) {
    loop {
        let (waiters, stop) = shared.wait();
        // Appends from here on notice again; those before are in the rings and found below.
        shared.noticed.swap(false, Ordering::AcqRel);
        shared.hurried.swap(false, Ordering::AcqRel);
        let drained = drain(rings, database);
        if let Err(error) = &drained {
            tracing::error!(%error, "run records stay in their rings");
        }
        for waiter in waiters {
            // Whoever asked may have lost interest.
            let _ = waiter.send(drained.as_ref().map_or_else(|error| Err(same(error)), |()| Ok(())));
        }
        if stop {
            return;
        }
        if drained.is_err() {
            shared.pause();
        }
    }
}

/// The same failure for one more caller.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full(action) => StoreError::Full(action),
        StoreError::Closed => StoreError::Closed,
        StoreError::Busy { what, limit } => StoreError::Busy { what, limit: *limit },
        StoreError::NotPending(id) => StoreError::NotPending(*id),
        StoreError::Unreadable { what, why } => StoreError::Unreadable {
            what: what.clone(),
            why: why.clone(),
        },
        StoreError::Database { action, source } => StoreError::Database {
            action,
            source: source.to_string().into(),
        },
    }
}

impl Shared {
    /// Waits until there is something to do, and a little longer for more of it, unless somebody waits.
    fn wait(&self) -> (Vec<Waiter>, bool) {
        let mut signal = self.signal.lock();
        while !signal.records && !signal.is_urgent() {
            self.wake.wait(&mut signal);
        }
        if !signal.is_urgent() {
            self.wake
                .wait_while_for(&mut signal, |signal| !signal.is_urgent(), DELAY);
        }
        (signal.records, signal.hurry) = (false, false);
        (std::mem::take(&mut signal.waiters), signal.stop)
    }

    /// Waits after a failure; what is in the rings is tried again then.
    fn pause(&self) {
        let mut signal = self.signal.lock();
        signal.records = true;
        self.wake.wait_while_for(&mut signal, |signal| !signal.stop, RETRY);
    }
}

impl Signal {
    fn is_urgent(&self) -> bool {
        self.hurry || self.stop || !self.waiters.is_empty()
    }
}

/// Takes over everything that is in the rings.
fn drain(rings: &Rings, database: &Database) -> Result<(), StoreError> {
    let bounds = database.bounds();
    for ring in &rings.0 {
        while let Some((runs, reached)) = collect(ring)? {
            database.write_blocking(TAKE_OVER, move |connection| {
                keep_runs_of_ring(connection, &runs, reached, bounds)
            })?;
            crash_point!("ledger/taken-over");
            ring.lock().release(reached);
        }
    }
    Ok(())
}

/// The next records of a ring, for one transaction; `None`: there are none.
fn collect(ring: &Mutex<Ring>) -> Result<Option<(Vec<KeptRun>, RingPosition)>, StoreError> {
    let (mut runs, mut reached, mut bytes) = (Vec::new(), None, 0);
    while bytes < BATCH_BYTES {
        let batch = ring.lock().read(reached, TURN_BYTES);
        if batch.payloads.is_empty() {
            break;
        }
        for payload in &batch.payloads {
            bytes += payload.len();
            runs.push(KeptRun::parse(payload)?);
        }
        reached = Some(batch.reached);
    }
    Ok(reached.map(|reached| (runs, reached)))
}

/// Takes over what an earlier process left in a ring, before any thread runs.
pub(super) fn recover(ring: &mut Ring, database: &Prepared) -> Result<(), StoreError> {
    loop {
        let batch = ring.read(None, BATCH_BYTES);
        if batch.payloads.is_empty() {
            // What an interrupted append skipped at the end of the ring holds nothing.
            ring.release(batch.reached);
            return Ok(());
        }
        let runs = batch
            .payloads
            .iter()
            .map(|payload| KeptRun::parse(payload))
            .collect::<Result<Vec<_>, _>>()?;
        let transaction = rusqlite::Transaction::new_unchecked(&database.connection, TransactionBehavior::Immediate)
            .doing(TAKE_OVER)?;
        keep_runs_of_ring(&transaction, &runs, batch.reached, database.bounds)?;
        transaction.commit().doing(TAKE_OVER)?;
        ring.release(batch.reached);
    }
}
