//! A provider for tests: functions in a real catalog over fake stores, calls that echo the event. An event with the text
//! `fail` fails; each call leaves a record and two lines of output.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_control::{Catalog, EditError, FunctionEntry, NewFunction, NewRevision, Retired};
use sonagi_model::{
    AliasName, ArchiveLimits, ColdPhases, Document, EventId, FunctionId, FunctionName, InstanceId, InvocationId,
    Mebibytes, Namespace, RevisionId, RevisionSpec, Route, RunRecord, RunStatus, Start, TenantId,
};
use sonagi_ports::fake::{
    FakeArtifactStore, FakeEventQueue, FakeLogSink, FakeMetadataStore, FakeRunStore, ManualClock,
};
use sonagi_ports::{
    AcceptError, AccountView, Adapter, AdapterError, AliasView, Cancelled, Clock as _, Deploy, Deployed,
    EventQueue as _, EventRoute, EventStatus, FunctionView, Lease, LogLine, LogSink as _, LogSource, NativeAnswer,
    NativeCall, NewEvent, Progress, RunStore as _, Settings, Settlement, StoreError, UrlAccess, VersionView,
};

use crate::native::EventDesk;

/// The newest revision's label.
const LIVE: &str = "live";

/// Ignores what the catalog says about instances: there are none.
#[derive(Debug)]
struct Nobody;

impl Retired for Nobody {
    fn retired(&self, _: RevisionId) {}
    fn removed(&self, _: FunctionId) {}
    fn live(&self, _: Option<&sonagi_model::Revision>, _: Option<&sonagi_model::Revision>) {}
}

/// The adapter, and the stores under it.
#[derive(Debug)]
pub struct TestAdapter {
    /// Its functions.
    pub catalog: Arc<Catalog>,
    /// Their attempts.
    pub runs: Arc<FakeRunStore>,
    /// Accepted events, each over as soon as it is accepted.
    pub events: Arc<FakeEventQueue>,
    /// Their output.
    pub logs: Arc<FakeLogSink>,
    /// The time, which stands still.
    pub clock: Arc<ManualClock>,
    accounts: Mutex<Vec<AccountView>>,
}

fn account(id: &str) -> AccountView {
    let namespace = Namespace::parse(&format!("test/{id}/here")).expect("a namespace");
    AccountView {
        id: id.to_owned(),
        key: format!("KEY{id}"),
        namespace,
    }
}

fn missing(namespace: &Namespace, name: &str) -> AdapterError {
    AdapterError::Missing(format!("function {name} does not exist in {namespace}"))
}

fn failed(error: EditError<AdapterError>) -> AdapterError {
    match error {
        EditError::Refused(error) => error,
        EditError::Missing(..) => AdapterError::Missing(error.to_string()),
        EditError::Exists(..) => AdapterError::Conflict(error.to_string()),
        EditError::Store(_) => AdapterError::Platform(error.to_string()),
    }
}

fn apply(spec: &mut RevisionSpec, settings: Settings) {
    spec.runtime = settings.runtime.unwrap_or_else(|| spec.runtime.clone());
    spec.handler = settings.handler.unwrap_or_else(|| spec.handler.clone());
    spec.memory = settings.memory.unwrap_or(spec.memory);
    spec.timeout = settings.timeout.unwrap_or(spec.timeout);
    spec.scratch = settings.scratch.unwrap_or(spec.scratch);
    spec.outside = settings.outside.unwrap_or(spec.outside);
    spec.environment.extend(settings.set_environment);
    for name in &settings.unset_environment {
        spec.environment.remove(name);
    }
}

/// What a new function has until its settings say otherwise.
fn first_spec() -> RevisionSpec {
    RevisionSpec {
        contract: "test".to_owned(),
        runtime: "test1".to_owned(),
        handler: "main".to_owned(),
        memory: Mebibytes(128),
        timeout: Duration::from_secs(3),
        scratch: Mebibytes(512),
        environment: Default::default(),
        concurrency: NonZeroU32::MIN,
        outside: sonagi_model::Outside::Open,
    }
}

