//! Everything that accounts hold: apps, functions (functions of the core), triggers; and how each changes.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sonagi_control::{Catalog, Edit, FunctionEntry, NewFunction, NewRevision};
use sonagi_model::{ArchiveLimits, ArtifactRef, Document, FunctionId, Mebibytes, Outside, RevisionId, RevisionSpec};
use sonagi_ports::{Clock, MetadataStore, Record, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::annotations::configured;
use crate::errors::FnError;
use crate::ids;
use crate::names::{core_namespace, function_name, tenant};
use crate::records::{App, FnRecord, Recipe, Trigger};
use crate::runtime::CONTRACT;
use crate::scoped::Scoped;

/// Old revisions of a function that are kept, to go back to.
const HISTORY: usize = 10;
/// Records that are kept read; beyond, all are forgotten and read again.
const CACHED: usize = 10_000;
/// Accounts whose belongings may be changed at the same time.
const STRIPES: usize = 64;
/// Size of `/tmp`. Upstream: no limit unless the operator sets one (`FN_MAX_TMPFS_SIZE_MB`).
const SCRATCH: Mebibytes = Mebibytes(512);
/// An archive with one empty file: the code of a function whose image this platform does not have.
/// Source: PKWARE APPNOTE 6.3.10, 4.3.7, 4.3.12, 4.3.16.
const NO_CODE: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0image\
                         PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0image\
                         PK\x05\x06\0\0\0\0\x01\0\x01\0\x33\0\0\0\x23\0\0\0\0\0";

/// A function with its record.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) entry: Arc<FunctionEntry>,
    pub(crate) record: Arc<FnRecord>,
}

impl Held {
    pub(crate) fn id(&self) -> String {
        ids::write(self.entry.function.id.as_uuid())
    }
}

/// The code of a function.
#[derive(Debug)]
pub(crate) enum Code {
    /// As it is.
    Kept,
    /// That of an upload.
    Of(ArtifactRef),
    /// None: an image.
    None,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) catalog: Arc<Catalog>,
    /// By account and id.
    apps: Scoped<App>,
    /// By app and id.
    triggers: Scoped<Trigger>,
    /// Apps by account and name.
    names: ArcSwap<HashMap<(String, String), Arc<App>>>,
    pub(crate) clock: Arc<dyn Clock>,
    records: papaya::HashMap<RevisionId, Arc<FnRecord>>,
    stripes: Vec<Mutex<()>>,
}

impl Estate {
    /// Everything among the records. What a sudden end left between an app and its functions is put right.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn load(
        records: &[Record],
        catalog: Arc<Catalog>,
        store: &Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let estate = Self {
            catalog,
            apps: Scoped::load(records, "fn.apps", Arc::clone(store))?,
            triggers: Scoped::load(records, "fn.triggers", Arc::clone(store))?,
            names: ArcSwap::default(),
            clock,
            records: papaya::HashMap::new(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
        };
        estate.index();
        for ((account, _), app) in estate.apps.entries() {
            if estate.reconfigure(&account, &app).await.is_err() {
                tracing::error!(app = %app.id, "the functions of an app do not have its configuration");
            }
        }
        Ok(estate)
    }

    fn index(&self) {
        let apps = self.apps.entries().into_iter();
        let names = apps
            .map(|((account, _), app)| ((account, app.name.clone()), app))
            .collect();
        self.names.store(Arc::new(names));
    }

