//! Opens everything in a state directory, and closes it in the right order.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{Digest, LogLimits};
use sonagi_ports::{
    Archive, ArtifactError, ArtifactStore, Clock, EventQueue, LogSink, MessageStore, MetadataStore, Record, RunStore,
    SystemClock,
};

use crate::StateDir;
use crate::archive::{ArchiveBounds, FileArchive};
use crate::artifacts::Artifacts;
use crate::backup::Backup;
use crate::database::{Bounds, Database, Keyring, Prepared, find_master, seal_plain};
use crate::durable;
use crate::keys::KeySource;
use crate::ledger::{Ledger, RingSizes, Rings};
use crate::logs::Logs;

/// Sizes and bounds, each with its default.
#[derive(Debug, Clone)]
pub struct Options {
    /// Events that may be pending; more are refused as busy. Default 1 000 000.
    pub pending_events: u64,
    /// Bytes that pending events may hold; more are refused as busy. Default 16 GiB.
    pub pending_bytes: u64,
    /// Ended events whose end is remembered, the newest. Default 100 000.
    pub settled_events: u64,
    /// Ended events that did what they were sent for and whose content is kept, so that they can be run again, the
    /// newest. Default 10 000.
    pub history_events: u64,
    /// Bytes of those contents. Default 64 MiB.
    pub history_bytes: u64,
    /// Dead letters that are kept, the newest. Default 100 000.
    pub letters: u64,
    /// Bytes of dead letters that are kept; the newest one is kept whatever its size. Default 1 GiB.
    pub letter_bytes: u64,
    /// Tokens by which repeated sendings are recognized; more within their windows are refused as busy. Default
    /// 1 000 000.
    pub tokens: u64,
    /// Messages that all queues together may hold; more are refused as busy. Default 1 000 000.
    pub messages: u64,
    /// Bytes of their bodies; more are refused as busy. Default 16 GiB.
    pub message_bytes: u64,
    /// Run records that are kept, the newest; of those that came in large batches (under load) as many again, in whole
    /// batches. Usage per hour is kept for ever. Default 200 000.
    pub runs: u64,
    /// Archived records that are kept of each scope, the newest. Default 100 000.
    pub archived: u64,
    /// Age at which archived records go. Default 7 days.
    pub archived_age: Duration,
    /// Rings of the usage ledger. Threads are spread over them. Default: one per core, at most 8.
    pub ledger_rings: usize,
    /// Bytes of each ring, allocated on disk at once. Default 2 MiB.
    pub ledger_ring_bytes: u64,
    /// Of these, the bytes kept of one function. Default 32 MiB.
    pub logs: LogLimits,
    /// Where the key is that seals secrets. Default: in the state directory.
    pub key: KeySource,
    /// Dates the platform's own log lines.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pending_events: 1_000_000,
            pending_bytes: 16 << 30,
            settled_events: 100_000,
            history_events: 10_000,
            history_bytes: 64 << 20,
            letters: 100_000,
            letter_bytes: 1 << 30,
            tokens: 1_000_000,
            messages: 1_000_000,
            message_bytes: 16 << 30,
            runs: 200_000,
            archived: 100_000,
            archived_age: Duration::from_secs(7 * 24 * 3600),
            ledger_rings: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)),
            ledger_ring_bytes: 2 * 1024 * 1024,
            logs: LogLimits::default(),
            key: KeySource::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// The state cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open {}", path.display())]
