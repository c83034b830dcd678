//! Every function in memory, every change durable before it is visible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use papaya::HashMap;
use parking_lot::RwLock;
use sonagi_model::{
    Alias, ArchiveLimits, ArtifactRef, Digest, Document, Function, FunctionId, FunctionName, Namespace, Revision,
    RevisionId, TenantId,
};
use sonagi_ports::{ArtifactError, ArtifactStore, Change, Clock, MetadataStore, Record, StoreError};
use tokio::sync::Mutex;

use crate::{Edit, FunctionEntry, NewRevision};

type Key = (Namespace, FunctionName);

/// Told when instances of a revision should no longer take new events: it was replaced as the latest one, or removed.
pub trait Retired: Send + Sync + std::fmt::Debug {
    /// The revision takes no new unqualified calls from now on.
    fn retired(&self, revision: RevisionId);
    /// The function is gone with everything of it.
    fn removed(&self, function: FunctionId);
    /// Unqualified calls of a function run another revision from now on: the first one (`old` is `None`), a later one,
    /// or none any more (`new` is `None`).
    fn live(&self, old: Option<&Revision>, new: Option<&Revision>);
}

/// A function to create.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// Where its name is unique.
    pub namespace: Namespace,
    /// Who owns it.
    pub tenant: TenantId,
    /// Its name.
    pub name: FunctionName,
    /// The provider's own record.
    pub document: Document,
    /// Its first revision.
    pub revision: NewRevision,
}

/// A change did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// There is no such function.
    #[error("function {1} does not exist in {0}")]
    Missing(Namespace, FunctionName),
    /// There is one already.
    #[error("function {1} exists already in {0}")]
    Exists(Namespace, FunctionName),
    /// The caller's own decision.
    #[error("{0}")]
    Refused(E),
    /// It could not be made durable; nothing changed.
    #[error("the change could not be stored")]
    Store(#[from] StoreError),
}

/// The functions of this node. Cheap look-ups from any thread; clones of entries are reference counts.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn MetadataStore>,
    artifacts: Arc<dyn ArtifactStore>,
    clock: Arc<dyn Clock>,
    retired: Arc<dyn Retired>,
    by_id: HashMap<FunctionId, Arc<FunctionEntry>>,
    by_name: HashMap<Key, FunctionId>,
    /// Names in order, for listings; never touched by a call.
    names: RwLock<BTreeMap<Key, FunctionId>>,
    /// How many revisions and uploads under way hold an artifact.
    uses: Arc<Uses>,
    /// Uploads share it, the removal of an artifact has it alone: nothing is removed that an upload just found stored.
    gate: tokio::sync::RwLock<()>,
    /// One lock per stripe of names: changes of one function are serial, of others parallel.
    stripes: Vec<Mutex<()>>,
    generation: AtomicU64,
}

const STRIPES: usize = 64;

/// Counts of what holds an artifact.
#[derive(Debug, Default)]
struct Uses {
    held: parking_lot::Mutex<std::collections::HashMap<Digest, usize>>,
    /// Uploads that no revision took up: removed with the next change.
    stale: parking_lot::Mutex<Vec<Digest>>,
}

impl Uses {
    fn hold(&self, digest: Digest) {
        *self.held.lock().entry(digest).or_default() += 1;
    }

    /// Says whether nobody holds it any more.
    fn let_go(&self, digest: &Digest) -> bool {
        let mut uses = self.held.lock();
        let Some(count) = uses.get_mut(digest) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            uses.remove(digest);
        }
        last
    }

    fn held(&self, digest: &Digest) -> bool {
        self.held.lock().contains_key(digest)
    }
}

/// A stored artifact that nobody removes while this value lives. If no revision takes it up meanwhile, it is removed with
/// the next upload or change of any function.
#[derive(Debug)]
pub struct HeldArtifact {
    artifact: ArtifactRef,
    uses: Arc<Uses>,
}

