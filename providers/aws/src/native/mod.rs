//! The native API's side of Lambda: the same functions, under Lambda's rules, in the platform's own words.

mod listen;
mod views;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use sonagi_control::{Edit, FunctionEntry};
use sonagi_dispatch::LogTail;
use sonagi_model::{AliasName, InvocationId, Namespace, Revision, RevisionId};
use sonagi_ports::{
    AccountView, Adapter, AdapterError, AliasView, Deploy, Deployed, FunctionView, Listen, ListenView, NativeAnswer,
    NativeCall, Settings, Token, UrlAccess, VersionView,
};

use crate::arn::{FunctionRef, LATEST, Named, Qualifier};
use crate::assembly::Aws;
use crate::auth::AddAccountError;
use crate::control::aliases::Target as AliasTarget;
use crate::control::concurrency::set_reservation;
use crate::control::functions::{Creation, Publish};
use crate::control::provisioned::check_route;
use crate::control::settings::Draft;
use crate::control::statement::public_url_statements;
use crate::control::versions::{Revise, alter_record, make_latest, publish, revise, touch};
use crate::errors::{Code, LambdaError};
use crate::invoke::{Prepared, Target, error_body};
use crate::json;
use crate::place::{AccountId, PROVIDER, Place};
use crate::records::{
    AliasRecord, FunctionRecord, RevisionRecord, UrlAuth, UrlMode, UrlRecord, is_published, read, write,
};
use crate::url::new_id;

use views::version_view;
use words::{input, named};

/// For how long a second sending with the same `Idempotency-Key` is the same event.
const TOKEN_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Bytes of a log's end that come back with an answer.
const LOG_TAIL: usize = 64 * 1024;

/// The role of functions that are deployed natively: Lambda wants one, nothing checks it here.
const ROLE_NAME: &str = "sonagi-native";

impl Aws {
    fn entry(&self, named: &Named) -> Result<Arc<FunctionEntry>, AdapterError> {
        let found = self.control.catalog.find(&named.place.namespace(), &named.name);
        found.ok_or_else(|| {
            AdapterError::Missing(format!(
                "function {} does not exist in {}",
                named.name,
                named.place.namespace()
            ))
        })
    }

    fn url_record(&self, access: UrlAccess) -> Option<UrlRecord> {
        let auth = match access {
            UrlAccess::None => return None,
            UrlAccess::Public => UrlAuth::None,
            UrlAccess::Signed => UrlAuth::Iam,
        };
        let now = self.control.clock.now();
        let id = new_id(&*self.control.entropy);
        Some(UrlRecord {
            id,
            auth,
            mode: UrlMode::Buffered,
            cors: None,
            created: now,
            modified: now,
        })
    }

    /// Gives a function the URL that was asked for. One that is there keeps its id.
    fn set_url(&self, record: &mut FunctionRecord, access: UrlAccess) {
        let Some(fresh) = self.url_record(access) else {
            record.urls.remove(LATEST);
            return;
        };
        match record.urls.get_mut(LATEST) {
            Some(url) if url.auth == fresh.auth => {}
            Some(url) => {
                url.auth = fresh.auth;
                url.modified = fresh.modified;
            }
            None => {
                record.urls.insert(LATEST.to_owned(), fresh);
            }
        }
        if access == UrlAccess::Public {
            let statements = record.policies.entry(LATEST.to_owned()).or_default();
            for statement in public_url_statements() {
                if !statements.iter().any(|other| other.sid == statement.sid) {
                    statements.push(statement);
                }
            }
        }
    }

    async fn create_natively(&self, named: &Named, deploy: &Deploy) -> Result<Arc<FunctionEntry>, AdapterError> {
        let role = format!("arn:aws:iam::{}:role/{ROLE_NAME}", named.place.account);
        let mut draft = Draft::new(role);
        draft.apply(&input(&deploy.settings, &BTreeMap::new()), &self.control.limits)?;
        draft.spec.outside = deploy.settings.outside.unwrap_or_default();
        let mut record = FunctionRecord::default();
        self.set_url(&mut record, deploy.url.unwrap_or(UrlAccess::Public));
        let creation = Creation {
            place: named.place.clone(),
            name: named.name.clone(),
            draft,
            archive: deploy.archive.clone(),
            layers: Vec::new(),
            record,
            reserved: deploy.settings.reserved_concurrency.flatten(),
            publish: Publish::No,
        };
        Ok(self.control.create(creation).await?.0)
    }