    /// The right to change an account's belongings.
    pub(crate) async fn turn(&self, account: &str) -> MutexGuard<'_, ()> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        self.stripes[(hasher.finish() % STRIPES as u64) as usize].lock().await
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().as_millis()
    }

    // === apps

    /// # Errors
    /// 404.
    pub(crate) fn app(&self, account: &str, id: &str) -> Result<Arc<App>, FnError> {
        self.apps.get(account, id).ok_or_else(FnError::no_app)
    }

    pub(crate) fn app_named(&self, account: &str, name: &str) -> Option<Arc<App>> {
        self.names.load().get(&(account.to_owned(), name.to_owned())).cloned()
    }

    pub(crate) fn apps(&self, account: &str) -> Vec<Arc<App>> {
        self.apps.of(account)
    }

    /// Inserts or replaces an app, and gives its functions its configuration. To be called with the account's turn.
    pub(crate) async fn put_app(&self, account: &str, app: App) -> Result<Arc<App>, FnError> {
        let id = app.id.clone();
        let app = self.apps.put(account, &id, app).await?;
        self.index();
        self.reconfigure(account, &app).await?;
        Ok(app)
    }

    /// Makes new revisions of an app's functions whose variables are not those that they should have.
    async fn reconfigure(&self, account: &str, app: &App) -> Result<(), FnError> {
        for held in self.functions_of(account, &app.id) {
            let wanted = configured(&app.config, &held.record.config);
            if held.entry.latest().spec.environment != wanted {
                self.revise(&held, app, FnRecord::clone(&held.record), Code::Kept)
                    .await?;
            }
        }
        Ok(())
    }

    /// Removes an app with everything of it: that first, so that a sudden end leaves nothing without an app. To be called
    /// with the account's turn.
    pub(crate) async fn remove_app(&self, account: &str, id: &str) -> Result<(), FnError> {
        self.app(account, id)?;
        for held in self.functions_of(account, id) {
            self.remove_function(&held).await?;
        }
        for trigger in self.triggers.of(id) {
            self.triggers.remove(id, &trigger.id).await?;
        }
        self.apps.remove(account, id).await?;
        self.index();
        Ok(())
    }

    // === functions

    /// The function of this id, if it is this account's.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn function(&self, account: &str, id: &str) -> Result<Held, FnError> {
        let id = ids::read(id).ok_or_else(FnError::no_fn)?;
        let entry = self.catalog.get(FunctionId::from_uuid(id)).ok_or_else(FnError::no_fn)?;
        if core_namespace(account).as_ref() != Some(&entry.function.namespace) {
            return Err(FnError::no_fn());
        }
        self.held(entry).ok_or_else(FnError::no_fn)
    }

    pub(crate) fn function_named(&self, account: &str, app: &str, name: &str) -> Option<Held> {
        let entry = self
            .catalog
            .find(&core_namespace(account)?, &function_name(app, name))?;
        self.held(entry)
    }

    /// All functions of an account, by their names in the core.
    pub(crate) fn functions(&self, account: &str) -> Vec<Held> {
        let Some(namespace) = core_namespace(account) else {
            return Vec::new();
        };
        let entries = self.catalog.list(&namespace, None, usize::MAX);
        entries.into_iter().filter_map(|entry| self.held(entry)).collect()
    }

    /// Functions of one app, by name.
    pub(crate) fn functions_of(&self, account: &str, app: &str) -> Vec<Held> {
        let mut held = self.functions(account);
        held.retain(|held| held.record.app == app);
        held.sort_by(|one, other| one.record.name.cmp(&other.record.name));
        held
    }

    pub(crate) fn held(&self, entry: Arc<FunctionEntry>) -> Option<Held> {
        let revision = entry.latest();
        let records = self.records.pin();
        if let Some(record) = records.get(&revision.id) {
            let record = Arc::clone(record);
            return Some(Held { entry, record });
        }
        let record = serde_json::from_value::<FnRecord>(revision.document.0.clone());
        let record = record
            .inspect_err(|error| tracing::error!(revision = %revision.id, %error, "a function's record cannot be read"))
            .ok()?;
        let record = Arc::new(record);
        if records.len() >= CACHED {
            records.clear();
        }
        records.insert(revision.id, Arc::clone(&record));
        Some(Held { entry, record })
    }

    /// Makes a function. To be called with the account's turn.
    pub(crate) async fn create(&self, account: &str, app: &App, record: FnRecord, code: Code) -> Result<Held, FnError> {
        let artifact = match code {
            Code::Of(artifact) => Some(artifact),
            Code::Kept | Code::None => None,
        };
        let empty = match artifact {
            Some(_) => None,
            None => Some(self.no_code().await?),
        };
        let artifact = artifact.or_else(|| empty.as_ref().map(|held| held.artifact().clone()));
        let new = NewFunction {
            tenant: tenant(account).ok_or_else(FnError::no_app)?,
            namespace: core_namespace(account).ok_or_else(FnError::no_app)?,
            name: function_name(&app.name, &record.name),
            document: Document::default(),
            revision: NewRevision {
                label: "1".to_owned(),
                artifact: artifact.ok_or_else(FnError::no_fn)?,
                spec: spec_of(app, &record),
                document: document(&record)?,
            },
        };
        let entry = self.catalog.create::<FnError>(new).await?;
        self.held(entry).ok_or_else(FnError::no_fn)
    }

    /// Makes a new revision of a function. To be called with the account's turn.
    pub(crate) async fn revise(&self, held: &Held, app: &App, record: FnRecord, code: Code) -> Result<Held, FnError> {
        let function = &held.entry.function;
        let empty = match code {
            Code::None => Some(self.no_code().await?),
            Code::Kept | Code::Of(_) => None,
        };
        let artifact = match (code, &empty) {
            (Code::Of(artifact), _) => artifact,
            (Code::None, Some(empty)) => empty.artifact().clone(),
            (Code::Kept | Code::None, _) => held.entry.latest().artifact.clone(),
        };
        let (spec, document) = (spec_of(app, &record), document(&record)?);
        let decide = |edit: &mut Edit| {
            let newest = edit.entry().revisions.values().next_back();
            let number = newest.and_then(|newest| newest.label.parse::<u64>().ok()).unwrap_or(0);
            let revision = edit.add_revision(NewRevision {
                label: (number + 1).to_string(),
                artifact,
                spec,
                document,
            });
            edit.set_latest(revision.id);
            let all: Vec<RevisionId> = edit.entry().revisions.keys().copied().collect();
            for id in all.iter().take(all.len().saturating_sub(HISTORY)) {
                edit.remove_revision(*id);
            }
            Ok::<_, FnError>(())
        };
        let (entry, ()) = self.catalog.edit(&function.namespace, &function.name, decide).await?;
        self.held(entry).ok_or_else(FnError::no_fn)
    }

    async fn no_code(&self) -> Result<sonagi_control::HeldArtifact, FnError> {
        let archive = bytes::Bytes::from_static(NO_CODE);
        Ok(self.catalog.store_artifact(archive, &ArchiveLimits::default()).await?)
    }

    /// Removes a function with its triggers. To be called with the account's turn.
    pub(crate) async fn remove_function(&self, held: &Held) -> Result<(), FnError> {
        let id = held.id();
        for trigger in self.triggers.of(&held.record.app) {
            if trigger.function == id {
                self.triggers.remove(&trigger.app, &trigger.id).await?;
            }
        }
        let function = &held.entry.function;
        self.catalog
            .delete::<FnError>(&function.namespace, &function.name)
            .await?;
        Ok(())
    }

    // === triggers

    /// The trigger of this id, if it is this account's.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn trigger(&self, account: &str, id: &str) -> Result<(Arc<App>, Arc<Trigger>), FnError> {
        let found = self.apps.of(account).into_iter().find_map(|app| {
            let trigger = self.triggers.get(&app.id, id)?;
            Some((app, trigger))
        });
        found.ok_or_else(FnError::no_trigger)
    }

    /// Triggers of an app.
    pub(crate) fn triggers_of(&self, app: &str) -> Vec<Arc<Trigger>> {
        self.triggers.of(app)
    }

    /// Inserts or replaces a trigger. To be called with the account's turn.
    pub(crate) async fn put_trigger(&self, trigger: Trigger) -> Result<Arc<Trigger>, FnError> {
        let (app, id) = (trigger.app.clone(), trigger.id.clone());
        Ok(self.triggers.put(&app, &id, trigger).await?)
    }

    /// Removes a trigger. To be called with the account's turn.
    pub(crate) async fn remove_trigger(&self, trigger: &Trigger) -> Result<(), FnError> {
        self.triggers.remove(&trigger.app, &trigger.id).await?;
        Ok(())
    }

    /// How many apps an account has.
    pub(crate) fn size(&self, account: &str) -> usize {
        self.apps.of(account).len()
    }
}

