//! What every [`MetadataStore`] does.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use sonagi_model::{Document, RevisionId, Route};

use crate::fake::sample;
use crate::{Change, MetadataStore, Record, StoreError};

/// All checks, on an empty store.
///
/// # Panics
/// When one fails.
pub async fn check(store: &dyn MetadataStore) {
    records_come_back_exactly(store).await;
    put_replaces_by_identity(store).await;
    a_commit_is_all_or_nothing(store).await;
    removing_a_function_takes_what_belongs_to_it(store).await;
    documents_are_kept_by_collection_and_key(store).await;
    many_commits_at_once_are_all_kept(store).await;
    assert!(
        store.load().await.unwrap().is_empty(),
        "the checks remove what they made"
    );
}

fn has(records: &[Record], record: &Record) -> bool {
    records.contains(record)
}

async fn records_come_back_exactly(store: &dyn MetadataStore) {
    assert_eq!(store.load().await.unwrap(), []);
    let function = sample::function("exact");
    let records = [
        Record::Function(function.clone()),
        Record::Revision(sample::revision(&function)),
        Record::Alias(sample::alias(&function, "live")),
    ];
    store
        .commit(records.iter().cloned().map(Change::Put).collect())
        .await
        .unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.len(), records.len());
    assert!(records.iter().all(|record| has(&loaded, record)), "{loaded:?}");
    store.commit(vec![Change::RemoveFunction(function.id)]).await.unwrap();
}

async fn put_replaces_by_identity(store: &dyn MetadataStore) {
    let mut function = sample::function("replaced");
    let mut alias = sample::alias(&function, "live");
    let put = |record| vec![Change::Put(record)];
    store.commit(put(Record::Function(function.clone()))).await.unwrap();
    store.commit(put(Record::Alias(alias.clone()))).await.unwrap();
    function.reserved_concurrency = None;
    alias.route = Route::to(RevisionId::generate());
    store.commit(put(Record::Function(function.clone()))).await.unwrap();
    store.commit(put(Record::Alias(alias.clone()))).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.len(), 2);
    assert!(has(&loaded, &Record::Function(function.clone())));
    assert!(has(&loaded, &Record::Alias(alias.clone())));
    store
        .commit(vec![Change::RemoveAlias(function.id, alias.name)])
        .await
        .unwrap();
    assert_eq!(store.load().await.unwrap(), [Record::Function(function.clone())]);
    store.commit(vec![Change::RemoveFunction(function.id)]).await.unwrap();
}

async fn a_commit_is_all_or_nothing(store: &dyn MetadataStore) {
    let first = sample::function("taken");
    store
        .commit(vec![Change::Put(Record::Function(first.clone()))])
        .await
        .unwrap();
    let (other, second) = (sample::function("other"), sample::function("taken"));
    let changes = vec![
        Change::Put(Record::Function(other)),
        Change::RemoveFunction(first.id),
        Change::Put(Record::Function(first.clone())),
        Change::Put(Record::Function(second.clone())),
    ];
    let refused = store.commit(changes).await;
    assert!(
        matches!(refused, Err(StoreError::Database { .. })),
        "two functions of one name: {refused:?}"
    );
    assert_eq!(store.load().await.unwrap(), [Record::Function(first.clone())]);
    let swap = vec![
        Change::RemoveFunction(first.id),
        Change::Put(Record::Function(second.clone())),
    ];
    store.commit(swap).await.unwrap();
    assert_eq!(store.load().await.unwrap(), [Record::Function(second.clone())]);
    store.commit(vec![Change::RemoveFunction(second.id)]).await.unwrap();
}

async fn removing_a_function_takes_what_belongs_to_it(store: &dyn MetadataStore) {
    let (gone, stays) = (sample::function("gone"), sample::function("stays"));
    let mut puts = Vec::new();
    for function in [&gone, &stays] {
        puts.push(Change::Put(Record::Function(function.clone())));
        puts.push(Change::Put(Record::Revision(sample::revision(function))));
        puts.push(Change::Put(Record::Alias(sample::alias(function, "live"))));
    }
    store.commit(puts).await.unwrap();
    store.commit(vec![Change::RemoveFunction(gone.id)]).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.len(), 3, "{loaded:?}");
    assert!(has(&loaded, &Record::Revision(sample::revision(&stays))));
    store.commit(vec![Change::RemoveRevision(stays.latest)]).await.unwrap();
    assert_eq!(store.load().await.unwrap().len(), 2);
    // What is gone already can be removed again: a retry after a lost answer is no error.
    store
        .commit(vec![
            Change::RemoveFunction(gone.id),
            Change::RemoveRevision(stays.latest),
        ])
        .await
        .unwrap();
    store.commit(vec![Change::RemoveFunction(stays.id)]).await.unwrap();
}

async fn documents_are_kept_by_collection_and_key(store: &dyn MetadataStore) {
    let document = |collection: &str, key: &str, number: i32| Record::Document {
        collection: collection.to_owned(),
        key: key.to_owned(),
        value: Document(serde_json::json!({ "number": number, "text": "\u{0}\u{1f600}" })),
    };
    let records = [document("a", "k", 1), document("a", "l", 2), document("b", "k", 3)];
    store
        .commit(records.iter().cloned().map(Change::Put).collect())
        .await
        .unwrap();
    store.commit(vec![Change::Put(document("a", "k", 4))]).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.len(), 3);
    assert!(has(&loaded, &document("a", "k", 4)) && has(&loaded, &document("b", "k", 3)));
    let remove = |collection: &str, key: &str| Change::RemoveDocument {
        collection: collection.to_owned(),
        key: key.to_owned(),
    };
    store
        .commit(vec![
            remove("a", "k"),
            remove("a", "l"),
            remove("b", "k"),
            remove("c", "k"),
        ])
        .await
        .unwrap();
}

async fn many_commits_at_once_are_all_kept(store: &dyn MetadataStore) {
    let functions: Vec<_> = (0..40).map(|i| sample::function(&format!("many-{i}"))).collect();
    let commit = |function| store.commit(vec![Change::Put(Record::Function(function))]);
    for result in super::at_once(functions.iter().cloned().map(commit)).await {
        result.unwrap();
    }
    assert_eq!(store.load().await.unwrap().len(), functions.len());
    store
        .commit(
            functions
                .iter()
                .map(|function| Change::RemoveFunction(function.id))
                .collect(),
        )
        .await
        .unwrap();
}
