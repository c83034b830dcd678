//! The native API's side of OpenWhisk: the same actions, under its rules, in the platform's own words.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use sonagi_control::{Edit, EditError, FunctionEntry};
use sonagi_model::{FunctionName, InvocationId, Namespace, Outside, Revision, RevisionId};
use sonagi_ports::{
    AccountView, Adapter, AdapterError, AliasView, Deploy, DeployProject, Deployed, FunctionView, NativeAnswer,
    NativeCall, ProjectDeployed, Settings, UrlAccess, VersionView,
};

use crate::accounts::{Account, AddError};
use crate::assembly::Whisk;
use crate::code;
use crate::entities::action::FORMAT;
use crate::entities::{ActionRecord, Exec, Head, KeyValue, KeyValues, Limits, Version};
use crate::errors::WhiskError;
use crate::estate::{CLOSED, Callable, OUTSIDE};
use crate::invoke::{self, Activation, Caller, Order, arguments};
use crate::kinds;
use crate::names::{FullName, PROVIDER, core_namespace, is_name, own_namespace};
use crate::runtime::classify::Status;

impl From<WhiskError> for AdapterError {
    fn from(error: WhiskError) -> Self {
        let text = error.text;
        match error.status {
            StatusCode::NOT_FOUND => Self::Missing(text),
            StatusCode::CONFLICT => Self::Conflict(text),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Throttled(text),
            status if status.is_client_error() => Self::Invalid {
                message: text,
                hint: None,
            },
            _ => Self::Platform(text),
        }
    }
}

fn invalid(message: impl Into<String>, hint: &str) -> AdapterError {
    AdapterError::Invalid {
        message: message.into(),
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
    }
}

fn no_aliases() -> AdapterError {
    invalid(
        "actions have no aliases",
        "every update of an action is a version; `sonagi rollback` goes back to one",
    )
}

impl Whisk {
    /// An action by the native API's names.
    fn named(&self, namespace: &Namespace, name: &str) -> Result<(FullName, Arc<Account>), AdapterError> {
        let own = own_namespace(namespace).ok_or_else(|| {
            invalid(
                format!("{namespace} is not a namespace of {PROVIDER}"),
                "write it as openwhisk/NAMESPACE",
            )
        })?;
        let account = self
            .accounts
            .get(own)
            .ok_or_else(|| AdapterError::Missing(format!("namespace {own} does not exist")))?;
        let (package, action) = match name.split_once('/') {
            Some((package, action)) => (Some(package), action),
            None => (None, name),
        };
        if !is_name(action) || !package.is_none_or(is_name) {
            let message = format!("action name {name:?} must be letters, digits, '_', '@', '.', '&' and '-'");
            return Err(invalid(message, "a name in a package is written PACKAGE/ACTION"));
        }
        Ok((FullName::new(own, package, action), account))
    }

    /// The account whose namespace this is.
    pub(crate) fn account_of(&self, namespace: &Namespace) -> Result<Arc<Account>, AdapterError> {
        Ok(self.named(namespace, "x")?.1)
    }

    /// The URL of an action, if it has one; its name may have its package before it.
    pub(crate) fn url_of(&self, namespace: &str, name: &str) -> Option<String> {
        let (package, name) = match name.split_once('/') {
            Some((package, name)) => (Some(package), name),
            None => (None, name),
        };
        let (_, record) = self.estate.action(&FullName::new(namespace, package, name))?;
        self.url(&record)
    }

