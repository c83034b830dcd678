//! What an operator does with the master key while the platform is stopped: look at it, exchange it.

use std::path::{Path, PathBuf};

use super::{KEY_FILE, KeyError, KeySource, MasterKey, NEXT_KEY_FILE};
use crate::database::{Bounds, Prepared, find_master, needed_master, rewrap};
use crate::{StateDir, durable};

/// A master key, as far as it may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// Its name.
    pub id: String,
    /// Its file.
    pub file: PathBuf,
    /// Data keys that it wraps.
    pub data_keys: usize,
}

/// Looks at the key of a stopped platform. Nothing is changed.
///
/// # Errors
/// [`KeyError`]: it is not there, not readable by us alone, or another one than the stored records need.
pub fn inspect_key(dir: &StateDir, source: &KeySource) -> Result<KeyReport, KeyError> {
    let prepared = open(dir)?;
    let master = find_master(dir, source, &prepared.connection)?;
    Ok(KeyReport {
        id: master.id(),
        file: file(dir, source),
        data_keys: count(&prepared)?,
    })
}

/// Exchanges the master key of a stopped platform: every data key is wrapped with the new one, in one transaction.
///
/// With a file named as `to`, that file has the new key; it is made if it is not there. Without one, the key in the state
/// directory is replaced; an interrupted exchange is finished or taken back by the next start.
///
/// # Errors
/// [`KeyError`]; the old key is valid then.
pub fn rotate_key(dir: &StateDir, source: &KeySource, to: Option<&Path>) -> Result<KeyReport, KeyError> {
    let mut prepared = open(dir)?;
    let old = find_master(dir, source, &prepared.connection)?;
    let (new, target) = match to {
        Some(path) => (read_or_create(path)?, path.to_owned()),
        None => {
            let new = MasterKey::generate();
            new.write(dir, NEXT_KEY_FILE)?;
            (new, dir.path().join(KEY_FILE))
        }
    };
    let data_keys = rewrap(&mut prepared.connection, &old, &new)?;
    if to.is_none() {
        let next = dir.path().join(NEXT_KEY_FILE);
        let done = std::fs::rename(&next, &target).and_then(|()| durable::sync_folder(dir.path()));
        done.map_err(|source| KeyError::Io {
            action: "replace",
            path: target.clone(),
            source,
        })?;
    }
    Ok(KeyReport {
        id: new.id(),
        file: target,
        data_keys,
    })
}

fn open(dir: &StateDir) -> Result<Prepared, KeyError> {
    let opened = Prepared::open(dir.path().join("sonagi.db"), Bounds::default());
    opened.map_err(|error| KeyError::Database {
        action: "open the database",
        source: Box::new(error),
    })
}

fn count(prepared: &Prepared) -> Result<usize, KeyError> {
    if needed_master(&prepared.connection)?.is_none() {
        return Ok(0);
    }
    let counted = prepared
        .connection
        .query_row("SELECT count(*) FROM data_keys", [], |row| row.get::<_, i64>(0));
    counted
        .map(|count| usize::try_from(count).unwrap_or(0))
        .map_err(|error| KeyError::Database {
            action: "count the data keys",
            source: Box::new(error),
        })
}

fn file(dir: &StateDir, source: &KeySource) -> PathBuf {
    match source {
        KeySource::StateDir => dir.path().join(KEY_FILE),
        KeySource::File(path) => path.clone(),
    }
}

fn read_or_create(path: &Path) -> Result<MasterKey, KeyError> {
    if let Some(key) = MasterKey::read(path)? {
        return Ok(key);
    }
    let made = MasterKey::generate();
    made.create(path)?;
    Ok(made)
}
