//! The object store on a real folder: what is promised of changes, and what a restart finds.

use std::path::Path;

use bytes::Bytes;
use serde_json::json;
use sonagi_model::Timestamp;
use sonagi_objects::{
    Bucket, BucketRemoved, Condition, Content, Entry, Error, ListQuery, NewObject, ObjectStore, Options, Part, Removal,
    Staged, Upload,
};

fn open(folder: &Path) -> ObjectStore {
    ObjectStore::open(folder, Options::default()).expect("the store works")
}

async fn with_bucket(folder: &Path) -> ObjectStore {
    let store = open(folder);
    store.create_bucket(bucket("b", "one")).await.expect("the store works");
    store
}

fn bucket(name: &str, owner: &str) -> Bucket {
    Bucket {
        name: name.to_owned(),
        owner: owner.to_owned(),
        region: "r".to_owned(),
        created: Timestamp::from_micros(1),
        document: json!({}),
    }
}

async fn staged(store: &ObjectStore, content: &[u8]) -> Staged {
    let mut staging = store.stage().await.expect("the store works");
    staging.write(content).await.expect("the store works");
    staging.finish().await.expect("the store works")
}

fn new(key: &str, content: Content) -> NewObject {
    NewObject {
        bucket: "b".to_owned(),
        key: key.to_owned(),
        content,
        etag: format!("tag of {key}"),
        modified: Timestamp::from_micros(2),
        document: json!({ "about": key }),
        condition: Condition::None,
        notices: Vec::new(),
    }
}

async fn put(store: &ObjectStore, key: &str, content: &[u8]) {
    let content = Content::Fresh(staged(store, content).await);
    store.put(new(key, content)).await.expect("the store works");
}

async fn read(store: &ObjectStore, key: &str) -> Option<Vec<u8>> {
    let found = store.get("b", key).await.expect("the store works")?;
    let size = found.object.size;
    let (mut reading, mut content) = (found.read(0..size), Vec::new());
    while let Some(bytes) = reading.next().await.expect("the store works") {
        content.extend_from_slice(&bytes);
    }
    Some(content)
}

fn remove(key: &str) -> Removal {
    Removal {
        bucket: "b".to_owned(),
        key: key.to_owned(),
        condition: Condition::None,
        notices: Vec::new(),
    }
}

/// Files of bodies.
fn files(folder: &Path) -> usize {
    let shards = std::fs::read_dir(folder.join("bodies")).expect("the store works");
    let shards = shards
        .map(|shard| shard.expect("the store works").path())
        .filter(|path| path.is_dir());
    shards
        .map(|shard| std::fs::read_dir(shard).expect("the store works").count())
        .sum()
}

#[tokio::test]
async fn objects_survive_a_restart_and_go_when_they_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    put(&store, "k", b"first").await;
    put(&store, "k", b"second").await;
    put(&store, "empty", b"").await;
    assert_eq!(read(&store, "k").await.unwrap(), b"second");
    assert_eq!(read(&store, "empty").await.unwrap(), b"");
    // What died is removed after the transaction; the next one has seen that.
    put(&store, "other", b"x").await;
    put(&store, "other", b"y").await;
    store.close().await;
    assert!(matches!(store.bucket("b").await, Err(Error::Closed)));

    let store = open(folder.path());
    assert_eq!(read(&store, "k").await.unwrap(), b"second");
    assert_eq!(
        store.get("b", "k").await.unwrap().unwrap().object.document,
        json!({ "about": "k" })
    );
    assert_eq!((files(folder.path()), store.stored_bytes()), (2, 7));
    assert!(store.remove(remove("k")).await.unwrap());
    assert!(!store.remove(remove("k")).await.unwrap());
    assert!(read(&store, "k").await.is_none());
}