    fn entry(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<(Arc<FunctionEntry>, Arc<ActionRecord>), AdapterError> {
        let missing = || AdapterError::Missing(format!("action {name:?} does not exist in {namespace}"));
        let parsed = FunctionName::parse(name).map_err(|_| missing())?;
        let entry = self.estate.catalog.find(namespace, &parsed).ok_or_else(missing)?;
        let record = self.estate.record(&entry).ok_or_else(missing)?;
        Ok((entry, record))
    }

    fn view(&self, entry: &FunctionEntry, record: &ActionRecord) -> FunctionView {
        let latest = entry.latest();
        let variables = record.parameters.0.iter().filter(|parameter| parameter.init);
        FunctionView {
            namespace: entry.function.namespace.clone(),
            name: entry.function.name.to_string(),
            provider_name: format!("/{}", record.full_name()),
            contract: latest.spec.contract.clone(),
            runtime: record.exec.kind.clone(),
            handler: record.main().to_owned(),
            memory: latest.spec.memory,
            timeout_ms: record.limits.timeout_ms,
            scratch: latest.spec.scratch,
            outside: latest.spec.outside,
            environment: variables
                .map(|variable| {
                    let text = variable
                        .value
                        .as_str()
                        .map_or_else(|| variable.value.to_string(), str::to_owned);
                    (variable.key.clone(), text)
                })
                .collect(),
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            modified: time(record.head.updated),
            url: self.url(record),
            reserved_concurrency: None,
            provisioned: Vec::new(),
            versions: entry
                .revisions
                .values()
                .map(|revision| version_view(entry, revision))
                .collect(),
            aliases: Vec::new(),
        }
    }

    fn url(&self, record: &ActionRecord) -> Option<String> {
        (record.head.annotations.get("web-export") == Some(&Value::Bool(true))).then(|| {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            let part = |text: &str| if plain(text) { text.to_owned() } else { encode(text) };
            let package = record.package.as_deref().unwrap_or("default");
            format!(
                "http://{}/api/v1/web/{}/{}/{}",
                self.address,
                part(&record.head.namespace),
                part(package),
                part(&record.head.name)
            )
        })
    }

    /// The record of an action with settings in the platform's words over it.
    fn set(&self, record: &mut ActionRecord, settings: &Settings) -> Result<(), AdapterError> {
        if let Some(kind) = &settings.runtime {
            record.exec.kind = kinds::resolve(kind, self.invoker.contract.interpreters())?;
        }
        if let Some(main) = &settings.handler {
            record.exec.main = Some(main.clone());
        }
        let mut limits = serde_json::Map::new();
        if let Some(memory) = settings.memory {
            limits.insert("memory".to_owned(), json!(memory.0));
        }
        if let Some(timeout) = settings.timeout {
            limits.insert(
                "timeout".to_owned(),
                json!(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            );
        }
        record.limits = record.limits.with(&Value::Object(limits), &self.limits)?;
        for name in &settings.unset_environment {
            record.parameters.remove(name);
        }
        for (name, value) in &settings.set_environment {
            record.parameters.put(KeyValue {
                key: name.clone(),
                value: json!(value),
                init: true,
                encryption: None,
            });
        }
        if let Some(Some(_)) = settings.reserved_concurrency {
            let hint = "an account's limit is set for the whole platform";
            return Err(invalid("actions cannot reserve concurrency", hint));
        }
        if !settings.provisioned.is_empty() {
            let hint = "an action's first call starts its container";
            return Err(invalid("actions are not kept loaded", hint));
        }
        if let Some(description) = &settings.description {
            record.head.annotations.set("description", json!(description));
        }
        match settings.outside {
            Some(Outside::Closed) => record.head.annotations.set(OUTSIDE, json!(CLOSED)),
            Some(Outside::Open) => record.head.annotations.remove(OUTSIDE),
            None => {}
        }
        record.head.annotations.set("exec", json!(record.exec.kind));
        record.head.updated = self.estate.now_ms();
        Ok(())
    }

    fn fresh(&self, name: &FullName, settings: &Settings) -> Result<ActionRecord, AdapterError> {
        let kind = settings.runtime.as_deref().unwrap_or("nodejs:default");
        let mut annotations = KeyValues::default();
        annotations.set("provide-api-key", json!(false));
        Ok(ActionRecord {
            format: FORMAT,
            head: Head {
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                version: Version::default(),
                publish: false,
                updated: self.estate.now_ms(),
                annotations,
            },
            package: name.package.clone(),
            exec: Exec {
                kind: kinds::resolve(kind, self.invoker.contract.interpreters())?,
                main: None,
                image: None,
                components: Vec::new(),
                binary: true,
                form: crate::entities::Form::Archive,
            },
            parameters: KeyValues::default(),
            limits: Limits::standard(&self.limits),
        })
    }

    fn check_place(&self, name: &FullName) -> Result<(), AdapterError> {
        match &name.package {
            Some(package) => match self.estate.packages.get(&name.namespace, package) {
                Some(found) if found.binding.is_none() => Ok(()),
                Some(_) => Err(invalid(
                    format!("package {package} is a binding"),
                    "deploy into the package itself",
                )),
                None => Err(AdapterError::Missing(format!("package {package} does not exist"))),
            },
            None => match self.estate.taken(&name.namespace, &name.name) {
                None | Some(crate::estate::Collection::Actions) => Ok(()),
                Some(_) => Err(WhiskError::wrong_collection().into()),
            },
        }
    }

    fn order(&self, call: &NativeCall) -> Result<(Order, FullName), AdapterError> {
        let (_, account) = self.named(&call.namespace, "x")?;
        if call.qualifier.is_some() {
            return Err(no_aliases());
        }
        let (entry, record) = self.entry(&call.namespace, &call.name)?;
        let inherited = match &record.package {
            Some(package) => self.estate.used(&record.head.namespace, package)?.parameters,
            None => KeyValues::default(),
        };
        let payload = if call.payload.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&call.payload)
                .map_err(|error| invalid(format!("the event is not JSON: {error}"), "write an object"))?
        };
        if !payload.is_object() && !payload.is_array() {
            return Err(invalid(
                "the event must be a JSON object",
                "for instance '{\"name\": \"you\"}'",
            ));
        }
        if call.payload.len() > self.limits.payload {
            return Err(WhiskError::too_large("Request", call.payload.len(), self.limits.payload).into());
        }
        let name = record.full_name();
        let callable = Callable {
            parameters: inherited.under(&record.parameters),
            name: name.clone(),
            binding: None,
            entry,
            record,
        };
        Ok((
            Order {
                id: invoke::new_id(),
                caller: Caller {
                    namespace: account.namespace.clone(),
                    api_key: account.auth(),
                },
                arguments: arguments(&callable, payload)?,
                callable,
                cause: None,
                in_sequence: false,
                transaction: uuid::Uuid::new_v4().as_simple().to_string(),
                asked: self.estate.now_ms(),
            },
            name,
        ))
    }