impl HeldArtifact {
    /// The artifact.
    #[must_use]
    pub const fn artifact(&self) -> &ArtifactRef {
        &self.artifact
    }
}

impl Drop for HeldArtifact {
    fn drop(&mut self) {
        if self.uses.let_go(&self.artifact.digest) {
            self.uses.stale.lock().push(self.artifact.digest);
        }
    }
}

impl Catalog {
    /// Builds the catalog from everything that the store holds. Documents among the records are ignored here.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when records contradict each other (a function without its latest revision).
    pub fn load(
        records: Vec<Record>,
        store: Arc<dyn MetadataStore>,
        artifacts: Arc<dyn ArtifactStore>,
        clock: Arc<dyn Clock>,
        retired: Arc<dyn Retired>,
    ) -> Result<Self, StoreError> {
        let catalog = Self {
            store,
            artifacts,
            clock,
            retired,
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            names: RwLock::default(),
            uses: Arc::default(),
            gate: tokio::sync::RwLock::default(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            generation: AtomicU64::new(0),
        };
        for entry in assemble(records)? {
            for revision in entry.revisions.values() {
                revision
                    .artifacts()
                    .for_each(|artifact| catalog.uses.hold(artifact.digest));
            }
            catalog.retired.live(None, Some(entry.latest()));
            catalog.publish(Arc::new(entry));
        }
        Ok(catalog)
    }

    /// The function of this name.
    #[must_use]
    pub fn find(&self, namespace: &Namespace, name: &FunctionName) -> Option<Arc<FunctionEntry>> {
        let id = *self.by_name.pin().get(&(namespace.clone(), name.clone()))?;
        self.get(id)
    }

    /// The function of this id.
    #[must_use]
    pub fn get(&self, id: FunctionId) -> Option<Arc<FunctionEntry>> {
        self.by_id.pin().get(&id).cloned()
    }

    /// Functions of a namespace in order of name, those after `after`, at most `limit`.
    #[must_use]
    pub fn list(&self, namespace: &Namespace, after: Option<&FunctionName>, limit: usize) -> Vec<Arc<FunctionEntry>> {
        let names = self.names.read();
        let from = match after {
            Some(name) => std::ops::Bound::Excluded((namespace.clone(), name.clone())),
            None => std::ops::Bound::Unbounded,
        };
        names
            .range((from, std::ops::Bound::Unbounded))
            .skip_while(|((space, _), _)| space < namespace)
            .take_while(|((space, _), _)| space == namespace)
            .filter_map(|(_, id)| self.get(*id))
            .take(limit)
            .collect()
    }

    /// Every function, in order of namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<FunctionEntry>> {
        self.names.read().values().filter_map(|id| self.get(*id)).collect()
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.read().len()
    }

    /// Whether there is no function.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that grows with every visible change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Checks and stores an archive for a revision to come.
    ///
    /// # Errors
    /// [`ArtifactError`], above all for archives that are refused.
    pub async fn store_artifact(&self, archive: Bytes, limits: &ArchiveLimits) -> Result<HeldArtifact, ArtifactError> {
        self.release(std::iter::empty()).await;
        let _shared = self.gate.read().await;
        let artifact = self.artifacts.put(archive, limits).await?;
        self.uses.hold(artifact.digest);
        Ok(HeldArtifact {
            artifact,
            uses: Arc::clone(&self.uses),
        })
    }

    /// Holds an artifact that was stored earlier and that something besides revisions needs: an upload that functions may
    /// be made of later.
    #[must_use]
    pub fn hold(&self, artifact: ArtifactRef) -> HeldArtifact {
        self.uses.hold(artifact.digest);
        HeldArtifact {
            artifact,
            uses: Arc::clone(&self.uses),
        }
    }

    /// The artifacts themselves.
    #[must_use]
    pub fn artifacts(&self) -> &Arc<dyn ArtifactStore> {
        &self.artifacts
    }

