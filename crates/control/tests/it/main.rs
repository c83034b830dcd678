//! The catalog against the in-memory stores: what is visible is durable, what fails changes nothing, artifacts live as
//! long as something holds them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use parking_lot::Mutex;
use sonagi_control::{Catalog, Documents, EditError, FunctionEntry, NewFunction, NewRevision, Retired};
use sonagi_model::{
    AliasName, ArchiveLimits, Document, FunctionId, FunctionName, Namespace, Revision, RevisionId, Route, TenantId,
};
use sonagi_ports::fake::{FakeArtifactStore, FakeMetadataStore, Fault, ManualClock, sample};
use sonagi_ports::suite::artifact::zip;
use sonagi_ports::{ArtifactError, ArtifactStore as _, MetadataStore};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<RevisionId>>);

impl Retired for Told {
    fn retired(&self, revision: RevisionId) {
        self.0.lock().push(revision);
    }
    fn removed(&self, _: FunctionId) {}
    fn live(&self, _: Option<&Revision>, _: Option<&Revision>) {}
}

struct World {
    store: Arc<FakeMetadataStore>,
    artifacts: Arc<FakeArtifactStore>,
    told: Arc<Told>,
    catalog: Catalog,
}

fn world() -> World {
    let (store, artifacts, told) = (
        Arc::new(FakeMetadataStore::new()),
        Arc::new(FakeArtifactStore::new()),
        Arc::new(Told::default()),
    );
    let clock = Arc::new(ManualClock::default());
    let catalog = Catalog::load(
        Vec::new(),
        Arc::clone(&store) as _,
        Arc::clone(&artifacts) as _,
        clock,
        Arc::clone(&told) as _,
    );
    World {
        store,
        artifacts,
        told,
        catalog: catalog.unwrap(),
    }
}

fn space() -> Namespace {
    Namespace::parse("test/tenant").unwrap()
}

fn name(text: &str) -> FunctionName {
    FunctionName::parse(text).unwrap()
}

impl World {
    async fn revision(&self, code: &str) -> NewRevision {
        let held = self
            .catalog
            .store_artifact(zip(&[("main", code.as_bytes())]), &ArchiveLimits::default())
            .await
            .unwrap();
        let spec = sample::revision(&sample::function("f")).spec;
        NewRevision {
            label: "live".to_owned(),
            artifact: held.artifact().clone(),
            spec,
            document: Document::default(),
        }
    }

    async fn create(&self, function: &str, code: &str) -> Result<Arc<FunctionEntry>, EditError<()>> {
        let new = NewFunction {
            namespace: space(),
            tenant: TenantId::parse("tenant").unwrap(),
            name: name(function),
            document: Document::default(),
            revision: self.revision(code).await,
        };
        self.catalog.create(new).await
    }

    async fn update(&self, function: &str, code: &str) -> Arc<FunctionEntry> {
        let new = self.revision(code).await;
        let (space, name) = (space(), name(function));
        let edit = self.catalog.edit(&space, &name, |edit| {
            let revision = edit.add_revision(new);
            edit.set_latest(revision.id);
            edit.prune("live", 2);
            Ok::<_, ()>(())
        });
        edit.await.unwrap().0
    }

    async fn reloaded(&self) -> Vec<Arc<FunctionEntry>> {
        let records = self.store.load().await.unwrap();
        let clock = Arc::new(ManualClock::default());
        let (store, artifacts) = (Arc::clone(&self.store) as _, Arc::clone(&self.artifacts) as _);
        Catalog::load(records, store, artifacts, clock, Arc::clone(&self.told) as _)
            .unwrap()
            .all()
    }
}

