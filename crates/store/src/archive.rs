//! The archive: a journal that keeps a record at the price of one write into the page cache, and a SQLite file of its
//! own into which one thread moves what the journal holds. Apart from the main database, because its records are large,
//! many, and weaker: they survive the end of the process at any moment, not that of the machine.

mod journal;
mod tables;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use sonagi_ports::{Archive, Filing, FilingFilter, FilingPart, StoreError};
use tokio::sync::oneshot;

use journal::Journal;
use tables::{Keep, Tables};

/// Bytes of records that wait to be moved; more are refused as busy.
const WAITING_BYTES: usize = 256 * 1024 * 1024;
/// Readers that wait; further ones are refused as busy.
const WAITING_READERS: usize = 1024;
/// Records moved in one transaction.
const GROUP: usize = 512;

type Reader = Box<dyn FnOnce(&Tables) + Send>;

/// Bounds of the archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveBounds {
    /// Newest records kept of each scope.
    pub(crate) per_scope: u64,
    /// Age at which records go, milliseconds.
    pub(crate) age_ms: i64,
}

/// The archive could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The journal.
    #[error("read the archive's journal")]
    Journal(#[from] std::io::Error),
    /// The database.
    #[error("open the archive's database")]
    Tables(#[from] rusqlite::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FileArchive {
    shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

struct State {
    journal: Journal,
    /// In the journal and not in the database yet, oldest first.
    waiting: VecDeque<Arc<Filing>>,
    bytes: usize,
    readers: VecDeque<Reader>,
    closed: bool,
}

fn size(filing: &Filing) -> usize {
    filing.body.len() + filing.summary.len() + filing.label.len() + filing.scope.len() + 128
}

impl FileArchive {
    /// Opens or makes the archive in a folder and takes up what an earlier process left in the journal. Blocks on the
    /// disk.
    pub(crate) fn open(folder: PathBuf, bounds: ArchiveBounds) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(&folder)?;
        let (journal, left) = Journal::open(&folder.join("journal"))?;
        let keep = Keep {
            per_scope: bounds.per_scope,
            age_ms: bounds.age_ms,
        };
        let tables = Tables::open(&folder.join("archive.db"), keep)?;
        let waiting: VecDeque<Arc<Filing>> = left.into_iter().map(Arc::new).collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                journal,
                bytes: waiting.iter().map(|filing| size(filing)).sum(),
                waiting,
                readers: VecDeque::new(),
                closed: false,
            }),
            wake: Condvar::new(),
        });
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("store-archive".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                serve(&shared, tables);
                let _ = ended.send(());
            }
        })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some((thread, end))),
        })
    }

    /// Moves what waits and ends the thread.
    pub(crate) async fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        if let Some((_thread, end)) = thread {
            let _ = end.await;
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Err(StoreError::Closed);
            }
            if state.readers.len() >= WAITING_READERS {
                return Err(StoreError::Busy {
                    what: "the archive",
                    limit: WAITING_READERS,
                });
            }
            state.readers.push_back(Box::new(move |tables| {
                // Whoever asked may have gone.
                let _ = reply.send(work(tables));
            }));
        }
        self.shared.wake.notify_one();
        answer.await.map_err(|_gone| StoreError::Closed)?
    }
}

