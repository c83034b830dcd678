//! Everything that namespaces hold: actions (functions of the core), packages, triggers, rules, routes; and how a name leads to
//! what is run.

use std::sync::Arc;

use papaya::HashMap;
use sonagi_control::{Catalog, Edit, EditError, FunctionEntry, NewFunction, NewRevision};
use sonagi_model::{Document, Mebibytes, Outside, RevisionId, RevisionSpec};
use sonagi_ports::{Clock, Language, MetadataStore, Record, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::code::{self, Packed};
use crate::entities::{ActionRecord, KeyValues, Package, Rule, Trigger};
use crate::errors::WhiskError;
use crate::kinds::Runtime;
use crate::names::{FullName, core_namespace, function_name, tenant};
use crate::routes::RouteApi;
use crate::runtime::CONTRACT;
use crate::table::Table;

/// Old revisions of an action that are kept, to go back to.
const HISTORY: usize = 10;
/// Records that are kept read; beyond, all are forgotten and read again.
const CACHED: usize = 10_000;
/// Namespaces whose entities may be changed at the same time.
const STRIPES: usize = 64;
/// Size of `/tmp`, which upstream does not limit on its own.
const SCRATCH: Mebibytes = Mebibytes(512);

/// Collections of a namespace, which share one space of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Actions,
    Packages,
    Triggers,
    Rules,
}

/// An action as it is called: its record, and the parameters that it inherits.
#[derive(Debug, Clone)]
pub(crate) struct Callable {
    pub(crate) entry: Arc<FunctionEntry>,
    pub(crate) record: Arc<ActionRecord>,
    /// The action's name, in the package that holds it.
    pub(crate) name: FullName,
    /// The binding through which it was named.
    pub(crate) binding: Option<FullName>,
    /// Parameters of package, binding and action, the later over the earlier.
    pub(crate) parameters: KeyValues,
}

/// A package as it is used: what holds the actions, and the parameters that they inherit.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    /// Where the actions are.
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) publish: bool,
    /// The binding through which it was named.
    pub(crate) binding: Option<FullName>,
    pub(crate) parameters: KeyValues,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) packages: Table<Package>,
    pub(crate) triggers: Table<Trigger>,
    pub(crate) rules: Table<Rule>,
    pub(crate) routes: Table<RouteApi>,
    pub(crate) clock: Arc<dyn Clock>,
    records: HashMap<RevisionId, Arc<ActionRecord>>,
    stripes: Vec<Mutex<()>>,
}

