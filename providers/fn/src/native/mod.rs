//! The native API's side of Fn: the same functions, under its rules, in the platform's own words. A function is named
//! `APP/FUNCTION`; where no app is named, [`APP`] is meant.

mod deploy;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sonagi_control::{Edit, EditError, FunctionEntry};
use sonagi_dispatch::LogTail;
use sonagi_model::{FunctionName, InvocationId, Namespace, Outcome, RevisionId};
use sonagi_ports::{
    AccountView, Adapter, AdapterError, AliasView, Deploy, Deployed, FunctionView, NativeAnswer, NativeCall, Settings,
    VersionView,
};

use crate::accounts::{Account, AddError};
use crate::assembly::FnProject;
use crate::errors::FnError;
use crate::estate::Held;
use crate::invoke::Order;
use crate::names::{PROVIDER, account_of, core_namespace};
use crate::runtime::envelope;

/// The app of functions that name none.
const APP: &str = "default";
/// Bytes of a log that come back with an answer.
const LOG_TAIL: usize = 4096;

impl From<FnError> for AdapterError {
    fn from(error: FnError) -> Self {
        let text = error.message;
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
        "functions of Fn have no versions that clients can name, and no aliases",
        "every change is a revision; `sonagi rollback` goes back to one",
    )
}

/// App and function of a name.
fn parts(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((app, function)) => (Some(app), function),
        None => (None, name),
    }
}

impl FnProject {
    fn account(&self, namespace: &Namespace) -> Result<Arc<Account>, AdapterError> {
        let name = account_of(namespace).ok_or_else(|| {
            invalid(
                format!("{namespace} is not a namespace of {PROVIDER}"),
                "write it as fn/ACCOUNT",
            )
        })?;
        let found = self.api.accounts.get(name);
        found.ok_or_else(|| AdapterError::Missing(format!("account {name} does not exist")))
    }

    fn held(&self, namespace: &Namespace, name: &str) -> Result<Held, AdapterError> {
        let account = self.account(namespace)?;
        let (app, function) = parts(name);
        let by_parts = self
            .api
            .estate
            .function_named(&account.name, app.unwrap_or(APP), function);
        // The name in the core is what lists show; it differs where a name has other characters or is very long.
        let by_name = || {
            let entry = self
                .api
                .estate
                .catalog
                .find(namespace, &FunctionName::parse(name).ok()?)?;
            self.api.estate.held(entry)
        };
        by_parts
            .or_else(by_name)
            .ok_or_else(|| AdapterError::Missing(format!("function {name:?} does not exist in {namespace}")))
    }

    /// The same function, after its account's turn has come.
    fn again(&self, held: &Held) -> Result<Held, AdapterError> {
        let entry = self.api.estate.catalog.get(held.entry.function.id);
        let held = entry.and_then(|entry| self.api.estate.held(entry));
        held.ok_or_else(|| FnError::no_fn().into())
    }

    fn order(&self, call: NativeCall) -> Result<Order, AdapterError> {
        if call.qualifier.is_some() {
            return Err(no_aliases());
        }
        if call.payload.len() > self.api.limits.request {
            return Err(FnError::too_large().into());
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Order {
            held: self.held(&call.namespace, &call.name)?,
            invocation: InvocationId::generate(),
            payload: call.payload,
            headers,
            log_tail: LogTail::Bytes(LOG_TAIL),
        })
    }
}

/// The revision to go back to: by label or id, or the one before the live one.
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

fn account_view(account: &Account) -> Option<AccountView> {
    Some(AccountView {
        id: account.name.clone(),
        // A token is all that there is, and it is secret: its beginning tells tokens apart.
        key: account.token.chars().take(8).collect(),
        namespace: core_namespace(&account.name)?,
    })
}