impl Drop for FileArchive {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

/// What the thread does next.
enum Work {
    Move(Vec<Arc<Filing>>),
    Read(Reader),
    End,
}

/// Records first, so that readers see what was filed before they asked.
fn next(shared: &Shared) -> Work {
    let mut state = shared.state.lock();
    loop {
        if !state.waiting.is_empty() {
            return Work::Move(state.waiting.iter().take(GROUP).cloned().collect());
        }
        if let Some(reader) = state.readers.pop_front() {
            return Work::Read(reader);
        }
        if state.closed {
            return Work::End;
        }
        shared.wake.wait(&mut state);
    }
}

fn serve(shared: &Shared, mut tables: Tables) {
    loop {
        match next(shared) {
            Work::Read(reader) => reader(&tables),
            Work::End => return,
            Work::Move(group) => {
                if let Err(error) = tables.insert(&group) {
                    tracing::error!(%error, records = group.len(), "records cannot be filed; they are left out");
                }
                moved(shared, &group);
            }
        }
    }
}

/// These are filed; an empty journal begins anew.
fn moved(shared: &Shared, group: &[Arc<Filing>]) {
    let mut state = shared.state.lock();
    let state = &mut *state;
    for filing in group {
        state.waiting.pop_front();
        state.bytes -= size(filing);
    }
    if state.waiting.is_empty()
        && let Err(error) = state.journal.clear()
    {
        tracing::error!(%error, "the archive's journal cannot be cleared; its records are filed again at the next start");
    }
}

#[async_trait]
impl Archive for FileArchive {
    fn file(&self, filing: Filing) -> Result<(), StoreError> {
        let bytes = size(&filing);
        {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Err(StoreError::Closed);
            }
            if state.bytes + bytes > WAITING_BYTES {
                return Err(StoreError::Busy {
                    what: "the archive",
                    limit: WAITING_BYTES,
                });
            }
            state.journal.append(&filing).map_err(|error| StoreError::Database {
                action: "write the archive's journal",
                source: Box::new(error),
            })?;
            state.bytes += bytes;
            state.waiting.push_back(Arc::new(filing));
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    async fn get(&self, scope: &str, id: &str) -> Result<Option<Bytes>, StoreError> {
        let (scope, id) = (scope.to_owned(), id.to_owned());
        self.read(move |tables| tables.get(&scope, &id)).await
    }

    async fn list(&self, filter: FilingFilter, part: FilingPart) -> Result<Vec<Bytes>, StoreError> {
        self.read(move |tables| tables.list(&filter, part)).await
    }

    async fn count(&self, filter: FilingFilter) -> Result<u64, StoreError> {
        self.read(move |tables| tables.count(&filter)).await
    }
}

#[cfg(test)]
mod tests {
    use sonagi_model::Timestamp;

    use super::*;

    fn bounds() -> ArchiveBounds {
        ArchiveBounds {
            per_scope: 10,
            age_ms: 1_000_000,
        }
    }

    fn filing(id: u64) -> Filing {
        Filing {
            scope: "s".to_owned(),
            id: id.to_string(),
            at: Timestamp::from_millis(id.cast_signed()),
            label: String::new(),
            summary: Bytes::new(),
            body: Bytes::from(id.to_string()),
        }
    }

    fn newest() -> FilingFilter {
        FilingFilter {
            scope: "s".to_owned(),
            limit: 1000,
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn what_the_journal_holds_is_filed_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&dir.path().join("journal")).unwrap();
        journal.append(&filing(7)).unwrap();
        drop(journal);
        // A record whose writing was cut off is left out.
        use std::io::Write as _;
        let path = dir.path().join("journal");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[9, 0, 0, 0, 1, 2]).unwrap();
        let archive = FileArchive::open(dir.path().to_owned(), bounds()).unwrap();
        assert_eq!(archive.get("s", "7").await.unwrap().as_deref(), Some(b"7".as_slice()));
        archive.close().await;
        assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
        assert!(matches!(archive.file(filing(1)), Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn the_oldest_records_of_a_scope_go() {
        let dir = tempfile::tempdir().unwrap();
        let archive = FileArchive::open(dir.path().to_owned(), bounds()).unwrap();
        for id in 0..(tables::PRUNE_EVERY * 2) {
            archive.file(filing(id)).unwrap();
        }
        let left = archive.count(newest()).await.unwrap();
        assert!(left < tables::PRUNE_EVERY + GROUP as u64 + 10, "{left} are left");
        let listed = archive.list(newest(), FilingPart::Body).await.unwrap();
        assert_eq!(listed[0], Bytes::from((tables::PRUNE_EVERY * 2 - 1).to_string()));
        archive.close().await;
    }
}