    async fn update_natively(&self, named: &Named, deploy: &Deploy) -> Result<Arc<FunctionEntry>, AdapterError> {
        if let Some(runtime) = &deploy.settings.runtime {
            self.control.check_runtime(runtime)?;
        }
        let held = self.control.store(&named.place, deploy.archive.clone()).await?;
        let _turn = self.turn(named, &deploy.settings).await?;
        let decide = |edit: &mut Edit| {
            self.set_concurrency(edit, named, &deploy.settings)?;
            let draft = self.redraft(edit, &deploy.settings)?;
            let artifact = Some(held.artifact().clone());
            revise(
                edit,
                Revise {
                    artifact,
                    beside: None,
                    draft,
                    history: self.control.limits.history,
                },
            )?;
            alter_record(edit, |record| {
                if let Some(access) = deploy.url {
                    self.set_url(record, access);
                }
                Ok(())
            })
        };
        let edited = self
            .control
            .catalog
            .edit(&named.place.namespace(), &named.name, decide)
            .await;
        let (entry, ()) = edited.map_err(LambdaError::from)?;
        self.control.routes.sync(&self.control.catalog, entry.function.id);
        self.reserved(&entry, &deploy.settings);
        Ok(entry)
    }

    /// The live configuration with these settings changed.
    fn redraft(&self, edit: &Edit, settings: &Settings) -> Result<Draft, LambdaError> {
        let latest = edit.entry().latest();
        let record: RevisionRecord = read(&latest.document)?;
        let mut draft = Draft {
            spec: latest.spec.clone(),
            settings: record.settings,
        };
        draft.apply(&input(settings, &latest.spec.environment), &self.control.limits)?;
        draft.spec.outside = settings.outside.unwrap_or(draft.spec.outside);
        Ok(draft)
    }

    /// The right to change the reservation, if these settings do.
    async fn turn(
        &self,
        named: &Named,
        settings: &Settings,
    ) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, AdapterError> {
        match settings.reserved_concurrency {
            Some(reserved) => Ok(Some(self.control.may_reserve(named, reserved).await?)),
            None if settings.provisioned.is_empty() => Ok(None),
            None => Ok(Some(self.control.reservations.lock().await)),
        }
    }

    /// Takes up what is to be reserved and kept loaded.
    fn set_concurrency(&self, edit: &mut Edit, named: &Named, settings: &Settings) -> Result<(), LambdaError> {
        if let Some(reserved) = settings.reserved_concurrency {
            set_reservation(edit, reserved);
        }
        for (qualifier, count) in &settings.provisioned {
            let text = format!("{}:{qualifier}", named.name);
            let qualified = FunctionRef::parse(&text)?.resolve(&named.place, None)?;
            self.control.set_provisioned(edit, &qualified, *count)?;
        }
        Ok(())
    }

    /// Tells the engine about a reservation that these settings changed.
    fn reserved(&self, entry: &FunctionEntry, settings: &Settings) {
        if settings.reserved_concurrency.is_some() {
            self.control.runner.reserve(&entry.function);
        }
        if !settings.provisioned.is_empty() {
            self.control.apply_floors(entry.function.id);
        }
    }