#[tokio::test]
async fn what_is_visible_is_what_a_restart_finds() {
    let world = world();
    let first = world.create("f", "one").await.unwrap();
    world.update("f", "two").await;
    let (entry, ()) = world
        .catalog
        .edit(&space(), &name("f"), |edit| {
            let route = Route::split(edit.entry().function.latest, first.function.latest, 0.5).unwrap();
            assert!(edit.put_alias(AliasName::parse("prod").unwrap(), route, Document::default()));
            assert!(!edit.put_alias(
                AliasName::parse("x").unwrap(),
                Route::to(RevisionId::generate()),
                Document::default()
            ));
            edit.function(|function| function.reserved_concurrency = Some(3));
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
    assert_eq!(entry.routed("prod", 0.4).unwrap().id, first.function.latest);
    assert_eq!(entry.routed("prod", 0.6).unwrap().id, entry.function.latest);
    assert_eq!(world.reloaded().await, [entry]);
}

#[tokio::test]
async fn a_failed_commit_and_a_refusal_change_nothing() {
    let world = world();
    let entry = world.create("f", "one").await.unwrap();
    world.store.faults().next(1, Fault::Full);
    let alter = |edit: &mut sonagi_control::Edit| {
        edit.function(|function| function.reserved_concurrency = Some(1));
        Ok::<_, ()>(())
    };
    assert!(matches!(
        world.catalog.edit(&space(), &name("f"), alter).await,
        Err(EditError::Store(_))
    ));
    assert_eq!(world.catalog.find(&space(), &name("f")).unwrap(), entry);
    let refuse = |edit: &mut sonagi_control::Edit| {
        edit.function(|function| function.reserved_concurrency = Some(1));
        Err::<(), _>("no")
    };
    assert!(matches!(
        world.catalog.edit(&space(), &name("f"), refuse).await,
        Err(EditError::Refused("no"))
    ));
    assert_eq!(world.reloaded().await, [entry]);
    assert!(matches!(world.create("f", "two").await, Err(EditError::Exists(..))));
}

#[tokio::test]
async fn a_replaced_revision_is_retired_and_history_is_bounded() {
    let world = world();
    let first = world.create("f", "one").await.unwrap();
    let second = world.update("f", "two").await;
    assert_eq!(*world.told.0.lock(), [first.function.latest]);
    let third = world.update("f", "three").await;
    assert_eq!(third.revisions.len(), 2);
    assert!(third.revisions.contains_key(&second.function.latest));
    let gone = &first.latest().artifact;
    assert!(matches!(
        world.artifacts.tree(gone).await,
        Err(ArtifactError::Missing(_))
    ));
    assert!(world.artifacts.tree(&second.latest().artifact).await.is_ok());
}

#[tokio::test]
async fn an_artifact_stays_while_anything_holds_it() {
    let world = world();
    let first = world.create("a", "same").await.unwrap();
    world.create("b", "same").await.unwrap();
    world.catalog.delete::<()>(&space(), &name("a")).await.unwrap();
    assert!(world.artifacts.tree(&first.latest().artifact).await.is_ok());
    let held = world
        .catalog
        .store_artifact(zip(&[("main", b"same")]), &ArchiveLimits::default())
        .await
        .unwrap();
    world.catalog.delete::<()>(&space(), &name("b")).await.unwrap();
    assert!(world.artifacts.tree(held.artifact()).await.is_ok());
    assert!(world.catalog.is_empty());
    assert!(world.reloaded().await.is_empty());
}

#[tokio::test]
async fn a_revision_in_use_is_not_removed() {
    let world = world();
    let first = world.create("f", "one").await.unwrap().function.latest;
    let second = world.update("f", "two").await.function.latest;
    let check = |edit: &mut sonagi_control::Edit| {
        assert!(!edit.remove_revision(second));
        edit.put_alias(AliasName::parse("old").unwrap(), Route::to(first), Document::default());
        assert!(!edit.remove_revision(first));
        assert!(edit.remove_alias(&AliasName::parse("old").unwrap()));
        assert!(edit.remove_revision(first));
        Ok::<_, ()>(())
    };
    let (entry, ()) = world.catalog.edit(&space(), &name("f"), check).await.unwrap();
    assert_eq!(entry.revisions.keys().copied().collect::<Vec<_>>(), [second]);
}

#[tokio::test]
async fn listings_go_by_name_within_one_namespace() {
    let world = world();
    for function in ["b", "a", "c"] {
        world.create(function, "x").await.unwrap();
    }
    let names = |after: Option<&str>, limit| {
        let after = after.map(name);
        let found = world.catalog.list(&space(), after.as_ref(), limit);
        found
            .iter()
            .map(|entry| entry.function.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None, 2), ["a", "b"]);
    assert_eq!(names(Some("b"), 2), ["c"]);
    assert!(
        world
            .catalog
            .list(&Namespace::parse("test/other").unwrap(), None, 9)
            .is_empty()
    );
}

#[tokio::test]
async fn documents_are_durable_before_they_are_visible() {
    let store = Arc::new(FakeMetadataStore::new());
    let documents = Documents::load(&[], "accounts", Arc::clone(&store) as _);
    let value = Document(serde_json::json!({"k": 1}));
    documents.put("a", value.clone()).await.unwrap();
    store.faults().next(1, Fault::Full);
    assert!(documents.put("b", value.clone()).await.is_err());
    assert!(documents.get("b").is_none());
    let again = Documents::load(&store.load().await.unwrap(), "accounts", Arc::clone(&store) as _);
    assert_eq!(again.get("a"), Some(value));
    assert!(again.remove("a").await.unwrap());
    assert!(!again.remove("a").await.unwrap());
    assert!(store.load().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_no_revision_took_up_goes_with_the_next_change() {
    let world = world();
    let unused = world
        .catalog
        .store_artifact(zip(&[("main", b"unused")]), &ArchiveLimits::default())
        .await
        .unwrap();
    let artifact = unused.artifact().clone();
    drop(unused);
    world.create("f", "one").await.unwrap();
    assert!(matches!(
        world.artifacts.tree(&artifact).await,
        Err(ArtifactError::Missing(_))
    ));
}

#[tokio::test]
async fn a_creation_with_more_is_one_commit() {
    let world = world();
    let (space, first) = (space(), name("f"));
    let new = async || NewFunction {
        namespace: space.clone(),
        tenant: TenantId::parse("tenant").unwrap(),
        name: first.clone(),
        document: Document::default(),
        revision: world.revision("one").await,
    };
    let refused = world.catalog.create_with(new().await, |_| Err::<(), _>("no")).await;
    assert!(matches!(refused, Err(EditError::Refused("no"))));
    assert!(world.catalog.find(&space, &first).is_none() && world.reloaded().await.is_empty());

    let version = world.revision("one").await;
    let created = world.catalog.create_with(new().await, |edit| {
        edit.function(|function| function.reserved_concurrency = Some(2));
        Ok::<_, ()>(edit.add_revision(version).id)
    });
    let (entry, version) = created.await.unwrap();
    assert_ne!(entry.function.latest, version);
    let stored = &world.reloaded().await[0];
    assert_eq!(
        (stored.revisions.len(), stored.function.reserved_concurrency),
        (2, Some(2))
    );
}