    fn account_view(account: &Account) -> Option<AccountView> {
        Some(AccountView {
            id: account.namespace.clone(),
            key: account.uuid.clone(),
            namespace: core_namespace(&account.namespace)?,
        })
    }
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| time.to_string())
}

fn version_view(entry: &FunctionEntry, revision: &Revision) -> VersionView {
    VersionView {
        label: revision.label.clone(),
        revision: revision.id,
        digest: revision.artifact.digest,
        created: time(revision.created.as_millis()),
        live: entry.function.latest == revision.id,
    }
}

/// The revision to go back to: by version or id, or the one before the live one.
fn earlier(entry: &FunctionEntry, to: Option<&str>) -> Option<RevisionId> {
    match to {
        None => entry
            .revisions
            .range(..entry.function.latest)
            .next_back()
            .map(|(id, _)| *id),
        Some(text) => match text.parse::<RevisionId>() {
            Ok(id) => entry.revisions.contains_key(&id).then_some(id),
            Err(_) => entry.labelled(text).map(|revision| revision.id),
        },
    }
}

fn native_answer(activation: &Activation) -> Result<NativeAnswer, AdapterError> {
    let Some(run) = &activation.run else {
        let why = activation.verdict.result["error"].to_string();
        return Err(match activation.verdict.status {
            Status::InternalError => AdapterError::Throttled(why),
            Status::Success | Status::ApplicationError | Status::DeveloperError => AdapterError::Platform(why),
        });
    };
    let mut log_tail = Vec::new();
    for line in &activation.logs {
        // Time and stream come first, at a fixed width.
        log_tail.extend_from_slice(line.get(39..).unwrap_or(line).as_bytes());
        log_tail.push(b'\n');
    }
    Ok(NativeAnswer {
        invocation: activation.id,
        body: activation.verdict.result.to_string().into(),
        failed: activation.verdict.status != Status::Success,
        record: (**run).clone(),
        log_tail,
    })
}

