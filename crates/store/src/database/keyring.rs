//! Data keys, and records sealed with them.
//!
//! A sealed record is `KEY.SEALED`, the number of its data key and what that key sealed. The table of data keys is asked at
//! each use, and what is in memory only saves unwrapping: a key that was made in a transaction that did not come about
//! is never used.

use std::collections::HashMap;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};
use sonagi_crash::crash_point;
use sonagi_ports::StoreError;
use zeroize::Zeroizing;

use super::{Doing, unreadable};
use crate::keys::{DataKey, KEY_FILE, KeyError, KeySource, MasterKey, NEXT_KEY_FILE};
use crate::{StateDir, durable};

const SEAL: &str = "seal a record";

/// Where sealed records are: table, column of the record, what tells one from the other.
const TABLES: [(&str, &str, &str); 3] = [
    ("functions", "record", "lower(hex(id))"),
    ("revisions", "record", "lower(hex(id))"),
    ("documents", "value", "collection || char(31) || key"),
];

/// What seals and opens records.
#[derive(Debug)]
pub(crate) struct Keyring {
    master: MasterKey,
    /// By number: as it is in the table, and open.
    open: Mutex<HashMap<i64, (String, DataKey)>>,
}

/// Between the set of a document and its key, in its identity.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// A record in words.
pub(crate) fn described(table: &str, identity: &str) -> String {
    format!("{table} {}", identity.replace(SEPARATOR, "/"))
}

/// One place of a record: records do not open elsewhere.
fn place(table: &str, identity: &str, scope: &str) -> String {
    format!("sonagi record\n{table}\n{identity}\n{scope}")
}

impl Keyring {
    pub(crate) fn new(master: MasterKey) -> Self {
        Self {
            master,
            open: Mutex::default(),
        }
    }

    /// The name of the master key.
    pub(crate) fn id(&self) -> String {
        self.master.id()
    }

    /// Seals a record within the transaction that stores it.
    pub(crate) fn seal(
        &self,
        connection: &Connection,
        (table, identity): (&str, &str),
        scope: &str,
        plain: &[u8],
    ) -> Result<String, StoreError> {
        let (number, key) = self.key_of(connection, scope)?;
        let sealed = key.seal(&place(table, identity, scope), plain);
        let sealed = sealed.map_err(|error| unreadable(described(table, identity), error))?;
        Ok(format!("{number}.{sealed}"))
    }