impl Estate {
    pub(crate) fn load(
        records: &[Record],
        catalog: Arc<Catalog>,
        store: &Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            catalog,
            packages: Table::load(records, "openwhisk.packages", Arc::clone(store))?,
            triggers: Table::load(records, "openwhisk.triggers", Arc::clone(store))?,
            rules: Table::load(records, "openwhisk.rules", Arc::clone(store))?,
            routes: Table::load(records, "openwhisk.routes", Arc::clone(store))?,
            clock,
            records: HashMap::new(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
        })
    }

    /// The right to change a namespace's entities.
    pub(crate) async fn turn(&self, namespace: &str) -> MutexGuard<'_, ()> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        self.stripes[(hasher.finish() % STRIPES as u64) as usize].lock().await
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().as_millis()
    }

    // === reading

    /// In which collection a name is taken.
    pub(crate) fn taken(&self, namespace: &str, name: &str) -> Option<Collection> {
        if self.packages.get(namespace, name).is_some() {
            Some(Collection::Packages)
        } else if self.triggers.get(namespace, name).is_some() {
            Some(Collection::Triggers)
        } else if self.rules.get(namespace, name).is_some() {
            Some(Collection::Rules)
        } else {
            self.entry(&FullName::new(namespace, None, name))
                .map(|_| Collection::Actions)
        }
    }

    /// Why a name is not found in a collection.
    pub(crate) fn absent(&self, namespace: &str, name: &str) -> WhiskError {
        match self.taken(namespace, name) {
            Some(_) => WhiskError::wrong_collection(),
            None => WhiskError::missing(),
        }
    }

    fn entry(&self, name: &FullName) -> Option<Arc<FunctionEntry>> {
        let function = function_name(name.package.as_deref(), &name.name);
        self.catalog.find(&core_namespace(&name.namespace)?, &function)
    }

    /// An action by its own name.
    pub(crate) fn action(&self, name: &FullName) -> Option<(Arc<FunctionEntry>, Arc<ActionRecord>)> {
        let entry = self.entry(name)?;
        let record = self.record(&entry)?;
        Some((entry, record))
    }

    /// The record of an action's live revision.
    pub(crate) fn record(&self, entry: &FunctionEntry) -> Option<Arc<ActionRecord>> {
        let revision = entry.latest();
        let records = self.records.pin();
        if let Some(record) = records.get(&revision.id) {
            return Some(Arc::clone(record));
        }
        let record = serde_json::from_value::<ActionRecord>(revision.document.0.clone());
        let record = Arc::new(
            record
                .inspect_err(
                    |error| tracing::error!(revision = %revision.id, %error, "an action's record cannot be read"),
                )
                .ok()?,
        );
        if records.len() >= CACHED {
            records.clear();
        }
        records.insert(revision.id, Arc::clone(&record));
        Some(record)
    }

    /// All actions of a namespace, of all packages.
    pub(crate) fn actions(&self, namespace: &str) -> Vec<Arc<ActionRecord>> {
        let Some(namespace) = core_namespace(namespace) else {
            return Vec::new();
        };
        let entries = self.catalog.list(&namespace, None, usize::MAX);
        entries.iter().filter_map(|entry| self.record(entry)).collect()
    }

    /// Actions of one package.
    pub(crate) fn in_package(&self, namespace: &str, package: &str) -> Vec<Arc<ActionRecord>> {
        let mut actions = self.actions(namespace);
        actions.retain(|action| action.package.as_deref() == Some(package));
        actions
    }

    /// A package, bindings followed.
    ///
    /// # Errors
    /// 404, also where what was bound is gone; 409 for the name of something else.
    pub(crate) fn used(&self, namespace: &str, name: &str) -> Result<Used, WhiskError> {
        let package = self
            .packages
            .get(namespace, name)
            .ok_or_else(|| self.absent(namespace, name))?;
        let Some(binding) = &package.binding else {
            return Ok(Used {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                publish: package.head.publish,
                binding: None,
                parameters: package.parameters.clone(),
            });
        };
        let bound = self
            .packages
            .get(&binding.namespace, &binding.name)
            .ok_or_else(WhiskError::missing)?;
        Ok(Used {
            namespace: binding.namespace.clone(),
            name: binding.name.clone(),
            publish: bound.head.publish,
            binding: Some(FullName::new(namespace, None, name)),
            parameters: bound.parameters.clone().under(&package.parameters),
        })
    }

    /// The action that a name means to a caller.
    ///
    /// # Errors
    /// 404, 409, or 403 for what another namespace does not share.
    pub(crate) fn callable(&self, caller: &str, name: &FullName) -> Result<Callable, WhiskError> {
        let forbidden = || WhiskError::forbidden(name);
        let Some(package) = &name.package else {
            if name.namespace != caller {
                return Err(forbidden());
            }
            let Some((entry, record)) = self.action(name) else {
                return Err(self.absent(&name.namespace, &name.name));
            };
            return Ok(Callable {
                parameters: record.parameters.clone(),
                name: name.clone(),
                binding: None,
                entry,
                record,
            });
        };
        let used = match self.used(&name.namespace, package) {
            Ok(used) => used,
            Err(_) if name.namespace != caller && self.packages.get(&name.namespace, package).is_none() => {
                return Err(forbidden());
            }
            Err(error) => return Err(error),
        };
        let own = self.packages.get(&name.namespace, package);
        let shared = own.is_some_and(|package| package.head.publish);
        if name.namespace != caller && !shared {
            return Err(forbidden());
        }
        if used.binding.is_some() && used.namespace != name.namespace && !used.publish {
            return Err(WhiskError::forbidden(format!("{}/{}", used.namespace, used.name)));
        }
        let held = FullName::new(&used.namespace, Some(&used.name), &name.name);
        let (entry, record) = self.action(&held).ok_or_else(WhiskError::missing)?;
        Ok(Callable {
            parameters: used.parameters.under(&record.parameters),
            name: held,
            binding: used.binding,
            entry,
            record,
        })
    }

    // === changing

    /// Makes an action or a new revision of one. To be called with the namespace's turn.
    pub(crate) async fn put_action(&self, record: ActionRecord, code: Option<Packed>) -> Result<(), WhiskError> {
        let name = record.full_name();
        let spec = spec_of(&record);
        let held = match code {
            Some(packed) => {
                let limits = code::archive_limits(packed.archive.len());
                Some(self.catalog.store_artifact(packed.archive, &limits).await?)
            }
            None => None,
        };
        let document = document(&record)?;
        let label = record.head.version.to_string();
        let (space, function) = self.core_names(&name)?;
        let Some(entry) = self.entry(&name) else {
            let held = held.ok_or_else(|| WhiskError::malformed("exec undefined"))?;
            let new = NewFunction {
                tenant: tenant(&name.namespace).ok_or_else(WhiskError::missing)?,
                namespace: space,
                name: function,
                document: Document::default(),
                revision: NewRevision {
                    label,
                    artifact: held.artifact().clone(),
                    spec,
                    document,
                },
            };
            self.catalog.create(new).await.map_err(refused)?;
            return Ok(());
        };
        let artifact = match &held {
            Some(held) => held.artifact().clone(),
            None => entry.latest().artifact.clone(),
        };
        let decide = |edit: &mut Edit| {
            let revision = edit.add_revision(NewRevision {
                label,
                artifact,
                spec,
                document,
            });
            edit.set_latest(revision.id);
            let old: Vec<RevisionId> = edit.entry().revisions.keys().copied().collect();
            for id in old.iter().take(old.len().saturating_sub(HISTORY)) {
                edit.remove_revision(*id);
            }
            Ok(())
        };
        self.catalog.edit(&space, &function, decide).await.map_err(refused)?;
        Ok(())
    }

    /// Removes an action. To be called with the namespace's turn.
    pub(crate) async fn remove_action(&self, name: &FullName) -> Result<(), WhiskError> {
        let (space, function) = self.core_names(name)?;
        self.catalog.delete(&space, &function).await.map_err(refused)?;
        Ok(())
    }

    /// The code of an action, as it was sent.
    pub(crate) async fn code(
        &self,
        entry: &FunctionEntry,
        record: &ActionRecord,
    ) -> Result<Option<String>, WhiskError> {
        let archive = self.catalog.artifacts().archive(&entry.latest().artifact).await?;
        Ok(code::unpack(record.exec.form, &archive))
    }

    pub(crate) fn core_names(
        &self,
        name: &FullName,
    ) -> Result<(sonagi_model::Namespace, sonagi_model::FunctionName), WhiskError> {
        let space = core_namespace(&name.namespace).ok_or_else(WhiskError::missing)?;
        Ok((space, function_name(name.package.as_deref(), &name.name)))
    }

    /// How many entities a namespace has.
    pub(crate) fn size(&self, namespace: &str) -> usize {
        self.actions(namespace).len()
            + self.packages.of(namespace).len()
            + self.triggers.of(namespace).len()
            + self.rules.of(namespace).len()
            + self.routes.of(namespace).len()
    }
}