#[async_trait]
impl Adapter for Whisk {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    fn nicknames(&self) -> &'static [&'static str] {
        &["ow", "whisk"]
    }

    async fn deploy(&self, deploy: Deploy) -> Result<Deployed, AdapterError> {
        let (name, _) = self.named(&deploy.namespace, &deploy.name)?;
        let _turn = self.estate.turn(&name.namespace).await;
        self.check_place(&name)?;
        let old = self.estate.action(&name);
        let mut record = match &old {
            Some((_, old)) => ActionRecord {
                head: Head {
                    version: old.head.version.next(),
                    ..old.head.clone()
                },
                exec: Exec {
                    form: crate::entities::Form::Archive,
                    binary: true,
                    ..old.exec.clone()
                },
                ..(**old).clone()
            },
            None => self.fresh(&name, &deploy.settings)?,
        };
        self.set(&mut record, &deploy.settings)?;
        let access = deploy.url.or_else(|| old.is_none().then_some(UrlAccess::Public));
        if let Some(access) = access {
            let annotations = &mut record.head.annotations;
            annotations.set("web-export", json!(access != UrlAccess::None));
            annotations.set("require-whisk-auth", json!(access == UrlAccess::Signed));
        }
        let packed = code::pack(Some(&STANDARD.encode(&deploy.archive)), self.limits.code * 4 / 3 + 4)?;
        self.estate.put_action(record, Some(packed)).await?;
        let (entry, record) = self.estate.action(&name).ok_or_else(WhiskError::missing)?;
        let latest = entry.latest();
        Ok(Deployed {
            namespace: deploy.namespace,
            name: entry.function.name.to_string(),
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            created: old.is_none(),
            url: self.url(&record),
        })
    }

    async fn deploy_project(&self, project: DeployProject) -> Result<ProjectDeployed, AdapterError> {
        self.make_project(project).await
    }

    async fn configure(
        &self,
        namespace: &Namespace,
        name: &str,
        settings: Settings,
    ) -> Result<FunctionView, AdapterError> {
        let (_, record) = self.entry(namespace, name)?;
        let full = record.full_name();
        let _turn = self.estate.turn(&full.namespace).await;
        let (_, record) = self.entry(namespace, name)?;
        let mut record = ActionRecord::clone(&record);
        self.set(&mut record, &settings)?;
        record.head.version = record.head.version.next();
        self.estate.put_action(record, None).await?;
        let (entry, record) = self.entry(namespace, name)?;
        Ok(self.view(&entry, &record))
    }

    fn describe(&self, namespace: &Namespace, name: &str) -> Result<FunctionView, AdapterError> {
        let (entry, record) = self.entry(namespace, name)?;
        Ok(self.view(&entry, &record))
    }

    fn list(&self, namespace: &Namespace) -> Vec<FunctionView> {
        if own_namespace(namespace).is_none() {
            return Vec::new();
        }
        let entries = self.estate.catalog.list(namespace, None, usize::MAX);
        let views = entries
            .iter()
            .filter_map(|entry| Some(self.view(entry, &*self.estate.record(entry)?)));
        views.collect()
    }

    async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), AdapterError> {
        let (_, record) = self.entry(namespace, name)?;
        let full = record.full_name();
        let _turn = self.estate.turn(&full.namespace).await;
        Ok(self.estate.remove_action(&full).await?)
    }

    /// Every change of an action is a version already.
    async fn publish(&self, namespace: &Namespace, name: &str) -> Result<VersionView, AdapterError> {
        let (entry, _) = self.entry(namespace, name)?;
        Ok(version_view(&entry, entry.latest()))
    }

    async fn put_alias(&self, namespace: &Namespace, name: &str, _alias: AliasView) -> Result<AliasView, AdapterError> {
        self.entry(namespace, name)?;
        Err(no_aliases())
    }

    async fn remove_alias(&self, namespace: &Namespace, name: &str, _alias: &str) -> Result<(), AdapterError> {
        self.entry(namespace, name)?;
        Err(no_aliases())
    }

    async fn roll_back(
        &self,
        namespace: &Namespace,
        name: &str,
        to: Option<&str>,
    ) -> Result<VersionView, AdapterError> {
        let (entry, record) = self.entry(namespace, name)?;
        let full = record.full_name();
        let _turn = self.estate.turn(&full.namespace).await;
        let missing = || {
            WhiskError::new(
                StatusCode::NOT_FOUND,
                format!("action {name} has no such earlier version"),
            )
        };
        let decide = |edit: &mut Edit| {
            let wanted = earlier(edit.entry(), to).ok_or_else(missing)?;
            edit.set_latest(wanted);
            Ok::<_, WhiskError>(())
        };
        let edited = self.estate.catalog.edit(namespace, &entry.function.name, decide).await;
        let (entry, ()) = edited.map_err(|error| match error {
            EditError::Refused(error) => error,
            EditError::Missing(..) | EditError::Exists(..) => WhiskError::missing(),
            EditError::Store(error) => error.into(),
        })?;
        Ok(version_view(&entry, entry.latest()))
    }

    async fn invoke(&self, call: NativeCall) -> Result<NativeAnswer, AdapterError> {
        let (order, _) = self.order(&call)?;
        let now = self.estate.clock.now();
        let running = self
            .invoker
            .throttle
            .invoke(&order.caller.namespace, now, &self.limits)?;
        let waited = Arc::clone(&self.invoker).wait_for(order, running, Duration::MAX).await;
        match waited {
            invoke::Waited::Over(activation) => native_answer(&activation),
            invoke::Waited::Running | invoke::Waited::Lost => Err(AdapterError::Platform(
                "the platform lost track of the activation".to_owned(),
            )),
        }
    }

    async fn send(&self, call: NativeCall) -> Result<InvocationId, AdapterError> {
        let (order, name) = self.order(&call)?;
        let now = self.estate.clock.now();
        let _running = self
            .invoker
            .throttle
            .invoke(&order.caller.namespace, now, &self.limits)?;
        self.invoker.accept(&order, &name).await?;
        Ok(order.id)
    }

    fn accounts(&self) -> Vec<AccountView> {
        self.accounts
            .all()
            .iter()
            .filter_map(|account| Self::account_view(account))
            .collect()
    }

    async fn add_account(&self, id: Option<&str>) -> Result<AccountView, AdapterError> {
        match self.accounts.add(id).await {
            Ok(account) => Self::account_view(&account)
                .ok_or_else(|| AdapterError::Platform("the namespace has no place in the core".to_owned())),
            Err(error @ AddError::Exists(_)) => Err(AdapterError::Conflict(error.to_string())),
            Err(error @ AddError::Name(_)) => Err(invalid(error.to_string(), "")),
            Err(AddError::Store(error)) => Err(WhiskError::from(error).into()),
        }
    }

    async fn remove_account(&self, id: &str) -> Result<(), AdapterError> {
        if self.accounts.first().is_some_and(|first| first.namespace == id) {
            return Err(AdapterError::Conflict(format!(
                "namespace {id} is the default one and stays"
            )));
        }
        let entities = self.estate.size(id);
        if entities > 0 {
            return Err(AdapterError::Conflict(format!(
                "namespace {id} has {entities} entities; remove them first"
            )));
        }
        if self.accounts.remove(id).await.map_err(WhiskError::from)? {
            Ok(())
        } else {
            Err(AdapterError::Missing(format!("namespace {id} does not exist")))
        }
    }

    /// What npm `openwhisk`, `wsk` (as its property file names them), the Adobe I/O command line and Serverless read.
    fn client_environment(&self, account: Option<&str>, endpoint: &str) -> Result<Vec<(String, String)>, AdapterError> {
        let found = match account {
            None => self.accounts.first(),
            Some(id) => self.accounts.get(id),
        };
        let found = found
            .ok_or_else(|| AdapterError::Missing(format!("namespace {} does not exist", account.unwrap_or("(any)"))))?;
        let (auth, namespace) = (found.auth(), found.namespace.as_str());
        let variables = [
            ("__OW_API_HOST", endpoint),
            ("__OW_API_KEY", &auth),
            ("__OW_NAMESPACE", namespace),
            ("APIHOST", endpoint),
            ("AUTH", &auth),
            ("NAMESPACE", namespace),
            ("APIVERSION", "v1"),
            ("OW_APIHOST", endpoint),
            ("OW_AUTH", &auth),
            ("OW_NAMESPACE", namespace),
            ("AIO_RUNTIME_APIHOST", endpoint),
            ("AIO_RUNTIME_AUTH", &auth),
            ("AIO_RUNTIME_NAMESPACE", namespace),
        ];
        Ok(variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec())
    }
}