impl TestAdapter {
    /// With one account, `one`.
    ///
    /// # Panics
    /// Never: an empty store is a good store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(ManualClock::default());
        let catalog = Catalog::load(
            Vec::new(),
            Arc::new(FakeMetadataStore::new()),
            Arc::new(FakeArtifactStore::new()),
            Arc::clone(&clock) as _,
            Arc::new(Nobody),
        )
        .expect("no records are fine records");
        let runs = Arc::new(FakeRunStore::new());
        Arc::new(Self {
            catalog: Arc::new(catalog),
            events: Arc::new(FakeEventQueue::new(Arc::clone(&runs), 1000)),
            runs,
            logs: Arc::default(),
            clock,
            accounts: Mutex::new(vec![account("one")]),
        })
    }

    fn entry(&self, namespace: &Namespace, name: &str) -> Result<Arc<FunctionEntry>, AdapterError> {
        let parsed = FunctionName::parse(name).map_err(|_| missing(namespace, name))?;
        self.catalog
            .find(namespace, &parsed)
            .ok_or_else(|| missing(namespace, name))
    }

    fn view(entry: &FunctionEntry) -> FunctionView {
        let live = entry.latest();
        let mut versions: Vec<VersionView> = entry
            .revisions
            .values()
            .filter(|revision| revision.label != LIVE)
            .map(|revision| VersionView {
                label: revision.label.clone(),
                revision: revision.id,
                digest: revision.artifact.digest,
                created: "2026-01-01T00:00:00Z".to_owned(),
                live: false,
            })
            .collect();
        versions.push(VersionView {
            label: LIVE.to_owned(),
            revision: live.id,
            digest: live.artifact.digest,
            created: "2026-01-01T00:00:00Z".to_owned(),
            live: true,
        });
        let label = |id: &RevisionId| {
            entry
                .revisions
                .get(id)
                .map(|revision| revision.label.clone())
                .unwrap_or_default()
        };
        FunctionView {
            namespace: live.namespace.clone(),
            name: live.name.to_string(),
            provider_name: format!("test:{}", live.name),
            contract: live.spec.contract.clone(),
            runtime: live.spec.runtime.clone(),
            handler: live.spec.handler.clone(),
            memory: live.spec.memory,
            timeout_ms: live.spec.timeout.as_millis() as u64,
            scratch: live.spec.scratch,
            outside: live.spec.outside,
            environment: live.spec.environment.clone(),
            revision: live.id,
            digest: live.artifact.digest,
            size: live.artifact.size,
            modified: "2026-01-01T00:00:00Z".to_owned(),
            url: entry.function.document.0["url"].as_str().map(str::to_owned),
            reserved_concurrency: entry.function.reserved_concurrency,
            provisioned: Vec::new(),
            versions,
            aliases: entry
                .aliases
                .values()
                .map(|alias| AliasView {
                    name: alias.name.to_string(),
                    version: label(&alias.route.primary),
                    split: alias.route.secondary.map(|(id, share)| (label(&id), share)),
                })
                .collect(),
        }
    }

    fn record(&self, entry: &FunctionEntry, status: RunStatus, bytes: usize) -> RunRecord {
        let live = entry.latest();
        RunRecord {
            invocation: InvocationId::generate(),
            attempt: 1,
            function: entry.function.id,
            namespace: live.namespace.clone(),
            tenant: live.tenant.clone(),
            name: live.name.clone(),
            revision: live.id,
            label: live.label.clone(),
            instance: Some(InstanceId::generate()),
            started: self.clock.now(),
            start: Start::Cold,
            phases: Some(ColdPhases {
                queue_us: 10,
                artifact_us: 200,
                cell_us: 300,
                process_us: 4000,
                init_us: 50_000,
            }),
            init_us: 50_000,
            duration_us: 1500,
            billed_ms: 2,
            memory: live.spec.memory,
            memory_peak: Mebibytes(31),
            scratch: live.spec.scratch,
            response_bytes: bytes as u64,
            status,
            error_kind: (status != RunStatus::Success).then(|| "Failed".to_owned()),
        }
    }

    /// Writes lines of output as a function does.
    ///
    /// # Panics
    /// The record is of no instance.
    pub fn print(&self, record: &RunRecord, lines: &[&str]) {
        let line = |text: &&str| LogLine {
            time: self.clock.now(),
            function: record.function,
            label: record.label.clone(),
            instance: record.instance.expect("the record has an instance"),
            invocation: Some(record.invocation),
            source: LogSource::Function,
            text: (*text).to_owned(),
            truncated: false,
        };
        self.logs.write(lines.iter().map(line).collect());
    }
}