/// The platform's own annotation of a function: what it reaches outside of its sandbox. Without it, what all do.
pub(crate) const OUTSIDE: &str = "sonagi-egress";
/// Its value for nothing.
pub(crate) const CLOSED: &str = "none";

fn outside_of(record: &FnRecord) -> Outside {
    if record.annotations.get(OUTSIDE).and_then(|value| value.as_str()) == Some(CLOSED) {
        Outside::Closed
    } else {
        Outside::Open
    }
}

/// How the engine runs a function.
fn spec_of(app: &App, record: &FnRecord) -> RevisionSpec {
    let recipe = record.recipe.as_ref();
    RevisionSpec {
        contract: CONTRACT.to_owned(),
        runtime: recipe.map_or_else(|| "image".to_owned(), |recipe| recipe.runtime.clone()),
        handler: recipe.map_or_else(|| record.image.clone(), handler_of),
        memory: Mebibytes(record.memory),
        timeout: Duration::from_secs(u64::from(record.timeout)),
        scratch: SCRATCH,
        environment: configured(&app.config, &record.config),
        concurrency: NonZeroU32::MIN,
        outside: outside_of(record),
    }
}

/// What people see of a recipe.
pub(crate) fn handler_of(recipe: &Recipe) -> String {
    recipe.command.join(" ")
}

fn document(record: &FnRecord) -> Result<Document, FnError> {
    let value = serde_json::to_value(record).map_err(|_| FnError::invalid_json())?;
    Ok(Document(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_archive_is_as_long_as_it_says() {
        let number = |at: usize| u32::from_le_bytes(NO_CODE[at..at + 4].try_into().unwrap()) as usize;
        let end = NO_CODE.len() - 22;
        assert_eq!(&NO_CODE[end..end + 4], b"PK\x05\x06");
        let (size, start) = (number(end + 12), number(end + 16));
        assert_eq!(&NO_CODE[start..start + 4], b"PK\x01\x02");
        assert_eq!(start + size, end);
    }
}
