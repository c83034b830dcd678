//! Functions, revisions, aliases and documents, each a JSON record with the version of its format. All but aliases are
//! sealed.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sonagi_model::{Alias, AliasName, Document, Function, FunctionId, FunctionName, Namespace, Revision, RevisionId};
use sonagi_ports::{Change, MetadataStore, Record, StoreError};
use zeroize::Zeroizing;

use super::failure::Conflict;
use super::keyring::{Keyring, SEPARATOR, described, scope_of_documents, scope_of_tenant};
use super::{Database, Doing, unreadable};

/// Version of the format in which records are written in the clear. Reading accepts this one; a change of a record's form
/// comes with a new number and a reader for the old.
const FORMAT: i64 = 1;
/// A record of format 1, sealed.
const SEALED: i64 = 2;

const LOAD: &str = "load records";
const COMMIT: &str = "commit records";

#[async_trait]
impl MetadataStore for Database {
    async fn load(&self) -> Result<Vec<Record>, StoreError> {
        let keyring = self.keyring();
        self.read(move |connection| load(connection, &keyring)).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let keyring = self.keyring();
        self.write(COMMIT, move |connection| {
            let store = Sealing {
                connection,
                keyring: &keyring,
            };
            changes.iter().try_for_each(|change| apply(&store, change))
        })
        .await
    }
}

/// A connection whose records are sealed.
struct Sealing<'a> {
    connection: &'a Connection,
    keyring: &'a Keyring,
}

fn load(connection: &Connection, keyring: &Keyring) -> Result<Vec<Record>, StoreError> {
    // One transaction, so that the four tables are of one moment.
    let snapshot = connection.unchecked_transaction().doing(LOAD)?;
    let store = Sealing {
        connection: &snapshot,
        keyring,
    };
    let mut records = Vec::new();
    let sql = "SELECT lower(hex(id)), format, record FROM functions";
    rows(&store, "functions", sql, |_, record| {
        records.push(Record::Function(record))
    })?;
    let sql = "SELECT lower(hex(id)), format, record FROM revisions";
    rows(&store, "revisions", sql, |_, record| {
        records.push(Record::Revision(record))
    })?;
    let sql = "SELECT name, format, record FROM aliases";
    rows(&store, "aliases", sql, |_, record| records.push(Record::Alias(record)))?;
    let sql = "SELECT collection || char(31) || key, format, value FROM documents";
    rows(&store, "documents", sql, |identity: &str, value| {
        let (collection, key) = identity.split_once(SEPARATOR).unwrap_or((identity, ""));
        let (collection, key) = (collection.to_owned(), key.to_owned());
        records.push(Record::Document { collection, key, value });
    })?;
    Ok(records)
}

fn rows<T: DeserializeOwned>(
    store: &Sealing<'_>,
    table: &str,
    sql: &str,
    mut take: impl FnMut(&str, T),
) -> Result<(), StoreError> {
    let mut statement = store.connection.prepare(sql).doing(LOAD)?;
    let mut rows = statement.query([]).doing(LOAD)?;
    while let Some(row) = rows.next().doing(LOAD)? {
        let (identity, format): (String, i64) = (row.get(0).doing(LOAD)?, row.get(1).doing(LOAD)?);
        let text = row.get_ref(2).and_then(|text| Ok(text.as_str()?)).doing(LOAD)?;
        let what = described(table, &identity);
        if format == SEALED {
            let plain = store.keyring.open(store.connection, (table, &identity), text)?;
            let record = serde_json::from_slice(&plain).map_err(|error| unreadable(&what, error))?;
            take(&identity, record);
        } else {
            take(&identity, decode(&what, format, text)?);
        }
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(what: &str, format: i64, text: &str) -> Result<T, StoreError> {
    if format != FORMAT {
        return Err(unreadable(
            what,
            format!("format {format}, this program reads format {FORMAT}"),
        ));
    }
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

fn encode<T: Serialize>(what: &str, record: &T) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| unreadable(what, error))
}

impl Sealing<'_> {
    /// A record as it is stored.
    fn sealed<T: Serialize>(
        &self,
        (table, identity): (&str, &str),
        scope: &str,
        record: &T,
    ) -> Result<String, StoreError> {
        let plain = Zeroizing::new(encode(table, record)?);
        self.keyring
            .seal(self.connection, (table, identity), scope, plain.as_bytes())
    }
}

fn apply(store: &Sealing<'_>, change: &Change) -> Result<(), StoreError> {
    let connection = store.connection;
    match change {
        Change::Put(Record::Function(function)) => put_function(store, function),
        Change::Put(Record::Revision(revision)) => put_revision(store, revision),
        Change::Put(Record::Alias(alias)) => put_alias(connection, alias),
        Change::Put(Record::Document { collection, key, value }) => put_document(store, collection, key, value),
        Change::RemoveFunction(id) => remove_function(connection, *id),
        Change::RemoveRevision(id) => remove_revision(connection, *id),
        Change::RemoveAlias(function, name) => remove_alias(connection, *function, name),
        Change::RemoveDocument { collection, key } => remove_document(connection, collection, key),
    }
}

fn execute(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .doing(COMMIT)
        .map(drop)
}

fn put_function(store: &Sealing<'_>, function: &Function) -> Result<(), StoreError> {
    let (connection, id) = (store.connection, function.id.as_uuid().as_bytes());
    let (namespace, name) = (&function.namespace, &function.name);
    if name_is_taken(connection, id, namespace, name)? {
        return Err(Conflict::error(
            COMMIT,
            format!("function {name} exists already in {namespace}"),
        ));
    }
    execute(
        connection,
        "INSERT INTO functions (id, namespace, name, format, record) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET namespace = ?2, name = ?3, format = ?4, record = ?5",
        params![
            id,
            namespace.as_str(),
            name.as_str(),
            SEALED,
            store.sealed(
                ("functions", &hex::encode(id)),
                &scope_of_tenant(function.tenant.as_str()),
                function
            )?
        ],
    )
}

