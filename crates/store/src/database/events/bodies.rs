//! Contents of events: small ones in the database, large ones as files beside it, so that the queue stays narrow.
//!
//! A file is durable before the row that names it, and is removed after the row is gone; what a crash leaves between the
//! two is removed by the next start.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};
use sonagi_crash::crash_point;
use sonagi_model::EventId;
use sonagi_ports::StoreError;

use super::{FORMAT, Head, READ, execute, key};
use crate::database::{Doing, unreadable};
use crate::durable;

/// Payloads larger than this are files, bytes.
const INLINE_MAX: usize = 256 * 1024;

const STORE: &str = "store the content of an event";

/// The folder of contents cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub(crate) struct BodiesError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A content on its way into the database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Inline(Bytes),
    File { name: String, digest: [u8; 32] },
}

/// The folder of large contents.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    folder: Arc<PathBuf>,
    /// How many need every file to stay.
    holders: Arc<AtomicUsize>,
}

/// While it lives no file is removed; those whose time came are removed by the next start.
#[derive(Debug)]
pub(crate) struct HeldBodies(Arc<AtomicUsize>);

impl Drop for HeldBodies {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bodies {
    /// See [`HeldBodies`].
    pub(crate) fn hold(&self) -> HeldBodies {
        self.holders.fetch_add(1, Ordering::SeqCst);
        HeldBodies(self.holders.clone())
    }

    /// Opens or makes the folder, and removes files that no row names.
    pub(crate) fn open(folder: PathBuf, connection: &Connection) -> Result<Self, BodiesError> {
        let failed = |action, path: &PathBuf| {
            let path = path.clone();
            move |source| BodiesError { action, path, source }
        };
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let named = connection
            .prepare("SELECT file FROM bodies WHERE file IS NOT NULL")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| row.get(0))?
                    .collect::<Result<HashSet<String>, _>>()
            })
            .map_err(|error| failed("list the contents in", &folder)(io::Error::other(error)))?;
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let path = entry.map_err(failed("list", &folder))?.path();
            let wanted = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| named.contains(name));
            if !wanted {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(Self {
            folder: Arc::new(folder),
            holders: Arc::default(),
        })
    }

    /// Makes a payload ready to be named by a row: a large one is on disk when this returns.
    pub(crate) async fn prepare(&self, payload: &Bytes) -> Result<Body, StoreError> {
        if payload.len() <= INLINE_MAX {
            return Ok(Body::Inline(payload.clone()));
        }
        let name = durable::random_name();
        let (path, payload) = (self.folder.join(&name), payload.clone());
        let written = tokio::task::spawn_blocking(move || {
            durable::replace(&path, &payload)?;
            crash_point!("body/written");
            Ok::<_, io::Error>(Sha256::digest(&payload).into())
        });
        match written.await {
            Ok(Ok(digest)) => Ok(Body::File { name, digest }),
            Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => Err(StoreError::Full(STORE)),
            Ok(Err(error)) => Err(StoreError::Database {
                action: STORE,
                source: Box::new(error),
            }),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// The payload of a stored body, checked.
    pub(crate) fn payload(&self, id: EventId, body: Body) -> Result<Bytes, StoreError> {
        let (name, digest) = match body {
            Body::Inline(payload) => return Ok(payload),
            Body::File { name, digest } => (name, digest),
        };
        let path = self.folder.join(name);
        let content = fs::read(&path)
            .map_err(|error| unreadable(format!("event {id}"), format!("read {}: {error}", path.display())))?;
        if Sha256::digest(&content).as_slice() != digest {
            let why = format!("{} is not what was stored", path.display());
            return Err(unreadable(format!("event {id}"), why));
        }
        Ok(content.into())
    }

    /// Removes files whose rows are gone. A failure only leaves work for the next start.
    pub(crate) async fn remove(&self, names: Vec<String>) {
        if names.is_empty() || self.holders.load(Ordering::SeqCst) > 0 {
            return;
        }
        crash_point!("body/unnamed");
        let folder = self.folder.clone();
        let removed = tokio::task::spawn_blocking(move || {
            for name in names {
                if let Err(error) = fs::remove_file(folder.join(&name)) {
                    tracing::warn!(%name, %error, "the content of an ended event stays until the next start");
                }
            }
        });
        drop(removed.await);
    }
}

/// Stores the body of an event under the next number, within the caller's transaction; that number.
pub(super) fn insert(connection: &Connection, head: &str, body: &Body) -> Result<i64, StoreError> {
    let (payload, file, digest) = match body {
        Body::Inline(payload) => (Some(payload.as_ref()), None, None),
        Body::File { name, digest } => (None, Some(name), Some(digest.as_slice())),
    };
    let sql = "INSERT INTO bodies (head, payload, file, digest, format) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(connection, STORE, sql, params![head, payload, file, digest, FORMAT])?;
    Ok(connection.last_insert_rowid())
}

/// Removes a body by its number, within the caller's transaction; the name of its file, if it has one.
pub(super) fn remove(connection: &Connection, number: i64) -> Result<Option<String>, StoreError> {
    let file: Option<Option<String>> = connection
        .prepare_cached("DELETE FROM bodies WHERE number = ?1 RETURNING file")
        .and_then(|mut statement| statement.query_row([number], |row| row.get(0)).optional())
        .doing("remove the content of an event")?;
    Ok(file.flatten())
}

/// The head and body of an event; `None`: it is not stored.
pub(super) fn find(connection: &Connection, id: EventId) -> Result<Option<(Head, Body)>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT head, payload, file, digest, format FROM bodies WHERE number =
             (SELECT body FROM queue WHERE id = ?1 UNION ALL SELECT body FROM ended WHERE id = ?1 AND kept = 1)",
        )
        .doing(READ)?;
    let mut rows = statement.query([key(&id)]).doing(READ)?;
    let Some(row) = rows.next().doing(READ)? else {
        return Ok(None);
    };
    let format: i64 = row.get(4).doing(READ)?;
    if format != FORMAT {
        let why = format!("format {format}, this program reads format {FORMAT}");
        return Err(unreadable(format!("event {id}"), why));
    }
    let head = Head::parse(id, row.get_ref(0).and_then(|text| Ok(text.as_str()?)).doing(READ)?)?;
    let file: Option<String> = row.get(2).doing(READ)?;
    let body = match file {
        Some(name) => Body::File {
            name,
            digest: row.get(3).doing(READ)?,
        },
        None => Body::Inline(Bytes::from(row.get::<_, Vec<u8>>(1).doing(READ)?)),
    };
    Ok(Some((head, body)))
}