    /// Creates a function with its first revision. The artifact must be stored and checked already.
    ///
    /// # Errors
    /// [`EditError::Exists`], [`EditError::Store`].
    pub async fn create<E>(&self, new: NewFunction) -> Result<Arc<FunctionEntry>, EditError<E>> {
        let (entry, ()) = self.create_with(new, |_| Ok(())).await?;
        Ok(entry)
    }

    /// Creates a function as [`Catalog::create`] does, and changes it further (a first published version, say) before
    /// anybody sees it: all of it is one commit, or nothing is.
    ///
    /// # Errors
    /// [`EditError::Exists`], [`EditError::Refused`], [`EditError::Store`].
    pub async fn create_with<T, E>(
        &self,
        new: NewFunction,
        decide: impl FnOnce(&mut Edit) -> Result<T, E> + Send,
    ) -> Result<(Arc<FunctionEntry>, T), EditError<E>> {
        let _turn = self.turn(&new.namespace, &new.name).await;
        if self.find(&new.namespace, &new.name).is_some() {
            return Err(EditError::Exists(new.namespace, new.name));
        }
        let now = self.clock.now();
        let placeholder = RevisionId::generate();
        let function = Function {
            id: FunctionId::generate(),
            namespace: new.namespace,
            tenant: new.tenant,
            name: new.name,
            latest: placeholder,
            reserved_concurrency: None,
            created: now,
            document: new.document,
        };
        let empty = FunctionEntry {
            function: Arc::new(function),
            revisions: BTreeMap::new(),
            aliases: BTreeMap::new(),
        };
        let mut edit = Edit::new(empty, now);
        let revision = edit.add_revision(new.revision);
        edit.set_latest(revision.id);
        let value = decide(&mut edit).map_err(EditError::Refused)?;
        let entry = self.commit(None, edit).await.map_err(EditError::Store)?;
        Ok((entry, value))
    }

    /// Changes a function: `decide` alters the draft or refuses; what it returns comes back with the new entry.
    ///
    /// # Errors
    /// [`EditError::Missing`], [`EditError::Refused`], [`EditError::Store`].
    pub async fn edit<T, E>(
        &self,
        namespace: &Namespace,
        name: &FunctionName,
        decide: impl FnOnce(&mut Edit) -> Result<T, E> + Send,
    ) -> Result<(Arc<FunctionEntry>, T), EditError<E>> {
        let _turn = self.turn(namespace, name).await;
        let old = self
            .find(namespace, name)
            .ok_or_else(|| EditError::Missing(namespace.clone(), name.clone()))?;
        let mut edit = Edit::new((*old).clone(), self.clock.now());
        let value = decide(&mut edit).map_err(EditError::Refused)?;
        let entry = self.commit(Some(old), edit).await?;
        Ok((entry, value))
    }

    /// Deletes a function with everything of it.
    ///
    /// # Errors
    /// [`EditError::Missing`], [`EditError::Store`].
    pub async fn delete<E>(
        &self,
        namespace: &Namespace,
        name: &FunctionName,
    ) -> Result<Arc<FunctionEntry>, EditError<E>> {
        let _turn = self.turn(namespace, name).await;
        let old = self
            .find(namespace, name)
            .ok_or_else(|| EditError::Missing(namespace.clone(), name.clone()))?;
        self.store.commit(vec![Change::RemoveFunction(old.function.id)]).await?;
        let key = (namespace.clone(), name.clone());
        self.by_name.pin().remove(&key);
        self.by_id.pin().remove(&old.function.id);
        self.names.write().remove(&key);
        self.generation.fetch_add(1, Ordering::AcqRel);
        for revision in old.revisions.keys() {
            self.retired.retired(*revision);
        }
        self.retired.removed(old.function.id);
        self.retired.live(Some(old.latest()), None);
        self.release(old.revisions.values()).await;
        Ok(old)
    }