#[tokio::test]
async fn what_nobody_named_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    put(&store, "k", b"kept").await;
    // As after a crash between the body and its name.
    std::mem::forget(staged(&store, b"lost").await);
    // Given up by its writer.
    drop(staged(&store, b"dropped").await);
    assert_eq!(files(folder.path()), 2);
    store.close().await;
    let store = open(folder.path());
    assert_eq!((files(folder.path()), store.stored_bytes()), (1, 4));
    assert_eq!(read(&store, "k").await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_reader_keeps_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    put(&store, "k", &[7; 300_000]).await;
    let found = store.get("b", "k").await.unwrap().unwrap();
    store.remove(remove("k")).await.unwrap();
    put(&store, "other", b"x").await;
    let mut reading = found.read(0..300_000);
    let mut bytes = 0;
    while let Some(chunk) = reading.next().await.unwrap() {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 300_000);
    drop(reading);
    put(&store, "other", b"y").await;
    store.close().await;
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn copies_share_bytes_and_outlive_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    put(&store, "source", b"0123456789").await;
    let found = store.get("b", "source").await.unwrap().unwrap();
    let (all, middle) = (found.share(0..10), found.share(3..6));
    store.put(new("all", Content::Shared(all.clone()))).await.unwrap();
    store.put(new("middle", Content::Shared(middle))).await.unwrap();
    drop(found);
    assert_eq!(files(folder.path()), 1);
    store.remove(remove("source")).await.unwrap();
    store.remove(remove("all")).await.unwrap();
    assert_eq!(read(&store, "middle").await.unwrap(), b"345");
    store.remove(remove("middle")).await.unwrap();
    // Nobody names it any more: it cannot be shared.
    let gone = store.put(new("late", Content::Shared(all))).await;
    assert!(matches!(gone, Err(Error::NoObject(_))), "{gone:?}");
}

#[tokio::test]
async fn conditions_are_decided_with_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    let attempt = |condition: Condition| {
        let store = store.clone();
        async move {
            let content = Content::Fresh(staged(&store, b"x").await);
            store
                .put(NewObject {
                    condition,
                    ..new("k", content)
                })
                .await
                .map(drop)
        }
    };
    assert!(matches!(attempt(Condition::Present).await, Err(Error::NoObject(_))));
    attempt(Condition::Absent).await.unwrap();
    assert!(matches!(attempt(Condition::Absent).await, Err(Error::Condition(_))));
    assert!(matches!(
        attempt(Condition::Etag("other".to_owned())).await,
        Err(Error::Condition(_))
    ));
    attempt(Condition::Etag("tag of k".to_owned())).await.unwrap();
    let content = Content::Fresh(staged(&store, b"x").await);
    let nowhere = store
        .put(NewObject {
            bucket: "c".to_owned(),
            ..new("k", content)
        })
        .await;
    assert!(matches!(nowhere, Err(Error::NoBucket(_))));
    // What was refused left nothing.
    store.close().await;
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn listings_are_in_order_and_join_what_begins_alike() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    let mut keys: Vec<String> = (0..300).map(|number| format!("a/{number:03}")).collect();
    keys.extend(["a", "a0", "b/c/d", "b/e", "ü/x", "\u{10ffff}"].map(str::to_owned));
    for key in &keys {
        put(&store, key, b"").await;
    }
    let pages = |prefix: &'static str, delimiter: &'static str, limit: usize| {
        let store = store.clone();
        async move {
            let (mut lines, mut after) = (Vec::new(), String::new());
            loop {
                let query = ListQuery {
                    prefix: prefix.to_owned(),
                    delimiter: delimiter.to_owned(),
                    after: after.clone(),
                    limit,
                };
                let page = store.list("b", query).await.unwrap();
                assert!(page.entries.len() <= limit);
                after = page
                    .entries
                    .last()
                    .map_or_else(String::new, |last| last.name().to_owned());
                lines.extend(page.entries);
                if !page.more {
                    return lines;
                }
            }
        }
    };
    keys.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for limit in [1, 7, 256, 1000] {
        let names: Vec<String> = pages("", "", limit)
            .await
            .iter()
            .map(|entry| entry.name().to_owned())
            .collect();
        assert_eq!(names, keys, "{limit}");
    }
    for limit in [1, 2, 3, 1000] {
        let top = pages("", "/", limit).await;
        let names: Vec<&str> = top.iter().map(Entry::name).collect();
        assert_eq!(names, ["a", "a/", "a0", "b/", "ü/", "\u{10ffff}"], "{limit}");
        assert!(matches!(top[1], Entry::Common(_)) && matches!(top[0], Entry::Object(_)));
        let below = pages("b/", "/", limit).await;
        assert_eq!(
            below.iter().map(Entry::name).collect::<Vec<_>>(),
            ["b/c/", "b/e"],
            "{limit}"
        );
    }
    assert!(pages("nothing", "/", 10).await.is_empty());
}

