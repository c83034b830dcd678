//! Archives that no record names, as a crash between an upload and its record leaves them.

use sonagi_model::{ArchiveLimits, Document};
use sonagi_ports::fake::sample;
use sonagi_ports::{Change, Record};
use sonagi_store::Options;

use crate::opened::Opened;
use crate::raw_zip::deflated;

#[tokio::test]
async fn archives_that_no_record_names_are_removed() {
    let opened = Opened::new(Options::default());
    let stores = &opened.stores;
    let limits = ArchiveLimits::default();
    let mut artifacts = Vec::new();
    for text in ["of a revision", "of a document", "of nobody"] {
        let archive = deflated(&[("a.txt", text.as_bytes(), 0o644)]);
        artifacts.push(stores.artifacts.put(archive, &limits).await.unwrap());
    }
    let function = sample::function("kept");
    let mut revision = sample::revision(&function);
    revision.artifact = artifacts[0].clone();
    let document = Record::Document {
        collection: "test.layers".to_owned(),
        key: "a".to_owned(),
        value: Document(serde_json::json!({ "code": artifacts[1].digest.to_string() })),
    };
    let records = [Record::Function(function), Record::Revision(revision), document];
    let changes = records.into_iter().map(Change::Put).collect();
    stores.metadata.commit(changes).await.unwrap();

    let opened = opened.restart(Options::default()).await;
    let stores = &opened.stores;
    let records = stores.metadata.load().await.unwrap();
    let before = stores.artifacts.stored_bytes();
    let (removed, bytes) = stores.remove_orphans(&records).await.unwrap();
    assert_eq!((removed, before - bytes), (1, stores.artifacts.stored_bytes()));
    assert!(bytes > 0);
    for artifact in &artifacts[..2] {
        stores.artifacts.tree(artifact).await.unwrap();
    }
    assert!(stores.artifacts.archive(&artifacts[2]).await.is_err());
    assert_eq!(stores.remove_orphans(&records).await.unwrap(), (0, 0));
}
