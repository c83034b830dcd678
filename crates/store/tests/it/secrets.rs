//! Secrets at rest: what lies on the disk tells none, and opens with its key only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;
use sonagi_model::Document;
use sonagi_ports::fake::sample;
use sonagi_ports::{Change, Record};
use sonagi_store::{KeySource, Options, StateDir, inspect_key, rotate_key};

use crate::opened::Opened;

const SECRET: &str = "a-secret-that-is-easily-found";

fn document() -> Record {
    Record::Document {
        collection: "test.accounts".to_owned(),
        key: "a/b".to_owned(),
        value: Document(serde_json::json!({ "secret": SECRET })),
    }
}

fn records() -> Vec<Record> {
    let function = sample::function("kept");
    let mut revision = sample::revision(&function);
    revision.spec.environment.insert("TOKEN".to_owned(), SECRET.to_owned());
    vec![Record::Function(function), Record::Revision(revision), document()]
}

/// Whether any file of the directory has the secret in it.
fn tells(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return tells(&path);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    })
}

async fn filled() -> Opened {
    let opened = Opened::new(Options::default());
    let changes = records().into_iter().map(Change::Put).collect();
    opened.stores.metadata.commit(changes).await.unwrap();
    opened
}

async fn assert_whole(opened: &Opened) {
    let loaded = opened.stores.metadata.load().await.unwrap();
    assert_eq!(loaded, records_as_loaded(&loaded));
}

/// Ids are made anew for each sample, so everything else is compared.
fn records_as_loaded(loaded: &[Record]) -> Vec<Record> {
    assert_eq!(loaded.len(), 3);
    assert!(loaded.contains(&document()));
    let revision = loaded.iter().find_map(|record| match record {
        Record::Revision(revision) => Some(revision),
        Record::Function(_) | Record::Alias(_) | Record::Document { .. } => None,
    });
    assert_eq!(revision.unwrap().spec.environment["TOKEN"], SECRET);
    loaded.to_vec()
}

#[tokio::test]
async fn nothing_on_the_disk_tells() {
    let opened = filled().await;
    assert!(!tells(opened.folder.path()));
    let opened = opened.restart(Options::default()).await;
    assert_whole(&opened).await;
    let backup = opened.folder.path().join("backup");
    opened.stores.backup().write(&backup).await.unwrap();
    assert!(!tells(opened.folder.path()) && !backup.join("master.key").exists());
}

#[tokio::test]
async fn a_lost_or_wrong_key_is_named_and_harms_nothing() {
    let Opened { stores, dir, folder } = filled().await;
    stores.close().await;
    let (key, aside) = (folder.path().join("master.key"), folder.path().join("aside"));
    fs::rename(&key, &aside).unwrap();
    let open = |options: Options| sonagi_store::open(&dir, options).map_err(|error| chain(&error));
    let refused = open(Options::default()).unwrap_err();
    assert!(
        refused.contains("master.key is not there") && refused.contains("hint:"),
        "{refused}"
    );
    assert!(!key.exists(), "no other key is made");
    fs::write(&key, "1".repeat(64)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = open(Options::default()).unwrap_err();
    assert!(refused.contains("is sealed with key"), "{refused}");
    let options = Options {
        key: KeySource::File(aside),
        ..Options::default()
    };
    let stores = open(options).unwrap();
    assert_whole(&Opened { stores, dir, folder }).await;
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn a_moved_record_does_not_open() {
    let Opened { stores, dir, folder } = filled().await;
    stores.close().await;
    let database = Connection::open(folder.path().join("sonagi.db")).unwrap();
    database.execute("UPDATE documents SET key = 'a/c'", []).unwrap();
    drop(database);
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    let refused = stores.metadata.load().await.unwrap_err().to_string();
    assert!(refused.contains("documents test.accounts/a/c"), "{refused}");
}

#[tokio::test]
async fn keys_are_exchanged_and_an_interrupted_exchange_is_finished_or_taken_back() {
    let Opened { stores, dir, folder } = filled().await;
    stores.close().await;
    let (key, next) = (folder.path().join("master.key"), folder.path().join("master.key.next"));
    let before = inspect_key(&dir, &KeySource::StateDir).unwrap();
    let old = fs::read(&key).unwrap();
    let after = rotate_key(&dir, &KeySource::StateDir, None).unwrap();
    assert!(after.id != before.id && after.data_keys == before.data_keys && !next.exists());
    let new = fs::read(&key).unwrap();
    let put = |path: &Path, bytes: &[u8]| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    // As after a crash between the commit and the renaming.
    put(&key, &old);
    put(&next, &new);
    assert_eq!(inspect_key(&dir, &KeySource::StateDir).unwrap().id, after.id);
    assert_eq!(fs::read(&key).unwrap(), new);
    // As after a crash before the commit.
    put(&next, &old);
    assert_eq!(inspect_key(&dir, &KeySource::StateDir).unwrap().id, after.id);
    assert!(!next.exists());
    // Into a file of the operator's.
    let own = folder.path().join("own.key");
    let moved = rotate_key(&dir, &KeySource::StateDir, Some(&own)).unwrap();
    assert_eq!(moved.file, own);
    let options = Options {
        key: KeySource::File(own),
        ..Options::default()
    };
    let stores = sonagi_store::open(&dir, options).unwrap();
    assert_eq!(stores.key(), moved.id);
    assert_whole(&Opened { stores, dir, folder }).await;
}

#[tokio::test]
async fn what_was_stored_in_the_clear_is_sealed_and_wiped() {
    let Opened { stores, dir, folder } = filled().await;
    let plain = stores.metadata.load().await.unwrap();
    stores.close().await;
    let database = Connection::open(folder.path().join("sonagi.db")).unwrap();
    for record in &plain {
        let (table, column, text) = match record {
            Record::Function(function) => ("functions", "record", serde_json::to_string(function)),
            Record::Revision(revision) => ("revisions", "record", serde_json::to_string(revision)),
            Record::Document { value, .. } => ("documents", "value", serde_json::to_string(value)),
            Record::Alias(_) => unreachable!("none was made"),
        };
        let update = format!("UPDATE {table} SET format = 1, {column} = ?1");
        database.execute(&update, [text.unwrap()]).unwrap();
    }
    drop(database);
    assert!(tells(folder.path()));
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    assert_eq!(stores.metadata.load().await.unwrap(), plain);
    assert!(!tells(folder.path()));
    drop(StateDir::open(folder.path()).unwrap_err());
}