pub struct OpenError {
    path: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Every store of a node. Clones of the handles may outlive this; after [`Stores::close`] they answer that the store is
/// closed.
#[derive(Debug)]
pub struct Stores {
    /// Functions, revisions, aliases, documents.
    pub metadata: Arc<dyn MetadataStore>,
    /// Asynchronous invocations.
    pub events: Arc<dyn EventQueue>,
    /// Message queues.
    pub messages: Arc<dyn MessageStore>,
    /// Runs and usage.
    pub runs: Arc<dyn RunStore>,
    /// Providers' own records.
    pub archive: Arc<dyn Archive>,
    /// Archives and unpacked trees.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Output of functions.
    pub logs: Arc<dyn LogSink>,
    dir: PathBuf,
    key: String,
    database: Arc<Database>,
    ledger: Arc<Ledger>,
    files: Arc<Artifacts>,
    filings: Arc<FileArchive>,
    lines: Arc<Logs>,
}

/// Opens or creates everything in the directory, and takes over what an earlier process left. Blocks on the disk.
///
/// # Errors
/// [`OpenError`], with the file or folder concerned: written by a newer version, damaged, or not accessible.
pub fn open(dir: &StateDir, options: Options) -> Result<Stores, OpenError> {
    let bounds = Bounds {
        pending_events: options.pending_events,
        pending_bytes: options.pending_bytes,
        settled_events: options.settled_events,
        history_events: options.history_events,
        history_bytes: options.history_bytes,
        letters: options.letters,
        letter_bytes: options.letter_bytes,
        tokens: options.tokens,
        messages: options.messages,
        message_bytes: options.message_bytes,
        runs: options.runs,
    };
    let path = dir.path().join("sonagi.db");
    let mut prepared = Prepared::open(path.clone(), bounds).map_err(at(path.clone()))?;
    let master = find_master(dir, &options.key, &prepared.connection).map_err(at(path.clone()))?;
    let keyring = Arc::new(Keyring::new(master));
    let sealed = seal_plain(&mut prepared.connection, &keyring).map_err(at(path.clone()))?;
    if sealed > 0 {
        tracing::info!(records = sealed, "records that were stored in the clear are sealed now");
    }
    let folder = dir.path().join("ledger");
    let sizes = RingSizes {
        shards: options.ledger_rings.max(1),
        bytes: options.ledger_ring_bytes,
    };
    let rings = Rings::open(&folder, sizes, &prepared).map_err(at(folder.clone()))?;
    let root = dir.path().join("artifacts");
    let artifacts = Arc::new(Artifacts::open(root.clone(), dir.node()).map_err(at(root))?);
    let root = dir.path().join("archive");
    let kept = ArchiveBounds {
        per_scope: options.archived,
        age_ms: i64::try_from(options.archived_age.as_millis()).unwrap_or(i64::MAX),
    };
    let filings = Arc::new(FileArchive::open(root.clone(), kept).map_err(at(root))?);
    let root = dir.path().join("logs");
    let lines = Logs::open(root.clone(), options.logs.function, options.clock).map_err(at(root))?;
    let lines = Arc::new(lines);
    let database = Arc::new(prepared.start(keyring.clone()).map_err(at(path))?);
    let ledger = Arc::new(Ledger::start(rings, database.clone()).map_err(at(folder))?);
    durable::sync_folder(dir.path()).map_err(at(dir.path().to_owned()))?;
    Ok(Stores {
        metadata: database.clone(),
        events: database.clone(),
        messages: database.clone(),
        runs: ledger.clone(),
        archive: filings.clone(),
        artifacts: artifacts.clone(),
        logs: lines.clone(),
        dir: dir.path().to_owned(),
        key: keyring.id(),
        database,
        ledger,
        files: artifacts,
        filings,
        lines,
    })
}

fn at<E: std::error::Error + Send + Sync + 'static>(path: PathBuf) -> impl FnOnce(E) -> OpenError {
    move |source| OpenError {
        path,
        source: Box::new(source),
    }
}

/// Every digest in a text.
fn digests(text: &str) -> impl Iterator<Item = Digest> {
    text.split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 64)
        .filter_map(|word| word.parse().ok())
}

impl Stores {
    /// The name of the key that seals secrets.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Removes archives that none of the records names: what is left of an upload whose record was never committed, or of a
    /// function whose removal was cut off. To be called with all records, before any archive is stored. Returns how many
    /// there were, and their bytes.
    ///
    /// A digest counts as named wherever it stands in a record, so that a provider may keep archives beside those of
    /// revisions.
    ///
    /// # Errors
    /// The disk failed; what was removed until then is gone.
    pub async fn remove_orphans(&self, records: &[Record]) -> Result<(usize, u64), ArtifactError> {
        let mut named = HashSet::new();
        for record in records {
            let text = match record {
                Record::Function(function) => serde_json::to_string(function),
                Record::Revision(revision) => serde_json::to_string(revision),
                Record::Alias(alias) => serde_json::to_string(alias),
                Record::Document { value, .. } => serde_json::to_string(value),
            };
            let text = text.map_err(|error| ArtifactError::Io {
                action: "look for names of archives in",
                path: self.dir.clone(),
                source: error.into(),
            })?;
            named.extend(digests(&text));
        }
        self.files.keep_only(named).await
    }

    /// Who makes backups of these stores.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup {
            dir: self.dir.clone(),
            key: self.key.clone(),
            database: self.database.clone(),
            ledger: self.ledger.clone(),
            artifacts: self.files.clone(),
        }
    }

    /// Finishes what waits, moves everything to where the next start finds it fastest, ends all threads. What is called
    /// afterwards is answered as closed, except appending to the ledger, which still keeps its promise.
    pub async fn close(&self) {
        self.lines.close().await;
        self.files.close().await;
        self.filings.close().await;
        self.ledger.close().await;
        self.database.close().await;
    }
}