    /// Opens a record.
    pub(crate) fn open(
        &self,
        connection: &Connection,
        (table, identity): (&str, &str),
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let what = || described(table, identity);
        let parts = sealed
            .split_once('.')
            .and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
        let (number, sealed) = parts.ok_or_else(|| unreadable(what(), "it is not sealed as it should be"))?;
        let row: Option<(String, String)> = connection
            .prepare_cached("SELECT scope, wrapped FROM data_keys WHERE id = ?1")
            .and_then(|mut rows| {
                rows.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .doing("load a data key")?;
        let (scope, wrapped) = row.ok_or_else(|| unreadable(what(), "its data key is gone"))?;
        let key = self.unwrapped(number, &scope, wrapped)?;
        key.open(&place(table, identity, &scope), sealed)
            .map_err(|error| unreadable(what(), error))
    }

    fn unwrapped(&self, number: i64, scope: &str, wrapped: String) -> Result<DataKey, StoreError> {
        if let Some((known, key)) = self.open.lock().get(&number)
            && *known == wrapped
        {
            return Ok(key.clone());
        }
        let key = self.master.unwrap(scope, &wrapped);
        let key = key.map_err(|error| unreadable(format!("data key {number}"), error))?;
        self.open.lock().insert(number, (wrapped, key.clone()));
        Ok(key)
    }

    /// The key of a scope, made if there is none.
    fn key_of(&self, connection: &Connection, scope: &str) -> Result<(i64, DataKey), StoreError> {
        let found: Option<(i64, String)> = connection
            .prepare_cached("SELECT id, wrapped FROM data_keys WHERE scope = ?1")
            .and_then(|mut rows| rows.query_row([scope], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .doing(SEAL)?;
        if let Some((number, wrapped)) = found {
            return Ok((number, self.unwrapped(number, scope, wrapped)?));
        }
        let key = DataKey::generate();
        let wrapped = self.master.wrap(scope, &key);
        let wrapped = wrapped.map_err(|error| unreadable("data key", error))?;
        connection
            .prepare_cached("INSERT INTO data_keys (scope, master, wrapped) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.insert(params![scope, self.master.id(), wrapped]))
            .doing(SEAL)
            .map(|number| (number, key))
    }
}

/// Finds the master key for a database: the one that its data keys are wrapped with. Makes one at the first start.
pub(crate) fn find_master(dir: &StateDir, source: &KeySource, connection: &Connection) -> Result<MasterKey, KeyError> {
    let needed = needed_master(connection)?;
    let path = match source {
        KeySource::StateDir => {
            finish_exchange(dir, needed.as_deref())?;
            dir.path().join(KEY_FILE)
        }
        KeySource::File(path) => path.clone(),
    };
    match (MasterKey::read(&path)?, needed) {
        (Some(found), Some(expected)) if found.id() != expected => Err(KeyError::Other {
            path,
            expected,
            found: found.id(),
        }),
        (Some(found), _) => Ok(found),
        (None, None) if *source == KeySource::StateDir => {
            let made = MasterKey::generate();
            made.write(dir, KEY_FILE)?;
            Ok(made)
        }
        (None, needed) => Err(KeyError::Missing {
            path,
            id: needed.unwrap_or_else(|| "none yet".to_owned()),
        }),
    }
}

/// The master key that data keys are wrapped with, if there are any.
pub(crate) fn needed_master(connection: &Connection) -> Result<Option<String>, KeyError> {
    connection
        .query_row("SELECT master FROM data_keys LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(failed("read the data keys"))
}

/// An exchange of keys that was interrupted: the file that fits the database becomes the key.
fn finish_exchange(dir: &StateDir, needed: Option<&str>) -> Result<(), KeyError> {
    let next = dir.path().join(NEXT_KEY_FILE);
    let Some(key) = MasterKey::read(&next)? else {
        return Ok(());
    };
    let done = if needed == Some(key.id().as_str()) {
        std::fs::rename(&next, dir.path().join(KEY_FILE))
    } else {
        std::fs::remove_file(&next)
    };
    done.and_then(|()| durable::sync_folder(dir.path()))
        .map_err(|source| KeyError::Io {
            action: "exchange",
            path: next,
            source,
        })
}

/// Wraps every data key with another master key, all or none. How many there are.
pub(crate) fn rewrap(connection: &mut Connection, old: &MasterKey, new: &MasterKey) -> Result<usize, KeyError> {
    let transaction = connection.transaction().map_err(failed("begin"))?;
    let keys = {
        let mut rows = transaction
            .prepare("SELECT id, scope, wrapped FROM data_keys")
            .map_err(failed("read the data keys"))?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let rows = rows.and_then(|rows| rows.collect::<rusqlite::Result<Vec<(i64, String, String)>>>());
        rows.map_err(failed("read the data keys"))?
    };
    for (number, scope, wrapped) in &keys {
        let wrapped = new.wrap(scope, &old.unwrap(scope, wrapped)?)?;
        transaction
            .execute(
                "UPDATE data_keys SET master = ?2, wrapped = ?3 WHERE id = ?1",
                params![number, new.id(), wrapped],
            )
            .map_err(failed("write a data key"))?;
    }
    transaction.commit().map_err(failed("commit"))?;
    crash_point!("keys/rewrapped");
    Ok(keys.len())
}

/// Seals what an earlier version stored in the clear, and wipes what it left in free pages. How many records there were.
pub(crate) fn seal_plain(connection: &mut Connection, keyring: &Keyring) -> Result<usize, StoreError> {
    let mut sealed = 0;
    let transaction = connection.transaction().doing(SEAL)?;
    for (table, column, identity) in TABLES {
        let select = format!("SELECT rowid, {identity}, {column} FROM {table} WHERE format = 1");
        let rows = {
            let mut rows = transaction.prepare(&select).doing(SEAL)?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let rows = rows.and_then(|rows| rows.collect::<rusqlite::Result<Vec<(i64, String, String)>>>());
            rows.doing(SEAL)?
        };
        let update = format!("UPDATE {table} SET format = 2, {column} = ?2 WHERE rowid = ?1");
        for (row, identity, plain) in &rows {
            let scope = scope_of(table, identity, plain)?;
            let text = keyring.seal(&transaction, (table, identity), &scope, plain.as_bytes())?;
            transaction.execute(&update, params![row, text]).doing(SEAL)?;
        }
        sealed += rows.len();
    }
    transaction.commit().doing(SEAL)?;
    if sealed > 0 {
        connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            .doing("wipe what was stored in the clear")?;
    }
    Ok(sealed)
}

/// The scope of a record that is in the clear.
fn scope_of(table: &str, identity: &str, plain: &str) -> Result<String, StoreError> {
    #[derive(serde::Deserialize)]
    struct Owned {
        tenant: String,
    }
    if table == "documents" {
        return Ok(scope_of_documents(identity.split(SEPARATOR).next().unwrap_or(identity)));
    }
    let owned: Owned = serde_json::from_str(plain).map_err(|error| unreadable(described(table, identity), error))?;
    Ok(scope_of_tenant(&owned.tenant))
}

/// The scope of a tenant's functions.
pub(crate) fn scope_of_tenant(tenant: &str) -> String {
    format!("tenant/{tenant}")
}

/// The scope of a set of documents.
pub(crate) fn scope_of_documents(collection: &str) -> String {
    format!("documents/{collection}")
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> KeyError {
    move |error| KeyError::Database {
        action,
        source: Box::new(error),
    }
}