fn name_is_taken(
    connection: &Connection,
    id: &[u8; 16],
    namespace: &Namespace,
    name: &FunctionName,
) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM functions WHERE namespace = ?1 AND name = ?2 AND id <> ?3")
        .and_then(|mut statement| statement.exists(params![namespace.as_str(), name.as_str(), id]))
        .doing(COMMIT)
}

fn put_revision(store: &Sealing<'_>, revision: &Revision) -> Result<(), StoreError> {
    let id = revision.id.as_uuid().as_bytes();
    execute(
        store.connection,
        "INSERT INTO revisions (id, function, format, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET function = ?2, format = ?3, record = ?4",
        params![
            id,
            revision.function.as_uuid().as_bytes(),
            SEALED,
            store.sealed(
                ("revisions", &hex::encode(id)),
                &scope_of_tenant(revision.tenant.as_str()),
                revision
            )?
        ],
    )
}

fn put_alias(connection: &Connection, alias: &Alias) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO aliases (function, name, format, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (function, name) DO UPDATE SET format = ?3, record = ?4",
        params![
            alias.function.as_uuid().as_bytes(),
            alias.name.as_str(),
            FORMAT,
            encode("alias", alias)?
        ],
    )
}

fn put_document(store: &Sealing<'_>, collection: &str, key: &str, value: &Document) -> Result<(), StoreError> {
    let (identity, scope) = (format!("{collection}{SEPARATOR}{key}"), scope_of_documents(collection));
    let sealed = store.sealed(("documents", &identity), &scope, value)?;
    execute(
        store.connection,
        "INSERT INTO documents (collection, key, format, value) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (collection, key) DO UPDATE SET format = ?3, value = ?4",
        params![collection, key, SEALED, sealed],
    )
}

fn remove_function(connection: &Connection, id: FunctionId) -> Result<(), StoreError> {
    let id = id.as_uuid().as_bytes();
    execute(connection, "DELETE FROM aliases WHERE function = ?1", [id])?;
    execute(connection, "DELETE FROM revisions WHERE function = ?1", [id])?;
    execute(connection, "DELETE FROM functions WHERE id = ?1", [id])
}

fn remove_revision(connection: &Connection, id: RevisionId) -> Result<(), StoreError> {
    execute(
        connection,
        "DELETE FROM revisions WHERE id = ?1",
        [id.as_uuid().as_bytes()],
    )
}

fn remove_alias(connection: &Connection, function: FunctionId, name: &AliasName) -> Result<(), StoreError> {
    let sql = "DELETE FROM aliases WHERE function = ?1 AND name = ?2";
    execute(connection, sql, params![function.as_uuid().as_bytes(), name.as_str()])
}

fn remove_document(connection: &Connection, collection: &str, key: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "DELETE FROM documents WHERE collection = ?1 AND key = ?2",
        params![collection, key],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as format 1 was first written; they must stay readable for as long as the format is.
    const ALIAS_1: &str = r#"{"function":"fn_0197e3c5d4c87a1e9f0a3b2c1d0e4f5a","name":"live","route":{"primary":"rev_0197e3c5d4c87a1e9f0a3b2c1d0e4f5b","secondary":["rev_0197e3c5d4c87a1e9f0a3b2c1d0e4f5c",0.25]},"document":null}"#;
    const FUNCTION_1: &str = r#"{"id":"fn_0197e3c5d4c87a1e9f0a3b2c1d0e4f5a","namespace":"test/tenant","tenant":"tenant","name":"hello","latest":"rev_0197e3c5d4c87a1e9f0a3b2c1d0e4f5b","reserved_concurrency":null,"created":1767225600000000,"document":{"z":1,"a":2}}"#;
    const REVISION_1: &str = r#"{"id":"rev_0197e3c5d4c87a1e9f0a3b2c1d0e4f5b","function":"fn_0197e3c5d4c87a1e9f0a3b2c1d0e4f5a","namespace":"test/tenant","tenant":"tenant","name":"hello","label":"1","artifact":{"digest":"0101010101010101010101010101010101010101010101010101010101010101","size":10,"tree":"0202020202020202020202020202020202020202020202020202020202020202","unpacked_size":20},"spec":{"contract":"test","runtime":"test1","handler":"main.handler","memory":128,"timeout":{"secs":3,"nanos":0},"scratch":512,"environment":{"KEY":"value"},"concurrency":1},"created":1767225600000000,"document":null}"#;

    #[test]
    fn yesterdays_records_are_read_and_written_the_same() {
        let function: Function = decode("function", 1, FUNCTION_1).unwrap();
        let revision: Revision = decode("revision", 1, REVISION_1).unwrap();
        let alias: Alias = decode("alias", 1, ALIAS_1).unwrap();
        assert_eq!(function.latest, revision.id);
        assert_eq!(encode("function", &function).unwrap(), FUNCTION_1);
        assert_eq!(encode("revision", &revision).unwrap(), REVISION_1);
        assert_eq!(encode("alias", &alias).unwrap(), ALIAS_1);
    }

    #[test]
    fn another_format_is_refused_with_its_number() {
        let refused = decode::<Alias>("alias", 3, ALIAS_1).unwrap_err().to_string();
        assert_eq!(
            refused,
            "stored alias cannot be read: format 3, this program reads format 1"
        );
    }
}
