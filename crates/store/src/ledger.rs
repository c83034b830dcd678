//! The ledger of attempts. A record is stored into a ring in a mapped file, which costs a copy and outlives the process;
//! a thread moves records into the database a little later, in groups, together with how far it got.
//!
//! Survives the end of the process at any moment. A power cut may lose records of the last fractions of a second, which
//! had not been moved yet; the database itself loses nothing that was moved.

mod drain;
mod mapped;
mod ring;

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_crash::crash_point;
use sonagi_model::{InvocationId, RunRecord};
use sonagi_ports::{LedgerError, RunFilter, RunStore, StoreError, UsageFilter, UsageRow};

use crate::database::{Database, Prepared, RingPosition, ring_positions};
use crate::durable;
use drain::Drain;
use ring::Ring;

/// The ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerOpenError {
    #[error("{action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("take over the records of an earlier process")]
    Recover(#[source] StoreError),
}

/// Sizes of the rings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingSizes {
    pub(crate) shards: usize,
    /// Bytes of each.
    pub(crate) bytes: u64,
}

/// Rings that were opened and emptied, before the ledger's thread runs.
#[derive(Debug)]
pub(crate) struct Rings(Vec<Mutex<Ring>>);

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerOpenError {
    move |source| LedgerOpenError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl Rings {
    /// Opens the rings in `folder`, and moves what an earlier process left in them into the database. Rings of another
    /// size or beyond `sizes.shards` are emptied and replaced.
    pub(crate) fn open(folder: &Path, sizes: RingSizes, database: &Prepared) -> Result<Self, LedgerOpenError> {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let positions = || ring_positions(&database.connection).map_err(LedgerOpenError::Recover);
        let known = positions()?;
        for (shard, path) in existing(folder)? {
            let mut ring = Ring::open(&path, sizes.bytes, taken(&known, shard)).map_err(io_error("open", &path))?;
            drain::recover(&mut ring, database).map_err(LedgerOpenError::Recover)?;
            if shard >= sizes.shards || ring.capacity() != ring::capacity_for(sizes.bytes) {
                drop(ring);
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        let known = positions()?;
        let rings = (0..sizes.shards).map(|shard| {
            let path = folder.join(format!("ring-{shard}"));
            let ring = Ring::open(&path, sizes.bytes, taken(&known, shard));
            ring.map(Mutex::new).map_err(io_error("open", &path))
        });
        rings.collect::<Result<_, _>>().map(Self)
    }
}

/// How far a ring was taken over; one that is not known begins at its start.
fn taken(known: &[RingPosition], shard: usize) -> RingPosition {
    let position = known.iter().find(|position| position.shard == shard).copied();
    position.unwrap_or(RingPosition {
        shard,
        ..RingPosition::default()
    })
}

/// The rings in a folder. What an interrupted start left is removed.
fn existing(folder: &Path) -> Result<Vec<(usize, PathBuf)>, LedgerOpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error("list", folder))? {
        let entry = entry.map_err(io_error("list", folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        let shard = name
            .to_str()
            .and_then(|name| name.strip_prefix("ring-"))
            .and_then(|shard| shard.parse().ok());
        if let Some(shard) = shard {
            found.push((shard, path));
        } else if durable::is_temporary(&name) {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(found)
}

/// The [`RunStore`] of a node.
#[derive(Debug)]
pub(crate) struct Ledger {
    rings: Arc<Rings>,
    drain: Drain,
    database: Arc<Database>,
}

thread_local! {
    /// The text of the record at hand; kept, so that appending allocates nothing.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Which ring this thread uses, before division by their number.
    static TURN: usize = NEXT_TURN.fetch_add(1, Ordering::Relaxed);
}

static NEXT_TURN: AtomicUsize = AtomicUsize::new(0);

impl Ledger {
    /// Starts the thread that moves records into the database.
    pub(crate) fn start(rings: Rings, database: Arc<Database>) -> io::Result<Self> {
        let rings = Arc::new(rings);
        let drain = Drain::start(rings.clone(), database.clone())?;
        Ok(Self { rings, drain, database })
    }

    /// Moves what waits, and ends the thread. Records appended later are found by the next start.
    pub(crate) async fn close(&self) {
        self.drain.close().await;
    }

    /// Returns when every record appended before is in the database. Costs nothing if it is already.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        if self.rings.0.iter().all(|ring| ring.lock().is_drained()) {
            return Ok(());
        }
        self.drain.flush().await
    }
}

#[async_trait]
impl RunStore for Ledger {
    fn append(&self, record: &RunRecord) -> Result<(), LedgerError> {
        TEXT.with_borrow_mut(|text| {
            text.clear();
            serde_json::to_writer(&mut *text, record).map_err(|_| LedgerError::TooLarge)?;
            let turn = TURN.with(|turn| *turn);
            let mut ring = self.rings.0[turn % self.rings.0.len()].lock();
            let appended = ring.append(text);
            crash_point!("ledger/appended");
            let crowded = ring.is_half_full();
            drop(ring);
            self.drain.notice(crowded);
            appended
        })
    }

    async fn append_slow(&self, record: RunRecord) -> Result<(), StoreError> {
        // An earlier copy in a ring is taken over first, so that the first record of an attempt is the one that stays.
        self.flush().await?;
        self.database.keep_run(record).await
    }

    async fn attempts(&self, invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError> {
        self.flush().await?;
        self.database.attempts(invocation).await
    }

    async fn recent(&self, filter: RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.flush().await?;
        self.database.recent(filter).await
    }

    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        self.flush().await?;
        self.database.usage(filter).await
    }
}