/// The platform's own annotation of an action: what it reaches outside of its sandbox. Without it, what all do.
pub(crate) const OUTSIDE: &str = "sonagi-egress";
/// Its value for nothing.
pub(crate) const CLOSED: &str = "none";

fn outside_of(record: &ActionRecord) -> Outside {
    if record.head.annotations.get(OUTSIDE).and_then(|value| value.as_str()) == Some(CLOSED) {
        Outside::Closed
    } else {
        Outside::Open
    }
}

/// How the engine runs an action. Its deadline covers initialization and run, which the session limits one by one.
fn spec_of(record: &ActionRecord) -> RevisionSpec {
    let limit = std::time::Duration::from_millis(record.limits.timeout_ms);
    // As upstream, activations overlap in Node's runtime only: others work on one after the other.
    let concurrency = match Runtime::of(&record.exec.kind) {
        Some(Runtime::Managed(Language::Node, _)) => u32::try_from(record.limits.concurrency).unwrap_or(1),
        Some(Runtime::Managed(Language::Python, _) | Runtime::Loop) | None => 1,
    };
    RevisionSpec {
        contract: CONTRACT.to_owned(),
        runtime: record.exec.kind.clone(),
        handler: record.main().to_owned(),
        memory: Mebibytes(u32::try_from(record.limits.memory_mb).unwrap_or(u32::MAX)),
        timeout: limit * 2 + std::time::Duration::from_secs(1),
        scratch: SCRATCH,
        environment: std::collections::BTreeMap::new(),
        concurrency: std::num::NonZeroU32::new(concurrency).unwrap_or(std::num::NonZeroU32::MIN),
        outside: outside_of(record),
    }
}

fn document(record: &ActionRecord) -> Result<Document, WhiskError> {
    let value = serde_json::to_value(record).map_err(WhiskError::malformed)?;
    Ok(Document(value))
}

fn refused(error: EditError<WhiskError>) -> WhiskError {
    match error {
        EditError::Missing(..) => WhiskError::missing(),
        EditError::Exists(..) => WhiskError::conflict("resource already exists"),
        EditError::Refused(error) => error,
        EditError::Store(error) => error.into(),
    }
}