    async fn turn(&self, namespace: &Namespace, name: &FunctionName) -> tokio::sync::MutexGuard<'_, ()> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (namespace, name).hash(&mut hasher);
        self.stripes[(hasher.finish() % STRIPES as u64) as usize].lock().await
    }

    async fn commit(&self, old: Option<Arc<FunctionEntry>>, edit: Edit) -> Result<Arc<FunctionEntry>, StoreError> {
        let (entry, changes, removed) = edit.finish();
        if changes.is_empty() {
            return Ok(old.unwrap_or_else(|| Arc::new(entry)));
        }
        self.store.commit(changes).await?;
        let entry = Arc::new(entry);
        for revision in entry.revisions.values() {
            if old.as_ref().is_none_or(|old| !old.revisions.contains_key(&revision.id)) {
                revision
                    .artifacts()
                    .for_each(|artifact| self.uses.hold(artifact.digest));
            }
        }
        self.publish(Arc::clone(&entry));
        match old {
            Some(old) if old.function.latest == entry.function.latest => {}
            old => {
                self.retired
                    .live(old.as_ref().map(|old| &**old.latest()), Some(entry.latest()));
                if let Some(old) = old {
                    self.retired.retired(old.function.latest);
                }
            }
        }
        for revision in &removed {
            self.retired.retired(revision.id);
        }
        self.release(removed.iter()).await;
        Ok(entry)
    }

    fn publish(&self, entry: Arc<FunctionEntry>) {
        let key = (entry.function.namespace.clone(), entry.function.name.clone());
        let id = entry.function.id;
        self.by_id.pin().insert(id, entry);
        self.by_name.pin().insert(key.clone(), id);
        self.names.write().insert(key, id);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives up revisions' hold on their artifacts and removes those that nobody holds any more.
    async fn release(&self, revisions: impl Iterator<Item = &Arc<Revision>>) {
        for artifact in revisions.flat_map(|revision| revision.artifacts()) {
            if self.uses.let_go(&artifact.digest) {
                self.discard(artifact.digest).await;
            }
        }
        let stale = std::mem::take(&mut *self.uses.stale.lock());
        for digest in stale {
            self.discard(digest).await;
        }
    }

    /// Removes an artifact, unless somebody holds it again.
    async fn discard(&self, digest: Digest) {
        let _alone = self.gate.write().await;
        if self.uses.held(&digest) {
            return;
        }
        if let Err(error) = self.artifacts.remove(&digest).await {
            tracing::warn!(%digest, %error, "an unused artifact stays");
        }
    }
}

/// Puts records together; those whose function is gone are left out.
fn assemble(records: Vec<Record>) -> Result<Vec<FunctionEntry>, StoreError> {
    let mut entries: BTreeMap<FunctionId, FunctionEntry> = BTreeMap::new();
    let mut revisions: Vec<Revision> = Vec::new();
    let mut aliases: Vec<Alias> = Vec::new();
    for record in records {
        match record {
            Record::Function(function) => {
                let entry = FunctionEntry {
                    function: Arc::new(function),
                    revisions: BTreeMap::new(),
                    aliases: BTreeMap::new(),
                };
                entries.insert(entry.function.id, entry);
            }
            Record::Revision(revision) => revisions.push(revision),
            Record::Alias(alias) => aliases.push(alias),
            Record::Document { .. } => {}
        }
    }
    for revision in revisions {
        if let Some(entry) = entries.get_mut(&revision.function) {
            entry.revisions.insert(revision.id, Arc::new(revision));
        }
    }
    for alias in aliases {
        if let Some(entry) = entries.get_mut(&alias.function) {
            entry.aliases.insert(alias.name.clone(), Arc::new(alias));
        }
    }
    for entry in entries.values() {
        if !entry.revisions.contains_key(&entry.function.latest) {
            return Err(StoreError::Unreadable {
                what: format!("function {}", entry.function.id),
                why: format!("its latest revision {} is missing", entry.function.latest),
            });
        }
    }
    Ok(entries.into_values().collect())
}