#[tokio::test]
async fn uploads_become_objects_or_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_bucket(folder.path()).await;
    let begin = |id: &str| Upload {
        id: id.to_owned(),
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        initiated: Timestamp::from_micros(3),
        document: json!({}),
    };
    let part = |number: u32, size: u64| Part {
        number,
        size,
        etag: format!("part {number}"),
        modified: Timestamp::from_micros(4),
        segments: Vec::new(),
        document: json!({}),
    };
    for id in ["u", "v"] {
        store.begin_upload(begin(id)).await.unwrap();
        for (number, content) in [(1, &b"one"[..]), (2, b"replaced"), (2, b"two"), (9, b"unused")] {
            let content = Content::Fresh(staged(&store, content).await);
            store.put_part(id, part(number, content.size()), content).await.unwrap();
        }
    }
    assert_eq!(store.uploads("b", ("", ""), 10).await.unwrap().len(), 2);
    assert_eq!(store.uploads("b", ("k", "u"), 10).await.unwrap()[0].id, "v");
    let parts = store.parts("u", 0, 10).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 9]);
    let segments = parts[..2].iter().flat_map(|part| part.segments.clone()).collect();
    store.complete("u", new("k", Content::Shared(segments))).await.unwrap();
    assert_eq!(read(&store, "k").await.unwrap(), b"onetwo");
    assert!(matches!(store.upload("u").await, Err(Error::NoUpload(_))));
    store.abort("v").await.unwrap();
    assert!(matches!(store.abort("v").await, Err(Error::NoUpload(_))));
    store.close().await;
    let store = open(folder.path());
    assert_eq!((files(folder.path()), store.stored_bytes()), (2, 6));
    assert_eq!(read(&store, "k").await.unwrap(), b"onetwo");
}

#[tokio::test]
async fn notices_stay_until_they_are_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        notices: 3,
        ..Options::default()
    };
    let store = ObjectStore::open(folder.path(), options.clone()).unwrap();
    store.create_bucket(bucket("b", "one")).await.unwrap();
    let told = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
    let content = Content::Fresh(staged(&store, b"x").await);
    store
        .put(NewObject {
            notices: told("put"),
            ..new("k", content)
        })
        .await
        .unwrap();
    store
        .remove(Removal {
            notices: told("gone"),
            ..remove("k")
        })
        .await
        .unwrap();
    // What was not there has nothing to tell.
    store
        .remove(Removal {
            notices: told("never"),
            ..remove("k")
        })
        .await
        .unwrap();
    store.noticed().await;
    store.close().await;

    let store = ObjectStore::open(folder.path(), options).unwrap();
    let waiting = store.notices(10).await.unwrap();
    assert_eq!(
        waiting.iter().map(|notice| notice.payload.clone()).collect::<Vec<_>>(),
        ["put", "gone"]
    );
    let content = Content::Fresh(staged(&store, b"x").await);
    store
        .put(NewObject {
            notices: told("third"),
            ..new("k", content)
        })
        .await
        .unwrap();
    let content = Content::Fresh(staged(&store, b"x").await);
    let full = store
        .put(NewObject {
            notices: told("fourth"),
            ..new("k", content)
        })
        .await;
    assert!(matches!(full, Err(Error::Busy { limit: 3, .. })), "{full:?}");
    store
        .passed_on(waiting.iter().map(|notice| notice.id).collect())
        .await
        .unwrap();
    assert_eq!(store.notices(10).await.unwrap()[0].payload, "third");
}

#[tokio::test]
async fn buckets_are_of_one_owner_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        buckets: 2,
        bytes: 10,
        uploads: 1,
        ..Options::default()
    };
    let store = ObjectStore::open(folder.path(), options).unwrap();
    store.create_bucket(bucket("b", "one")).await.unwrap();
    let taken = store.create_bucket(bucket("b", "two")).await;
    assert!(matches!(taken, Err(Error::Taken { owner, .. }) if owner == "one"));
    store.create_bucket(bucket("c", "one")).await.unwrap();
    assert!(matches!(
        store.create_bucket(bucket("d", "one")).await,
        Err(Error::Bound { limit: 2, .. })
    ));
    store.create_bucket(bucket("d", "two")).await.unwrap();
    let names = |owner: &'static str, after: &'static str| {
        let store = store.clone();
        async move {
            let found = store.buckets(owner, after, 10).await.unwrap();
            found.into_iter().map(|bucket| bucket.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names("one", "").await, ["b", "c"]);
    assert_eq!(names("one", "b").await, ["c"]);
    put(&store, "k", b"123456").await;
    assert_eq!(store.remove_bucket("b").await.unwrap(), BucketRemoved::NotEmpty);
    let mut staging = store.stage().await.unwrap();
    assert!(matches!(
        staging.write(b"12345").await,
        Err(Error::Busy { limit: 10, .. })
    ));
    let changed = store
        .alter_bucket("b", |document| document["x"] = json!(1))
        .await
        .unwrap();
    assert_eq!(changed, json!({ "x": 1 }));
    assert_eq!(store.remove_bucket("c").await.unwrap(), BucketRemoved::Done);
    assert!(matches!(store.remove_bucket("c").await, Err(Error::NoBucket(_))));
}