    fn prepare(&self, call: &NativeCall) -> Result<Prepared, AdapterError> {
        let text = match &call.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", call.name),
            None => call.name.clone(),
        };
        let place = named(&call.namespace, &call.name)?.place;
        let wanted = FunctionRef::parse(&text)?.resolve(&place, None)?;
        let entry = self.entry(&wanted)?;
        let revision = self.invoker.pick(&entry, wanted.qualifier.as_ref()).ok_or_else(|| {
            let qualifier = call.qualifier.as_deref().unwrap_or_default();
            AdapterError::Missing(format!("function {} has no version or alias {qualifier}", call.name))
        })?;
        let payload = if call.payload.is_empty() {
            bytes::Bytes::from_static(b"{}")
        } else {
            call.payload.clone()
        };
        json::check(&payload).map_err(|problem| AdapterError::Invalid {
            message: format!("the event is not JSON: {problem}"),
            hint: Some("write a text in double quotes".to_owned()),
        })?;
        let limit = self.invoker.limits.payload;
        if payload.len() > limit {
            let message = format!("the event has {} bytes, more than {limit}", payload.len());
            return Err(AdapterError::Invalid { message, hint: None });
        }
        let target = Target {
            entry,
            revision,
            arn: wanted.qualified_arn(),
            qualifier: wanted.qualifier,
        };
        let mut prepared = self
            .invoker
            .assemble(target, &HeaderMap::new(), LogTail::Bytes(LOG_TAIL));
        prepared.payload = payload;
        Ok(prepared)
    }
}

/// The revision to go back to: by label or id, or the `$LATEST` before the live one.
fn earlier(entry: &FunctionEntry, to: Option<&str>) -> Result<Arc<Revision>, LambdaError> {
    let missing = |what: String| LambdaError::new(Code::ResourceNotFound, what);
    let Some(to) = to else {
        let live = entry.function.latest;
        let before = entry.revisions.range(..live).rev().map(|(_, revision)| revision);
        let found = before.into_iter().find(|revision| !is_published(revision)).cloned();
        return found.ok_or_else(|| {
            missing(format!(
                "function {} has no revision before the live one",
                entry.function.name
            ))
        });
    };
    let found = match to.parse::<RevisionId>() {
        Ok(id) => entry.revisions.get(&id),
        Err(_) => entry.labelled(to),
    };
    found.cloned().ok_or_else(|| {
        missing(format!(
            "function {} has no version or revision {to}",
            entry.function.name
        ))
    })
}

#[async_trait]
impl Adapter for Aws {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    async fn deploy(&self, deploy: Deploy) -> Result<Deployed, AdapterError> {
        let named = named(&deploy.namespace, &deploy.name)?;
        if self.accounts.get(&named.place.account).is_none() {
            return Err(AdapterError::Missing(format!(
                "account {} does not exist",
                named.place.account
            )));
        }
        let created = self.control.catalog.find(&deploy.namespace, &named.name).is_none();
        let entry = if created {
            Box::pin(self.create_natively(&named, &deploy)).await?
        } else {
            Box::pin(self.update_natively(&named, &deploy)).await?
        };
        let latest = entry.latest();
        Ok(Deployed {
            namespace: deploy.namespace,
            name: deploy.name,
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            created,
            url: self.url_of(&entry, &named.place),
        })
    }

    async fn configure(
        &self,
        namespace: &Namespace,
        name: &str,
        settings: Settings,
    ) -> Result<FunctionView, AdapterError> {
        let named = named(namespace, name)?;
        if let Some(runtime) = &settings.runtime {
            self.control.check_runtime(runtime)?;
        }
        self.entry(&named)?;
        let _turn = self.turn(&named, &settings).await?;
        let decide = |edit: &mut Edit| {
            self.set_concurrency(edit, &named, &settings)?;
            let draft = self.redraft(edit, &settings)?;
            revise(
                edit,
                Revise {
                    artifact: None,
                    beside: None,
                    draft,
                    history: self.control.limits.history,
                },
            )
        };
        let edited = self.control.catalog.edit(namespace, &named.name, decide).await;
        let (entry, _) = edited.map_err(LambdaError::from)?;
        self.reserved(&entry, &settings);
        Ok(self.view(&entry, &named.place))
    }

    fn describe(&self, namespace: &Namespace, name: &str) -> Result<FunctionView, AdapterError> {
        let named = named(namespace, name)?;
        Ok(self.view(&*self.entry(&named)?, &named.place))
    }