#[async_trait]
impl Adapter for TestAdapter {
    fn provider(&self) -> &'static str {
        "test"
    }

    async fn deploy(&self, deploy: Deploy) -> Result<Deployed, AdapterError> {
        let invalid = |message: String| AdapterError::Invalid {
            message,
            hint: Some("a hint of the provider".to_owned()),
        };
        let name = FunctionName::parse(&deploy.name).map_err(|error| invalid(error.to_string()))?;
        if deploy.settings.memory.is_some_and(|memory| memory.0 < 128) {
            return Err(invalid("memory is below 128 MiB".to_owned()));
        }
        let held = self
            .catalog
            .store_artifact(deploy.archive, &ArchiveLimits::default())
            .await
            .map_err(|error| AdapterError::Platform(error.to_string()))?;
        let url = match deploy.url {
            None | Some(UrlAccess::Public | UrlAccess::Signed) => Some(format!("http://{name}.test.localhost/")),
            Some(UrlAccess::None) => None,
        };
        let old = self.catalog.find(&deploy.namespace, &name);
        let mut spec = old
            .as_ref()
            .map_or_else(first_spec, |entry| entry.latest().spec.clone());
        apply(&mut spec, deploy.settings);
        let document = Document(serde_json::json!({ "url": url }));
        let revision = NewRevision {
            label: LIVE.to_owned(),
            artifact: held.artifact().clone(),
            spec,
            document: Document::default(),
        };
        let entry = if old.is_none() {
            let tenant = TenantId::parse("test").expect("a tenant");
            let new = NewFunction {
                namespace: deploy.namespace,
                tenant,
                name,
                document,
                revision,
            };
            self.catalog.create::<AdapterError>(new).await.map_err(failed)?
        } else {
            let change = |edit: &mut sonagi_control::Edit| {
                let id = edit.add_revision(revision).id;
                edit.set_latest(id);
                Ok::<_, AdapterError>(())
            };
            self.catalog
                .edit(&deploy.namespace, &name, change)
                .await
                .map_err(failed)?
                .0
        };
        let view = Self::view(&entry);
        Ok(Deployed {
            namespace: view.namespace,
            name: view.name,
            revision: view.revision,
            digest: view.digest,
            size: view.size,
            created: old.is_none(),
            url: view.url,
        })
    }

    async fn configure(
        &self,
        namespace: &Namespace,
        name: &str,
        settings: Settings,
    ) -> Result<FunctionView, AdapterError> {
        let entry = self.entry(namespace, name)?;
        let change = |edit: &mut sonagi_control::Edit| {
            if let Some(reserved) = settings.reserved_concurrency {
                edit.function(|function| function.reserved_concurrency = reserved);
            }
            let old = Arc::clone(edit.entry().latest());
            let mut spec = old.spec.clone();
            apply(&mut spec, settings);
            let artifact = old.artifact.clone();
            let id = edit
                .add_revision(NewRevision {
                    label: LIVE.to_owned(),
                    artifact,
                    spec,
                    document: Document::default(),
                })
                .id;
            edit.set_latest(id);
            Ok::<_, AdapterError>(())
        };
        let (entry, ()) = self
            .catalog
            .edit(namespace, &entry.function.name, change)
            .await
            .map_err(failed)?;
        Ok(Self::view(&entry))
    }

    fn describe(&self, namespace: &Namespace, name: &str) -> Result<FunctionView, AdapterError> {
        self.entry(namespace, name).map(|entry| Self::view(&entry))
    }

    fn list(&self, namespace: &Namespace) -> Vec<FunctionView> {
        self.catalog
            .list(namespace, None, 1000)
            .iter()
            .map(|entry| Self::view(entry))
            .collect()
    }

    async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), AdapterError> {
        let entry = self.entry(namespace, name)?;
        self.catalog
            .delete::<AdapterError>(namespace, &entry.function.name)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn publish(&self, namespace: &Namespace, name: &str) -> Result<VersionView, AdapterError> {
        let entry = self.entry(namespace, name)?;
        let change = |edit: &mut sonagi_control::Edit| {
            let live = Arc::clone(edit.entry().latest());
            let label = edit
                .entry()
                .revisions
                .values()
                .filter(|revision| revision.label != LIVE)
                .count()
                + 1;
            edit.add_revision(NewRevision {
                label: label.to_string(),
                artifact: live.artifact.clone(),
                spec: live.spec.clone(),
                document: Document::default(),
            });
            Ok::<_, AdapterError>(label.to_string())
        };
        let (entry, label) = self
            .catalog
            .edit(namespace, &entry.function.name, change)
            .await
            .map_err(failed)?;
        let found = Self::view(&entry)
            .versions
            .into_iter()
            .find(|version| version.label == label);
        found.ok_or_else(|| AdapterError::Platform("the version vanished".to_owned()))
    }

    async fn put_alias(&self, namespace: &Namespace, name: &str, alias: AliasView) -> Result<AliasView, AdapterError> {
        let entry = self.entry(namespace, name)?;
        let version = |label: &str| {
            let found = entry.labelled(label).map(|revision| revision.id);
            found.ok_or_else(|| AdapterError::Missing(format!("version {label} does not exist")))
        };
        let primary = version(&alias.version)?;
        let route = match &alias.split {
            Some((label, share)) => {
                Route::split(primary, version(label)?, *share).map_err(|error| AdapterError::Invalid {
                    message: error.to_string(),
                    hint: None,
                })?
            }
            None => Route::to(primary),
        };
        let alias_name = AliasName::parse(&alias.name).map_err(|error| AdapterError::Invalid {
            message: error.to_string(),
            hint: None,
        })?;
        let change = |edit: &mut sonagi_control::Edit| Ok(edit.put_alias(alias_name, route, Document::default()));
        self.catalog
            .edit(namespace, &entry.function.name, change)
            .await
            .map_err(failed)?;
        Ok(alias)
    }

    async fn remove_alias(&self, namespace: &Namespace, name: &str, alias: &str) -> Result<(), AdapterError> {
        let entry = self.entry(namespace, name)?;
        let gone = || AdapterError::Missing(format!("alias {alias} does not exist"));
        let alias_name = AliasName::parse(alias).map_err(|_| gone())?;
        let change = |edit: &mut sonagi_control::Edit| edit.remove_alias(&alias_name).then_some(()).ok_or_else(gone);
        self.catalog
            .edit(namespace, &entry.function.name, change)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn roll_back(
        &self,
        namespace: &Namespace,
        name: &str,
        to: Option<&str>,
    ) -> Result<VersionView, AdapterError> {
        let entry = self.entry(namespace, name)?;
        let live = entry.latest().id;
        let target = match to {
            None => entry.revisions.keys().rev().find(|id| **id < live).copied(),
            Some(text) => text
                .parse()
                .ok()
                .or_else(|| entry.labelled(text).map(|revision| revision.id)),
        };
        let target = target.ok_or_else(|| AdapterError::Missing("there is no earlier revision".to_owned()))?;
        let change = |edit: &mut sonagi_control::Edit| {
            edit.set_latest(target);
            Ok::<_, AdapterError>(())
        };
        let (entry, ()) = self
            .catalog
            .edit(namespace, &entry.function.name, change)
            .await
            .map_err(failed)?;
        Ok(Self::view(&entry).versions.pop().expect("the live version is the last"))
    }

    async fn invoke(&self, call: NativeCall) -> Result<NativeAnswer, AdapterError> {
        let entry = self.entry(&call.namespace, &call.name)?;
        let failed = call.payload.windows(4).any(|part| part == b"fail");
        let status = if failed {
            RunStatus::FunctionError
        } else {
            RunStatus::Success
        };
        let record = self.record(&entry, status, call.payload.len());
        self.runs
            .append(&record)
            .map_err(|error| AdapterError::Platform(error.to_string()))?;
        self.print(&record, &["got an event", "done"]);
        Ok(NativeAnswer {
            invocation: record.invocation,
            body: if failed {
                r#"{"errorMessage":"it failed"}"#.into()
            } else {
                call.payload
            },
            failed,
            record,
            log_tail: b"got an event\ndone\n".to_vec(),
        })
    }

    async fn send(&self, call: NativeCall) -> Result<InvocationId, AdapterError> {
        let function = self.entry(&call.namespace, &call.name)?.function.id;
        let route = EventRoute::Function {
            contract: "test".to_owned(),
            function,
            qualifier: call.qualifier.clone(),
        };
        let answer = self.invoke(call.clone()).await?;
        let id = EventId::from_uuid(*answer.invocation.as_uuid());
        let event = NewEvent {
            id,
            ..NewEvent::new(route, call.namespace, call.name, call.payload)
        };
        let now = self.clock.now();
        let (event, token) = event.accepted(now);
        let broken = || AdapterError::Platform("the queue failed".to_owned());
        let accepted = self.events.accept(event, token, Lease::Taken).await;
        accepted.map_err(|_| broken())?;
        let status = if answer.failed {
            EventStatus::RetriesExhausted
        } else {
            EventStatus::Succeeded
        };
        let progress = Progress {
            started: 1,
            ..Progress::default()
        };
        let settlement = Settlement::new(status, now, progress);
        let settled = self.events.settle(id, settlement, None, Vec::new()).await;
        settled.map_err(|_| broken())?;
        Ok(answer.invocation)
    }

    fn accounts(&self) -> Vec<AccountView> {
        self.accounts.lock().clone()
    }

    async fn add_account(&self, id: Option<&str>) -> Result<AccountView, AdapterError> {
        let mut accounts = self.accounts.lock();
        let new = account(id.unwrap_or("madeup"));
        if accounts.iter().any(|known| known.id == new.id) {
            return Err(AdapterError::Conflict(format!("account {} exists already", new.id)));
        }
        accounts.push(new.clone());
        Ok(new)
    }

    async fn remove_account(&self, id: &str) -> Result<(), AdapterError> {
        let mut accounts = self.accounts.lock();
        let before = accounts.len();
        accounts.retain(|account| account.id != id);
        if accounts.len() == before {
            Err(AdapterError::Missing(format!("account {id} does not exist")))
        } else {
            Ok(())
        }
    }

    fn client_environment(&self, account: Option<&str>, endpoint: &str) -> Result<Vec<(String, String)>, AdapterError> {
        let accounts = self.accounts.lock();
        let found = accounts.iter().find(|known| account.is_none_or(|id| known.id == id));
        let found = found.ok_or_else(|| AdapterError::Missing("no such account".to_owned()))?;
        Ok(vec![
            ("TEST_KEY".to_owned(), found.key.clone()),
            ("TEST_SECRET".to_owned(), "it's $ecret".to_owned()),
            ("TEST_ENDPOINT".to_owned(), endpoint.to_owned()),
        ])
    }
}

#[async_trait]
impl EventDesk for TestAdapter {
    async fn cancel(&self, id: EventId) -> Result<Cancelled, StoreError> {
        self.events.cancel(id, self.clock.now()).await
    }

    async fn repeat(&self, id: EventId) -> Result<Option<EventId>, AcceptError> {
        let repeated = self.events.repeat(id, EventId::generate(), self.clock.now()).await?;
        Ok(repeated.map(|event| event.id))
    }
}