#[async_trait]
impl Adapter for FnProject {
    fn provider(&self) -> &'static str {
        PROVIDER
    }

    fn nicknames(&self) -> &'static [&'static str] {
        &["fnproject", "oracle"]
    }

    async fn deploy(&self, deploy: Deploy) -> Result<Deployed, AdapterError> {
        self.make_live(deploy).await
    }

    async fn configure(
        &self,
        namespace: &Namespace,
        name: &str,
        settings: Settings,
    ) -> Result<FunctionView, AdapterError> {
        let account = self.account(namespace)?;
        let held = self.held(namespace, name)?;
        let _turn = self.api.estate.turn(&account.name).await;
        let held = self.again(&held)?;
        let app = self.api.estate.app(&account.name, &held.record.app)?;
        if settings.runtime.is_some() || settings.handler.is_some() {
            let hint = "they are what its func.yaml says: change that and deploy again";
            return Err(invalid("runtime and entry point are not changed by themselves", hint));
        }
        let body = deploy::settings_of(&settings, None)?;
        let held = self.api.change_fn(&account.name, &app, held, &body).await?;
        Ok(self.view(&account, &held))
    }

    fn describe(&self, namespace: &Namespace, name: &str) -> Result<FunctionView, AdapterError> {
        let account = self.account(namespace)?;
        Ok(self.view(&account, &self.held(namespace, name)?))
    }

    fn list(&self, namespace: &Namespace) -> Vec<FunctionView> {
        let Ok(account) = self.account(namespace) else {
            return Vec::new();
        };
        let held = self.api.estate.functions(&account.name);
        held.iter().map(|held| self.view(&account, held)).collect()
    }

    async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), AdapterError> {
        let account = self.account(namespace)?;
        let held = self.held(namespace, name)?;
        let _turn = self.api.estate.turn(&account.name).await;
        Ok(self.api.estate.remove_function(&held).await?)
    }

    /// Every change of a function is a revision already.
    async fn publish(&self, namespace: &Namespace, name: &str) -> Result<VersionView, AdapterError> {
        let held = self.held(namespace, name)?;
        Ok(views::version(&held.entry, held.entry.latest()))
    }

    async fn put_alias(&self, namespace: &Namespace, name: &str, _alias: AliasView) -> Result<AliasView, AdapterError> {
        self.held(namespace, name)?;
        Err(no_aliases())
    }

    async fn remove_alias(&self, namespace: &Namespace, name: &str, _alias: &str) -> Result<(), AdapterError> {
        self.held(namespace, name)?;
        Err(no_aliases())
    }

    async fn roll_back(
        &self,
        namespace: &Namespace,
        name: &str,
        to: Option<&str>,
    ) -> Result<VersionView, AdapterError> {
        let account = self.account(namespace)?;
        let held = self.held(namespace, name)?;
        let _turn = self.api.estate.turn(&account.name).await;
        let missing = || FnError::missing(format!("function {name} has no such earlier revision"));
        let decide = |edit: &mut Edit| {
            let wanted = earlier(edit.entry(), to).ok_or_else(missing)?;
            edit.set_latest(wanted);
            Ok(())
        };
        let function = &held.entry.function;
        let edited = self
            .api
            .estate
            .catalog
            .edit(&function.namespace, &function.name, decide)
            .await;
        let (entry, ()) = edited.map_err(|error: EditError<FnError>| FnError::from(error))?;
        Ok(views::version(&entry, entry.latest()))
    }

    async fn invoke(&self, call: NativeCall) -> Result<NativeAnswer, AdapterError> {
        let order = self.order(call)?;
        let invocation = order.invocation;
        let finished = self.invoker.run(order).await?;
        let failed = finished.outcome != Outcome::Success;
        let body = match FnError::of_outcome(&finished.outcome) {
            Some(error) => serde_json::json!({ "message": error.message }).to_string().into(),
            None => envelope::open(&finished.body).map(|(_, body)| body).unwrap_or_default(),
        };
        Ok(NativeAnswer {
            invocation,
            body,
            failed,
            record: (*finished.record).clone(),
            log_tail: finished.log_tail.unwrap_or_default(),
        })
    }

    async fn send(&self, call: NativeCall) -> Result<InvocationId, AdapterError> {
        let token = call.token.clone();
        let order = self.order(call)?;
        Ok(self.invoker.accept(order, token).await?)
    }

    fn accounts(&self) -> Vec<AccountView> {
        let mut all: Vec<AccountView> = self
            .api
            .accounts
            .all()
            .iter()
            .filter_map(|one| account_view(one))
            .collect();
        let first = self.api.accounts.first();
        all.sort_by_key(|view| first.as_ref().is_none_or(|first| first.name != view.id));
        all
    }

    async fn add_account(&self, id: Option<&str>) -> Result<AccountView, AdapterError> {
        match self.api.accounts.add(id).await {
            Ok(account) => account_view(&account)
                .ok_or_else(|| AdapterError::Platform("the account has no place in the core".to_owned())),
            Err(error @ AddError::Exists(_)) => Err(AdapterError::Conflict(error.to_string())),
            Err(error @ AddError::Name(_)) => Err(invalid(error.to_string(), "")),
            Err(AddError::Store(error)) => Err(FnError::from(error).into()),
        }
    }

    async fn remove_account(&self, id: &str) -> Result<(), AdapterError> {
        if self.api.accounts.first().is_some_and(|first| first.name == id) {
            return Err(AdapterError::Conflict(format!(
                "account {id} is the default one and stays"
            )));
        }
        let _turn = self.api.estate.turn(id).await;
        let apps = self.api.estate.size(id);
        if apps > 0 {
            return Err(AdapterError::Conflict(format!(
                "account {id} has {apps} apps; remove them first"
            )));
        }
        if self.api.accounts.remove(id).await.map_err(FnError::from)? {
            Ok(())
        } else {
            Err(AdapterError::Missing(format!("account {id} does not exist")))
        }
    }

    /// What the `fn` command line reads.
    fn client_environment(&self, account: Option<&str>, endpoint: &str) -> Result<Vec<(String, String)>, AdapterError> {
        let found = match account {
            None => self.api.accounts.first(),
            Some(id) => self.api.accounts.get(id),
        };
        let missing = || AdapterError::Missing(format!("account {} does not exist", account.unwrap_or("(any)")));
        let found = found.ok_or_else(missing)?;
        let variables = [
            ("FN_API_URL", endpoint),
            ("FN_TOKEN", &found.token),
            ("FN_REGISTRY", "sonagi.local"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(variables.into_iter().map(owned).collect())
    }
}