    fn list(&self, namespace: &Namespace) -> Vec<FunctionView> {
        let Some(place) = Place::of(namespace) else {
            return Vec::new();
        };
        let entries = self.control.catalog.list(namespace, None, usize::MAX);
        entries.iter().map(|entry| self.view(entry, &place)).collect()
    }

    async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), AdapterError> {
        let named = named(namespace, name)?;
        self.entry(&named)?;
        Ok(self.control.delete(&named).await?)
    }

    async fn publish(&self, namespace: &Namespace, name: &str) -> Result<VersionView, AdapterError> {
        let named = named(namespace, name)?;
        self.entry(&named)?;
        let edited = self
            .control
            .catalog
            .edit(namespace, &named.name, |edit: &mut Edit| publish(edit, None))
            .await;
        let (entry, revision) = edited.map_err(LambdaError::from)?;
        Ok(version_view(&entry, &revision))
    }

    async fn put_alias(&self, namespace: &Namespace, name: &str, alias: AliasView) -> Result<AliasView, AdapterError> {
        let named = named(namespace, name)?;
        self.entry(&named)?;
        let wanted = match Qualifier::parse(&alias.name) {
            Some(Qualifier::Alias(name)) => name,
            Some(Qualifier::Latest | Qualifier::Version(_)) | None => {
                let message = format!(
                    "alias name {:?} must be letters, digits, '-' or '_', and not all digits",
                    alias.name
                );
                return Err(AdapterError::Invalid { message, hint: None });
            }
        };
        let target = AliasTarget {
            primary: alias.version.clone(),
            secondary: alias.split.clone(),
        };
        let decide = |edit: &mut Edit| {
            let route = target.route(edit.entry(), &named)?;
            check_route(edit, &wanted, &route)?;
            let old = edit
                .entry()
                .aliases
                .get(&wanted)
                .map(|alias| read::<AliasRecord>(&alias.document))
                .transpose()?;
            let record = AliasRecord::new(old.map(|record| record.description).unwrap_or_default());
            edit.put_alias(wanted.clone(), route, write(&record));
            Ok(())
        };
        let edited = self.control.catalog.edit(namespace, &named.name, decide).await;
        edited.map_err(LambdaError::from)?;
        Ok(alias)
    }

    async fn remove_alias(&self, namespace: &Namespace, name: &str, alias: &str) -> Result<(), AdapterError> {
        let named = named(namespace, name)?;
        self.entry(&named)?;
        let missing = || AdapterError::Missing(format!("function {name} has no alias {alias}"));
        let wanted = AliasName::parse(alias).map_err(|_| missing())?;
        if self.control.remove_alias(&named, &wanted).await? {
            Ok(())
        } else {
            Err(missing())
        }
    }

    async fn roll_back(
        &self,
        namespace: &Namespace,
        name: &str,
        to: Option<&str>,
    ) -> Result<VersionView, AdapterError> {
        let named = named(namespace, name)?;
        self.entry(&named)?;
        let decide = |edit: &mut Edit| {
            let wanted = earlier(edit.entry(), to)?;
            if is_published(&wanted) {
                // A version runs under its own label, so what goes live is a copy of it.
                let record: RevisionRecord = read(&wanted.document)?;
                let draft = Draft {
                    spec: wanted.spec.clone(),
                    settings: record.settings,
                };
                let artifact = Some(wanted.artifact.clone());
                return revise(
                    edit,
                    Revise {
                        artifact,
                        beside: Some(wanted.beside.clone()),
                        draft,
                        history: self.control.limits.history,
                    },
                );
            }
            make_latest(edit, wanted.id);
            touch(edit, wanted.id)?;
            Ok(Arc::clone(edit.entry().latest()))
        };
        let edited = self.control.catalog.edit(namespace, &named.name, decide).await;
        let (entry, revision) = edited.map_err(LambdaError::from)?;
        Ok(version_view(&entry, &revision))
    }

    async fn invoke(&self, call: NativeCall) -> Result<NativeAnswer, AdapterError> {
        let prepared = self.prepare(&call)?;
        let collected = self.invoker.run_whole(&prepared).await?;
        let finished = collected.finished;
        let error = error_body(
            &finished.outcome,
            prepared.invocation,
            prepared.target.revision.spec.timeout,
        );
        Ok(NativeAnswer {
            invocation: prepared.invocation,
            failed: error.is_some(),
            body: error.unwrap_or(collected.body),
            record: (*finished.record).clone(),
            log_tail: finished.log_tail.unwrap_or_default(),
        })
    }

    async fn send(&self, call: NativeCall) -> Result<InvocationId, AdapterError> {
        let prepared = self.prepare(&call)?;
        let limit = self.invoker.limits.async_payload;
        if prepared.payload.len() > limit {
            let message = format!("the event has {} bytes, more than {limit}", prepared.payload.len());
            return Err(AdapterError::Invalid { message, hint: None });
        }
        let token = call.token.map(|text| Token {
            scope: format!("{} {}", call.namespace, prepared.target.entry.function.id),
            text,
            window: TOKEN_WINDOW,
        });
        Ok(self.invoker.accept(&prepared, token).await?.invocation())
    }

    async fn listen(&self, listen: Listen) -> Result<ListenView, AdapterError> {
        Box::pin(self.listen_natively(listen)).await
    }

    async fn listening(&self, namespace: &Namespace) -> Result<Vec<ListenView>, AdapterError> {
        self.listening_natively(namespace).await
    }

    async fn unlisten(&self, namespace: &Namespace, name: &str) -> Result<bool, AdapterError> {
        self.unlisten_natively(namespace, name).await
    }

    fn accounts(&self) -> Vec<AccountView> {
        self.accounts
            .all()
            .iter()
            .map(|account| self.account_view(account))
            .collect()
    }

    async fn add_account(&self, id: Option<&str>) -> Result<AccountView, AdapterError> {
        let id = match id {
            None => self.accounts.free_id(),
            Some(text) => AccountId::parse(text).map_err(|error| AdapterError::Invalid {
                message: error.to_string(),
                hint: None,
            })?,
        };
        match self.accounts.add(id).await {
            Ok(account) => Ok(self.account_view(&account)),
            Err(AddAccountError::Exists(id)) => Err(AdapterError::Conflict(format!("account {id} exists already"))),
            Err(AddAccountError::Store(error)) => Err(LambdaError::from(error).into()),
        }
    }

    async fn remove_account(&self, id: &str) -> Result<(), AdapterError> {
        let missing = || AdapterError::Missing(format!("account {id} does not exist"));
        let account = AccountId::parse(id).map_err(|_| missing())?;
        if account == self.default.account {
            return Err(AdapterError::Conflict(format!(
                "account {id} is the default one and stays"
            )));
        }
        let functions = self.control.of_account(&account).len();
        if functions > 0 {
            return Err(AdapterError::Conflict(format!(
                "account {id} has {functions} functions; remove them first"
            )));
        }
        if self.accounts.remove(&account).await.map_err(LambdaError::from)? {
            Ok(())
        } else {
            Err(missing())
        }
    }

    /// What boto3, the AWS CLI and the SDKs for JavaScript and Rust read.
    fn client_environment(&self, account: Option<&str>, endpoint: &str) -> Result<Vec<(String, String)>, AdapterError> {
        let wanted = match account {
            None => self.accounts.all().into_iter().next(),
            Some(id) => AccountId::parse(id).ok().and_then(|id| self.accounts.get(&id)),
        };
        let found = wanted
            .ok_or_else(|| AdapterError::Missing(format!("account {} does not exist", account.unwrap_or("(any)"))))?;
        let region = self.default.region.as_str();
        let variables = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", found.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", found.secret.as_str()),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_REGION", region),
            // Without this, clients look for credentials on an address of the cloud when something else is missing.
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        Ok(variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec())
    }
}
