//! Deploying a folder with a `func.yaml`: upload, app, function and triggers in one go, as `fn deploy` would.

use std::sync::Arc;

use serde_json::{Value, json};
use sonagi_model::Outside;
use sonagi_ports::{AdapterError, Deploy, Deployed, Settings};

use super::{APP, invalid, parts};
use crate::annotations::{annotated, check_config, configured};
use crate::api::{FnBody, TriggerBody, fresh_app};
use crate::assembly::FnProject;
use crate::errors::FnError;
use crate::estate::{CLOSED, Held, OUTSIDE};
use crate::records::{App, Recipe};
use crate::runtimes::{self, Asked};
use crate::source::Uploaded;
use crate::source::file::{AppFile, FuncFile};

/// MB of a Python function that says nothing. Source: fnproject/cli 0.6.63, `langs/python.go`.
const PYTHON_MEMORY: u64 = 256;

/// What settings in the platform's words change; over what a file says, if there is one.
pub(super) fn settings_of(settings: &Settings, file: Option<&FuncFile>) -> Result<FnBody, AdapterError> {
    if let Some(Some(_)) = settings.reserved_concurrency {
        let hint = "an account's limit is set for the whole platform";
        return Err(invalid("functions of Fn cannot reserve concurrency", hint));
    }
    if !settings.provisioned.is_empty() {
        let hint = "idle_timeout says how long a function's containers are kept";
        return Err(invalid("functions of Fn are not kept loaded", hint));
    }
    if settings.scratch.is_some() {
        return Err(invalid("the size of /tmp is the same for all functions of Fn", ""));
    }
    let mut config = file.map(|file| file.config.clone()).unwrap_or_default();
    config.extend(settings.set_environment.clone());
    config.extend(
        settings
            .unset_environment
            .iter()
            .map(|name| (name.clone(), String::new())),
    );
    let mut annotations = file.map(|file| file.annotations.clone()).unwrap_or_default();
    if let Some(description) = &settings.description {
        annotations.insert("description".to_owned(), json!(description));
    }
    match settings.outside {
        Some(Outside::Closed) => drop(annotations.insert(OUTSIDE.to_owned(), json!(CLOSED))),
        // Nothing in place of it removes it.
        Some(Outside::Open) => drop(annotations.insert(OUTSIDE.to_owned(), Value::Null)),
        None => {}
    }
    let narrow = |given: Option<i64>| given.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
    let timeout = settings.timeout.map(|time| time.as_millis().div_ceil(1000));
    Ok(FnBody {
        memory: settings
            .memory
            .map(|memory| u64::from(memory.0))
            .or_else(|| file.and_then(|file| file.memory)),
        timeout: timeout
            .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX))
            .or_else(|| narrow(file.and_then(|file| file.timeout))),
        idle_timeout: narrow(file.and_then(|file| file.idle_timeout)),
        config: Some(config),
        annotations: Some(annotations),
        ..FnBody::default()
    })
}

impl FnProject {
    pub(super) async fn make_live(&self, deploy: Deploy) -> Result<Deployed, AdapterError> {
        let account = self.account(&deploy.namespace)?;
        let (app, name) = parts(&deploy.name);
        let _turn = self.api.estate.turn(&account.name).await;
        let uploaded = self
            .api
            .sources
            .upload(&account.name, Some(name), deploy.archive)
            .await?;
        check_runtime(&deploy.settings, &uploaded.source.recipe)?;
        let mut body = settings_of(&deploy.settings, Some(&uploaded.file))?;
        body.image = Some(uploaded.source.image());
        let app = self.make_app(&account.name, app, uploaded.app.as_ref()).await?;
        let old = self.api.estate.function_named(&account.name, &app.name, name);
        let created = old.is_none();
        check_expected(&uploaded.file, &app, old.as_ref(), &body)?;
        let held = match old {
            Some(old) => self.api.change_fn(&account.name, &app, old, &body).await?,
            None => {
                body.name = Some(name.to_owned());
                if let Some(annotations) = &mut body.annotations {
                    annotations.retain(|_, value| !value.is_null());
                }
                if body.memory.is_none() && uploaded.source.recipe.runtime.starts_with("python") {
                    body.memory = Some(PYTHON_MEMORY);
                }
                self.api.make_fn(&account.name, &app.id, &body).await?
            }
        };
        self.make_triggers(&account.name, &app, &held, &uploaded).await?;
        let latest = held.entry.latest();
        Ok(Deployed {
            namespace: deploy.namespace,
            name: held.entry.function.name.to_string(),
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            created,
            url: self.url(&account, &held),
        })
    }

    /// The app of this name, or of the one that its file says: made if it is not there, with what the file says laid over
    /// it.
    async fn make_app(&self, account: &str, asked: Option<&str>, file: Option<&AppFile>) -> Result<Arc<App>, FnError> {
        let told = file.and_then(|file| file.name.as_deref());
        let name = asked.or(told).unwrap_or(APP);
        let old = self.api.estate.app_named(account, name);
        let mut app = match &old {
            Some(old) => App::clone(old),
            None => fresh_app(name, self.api.estate.now_ms())?,
        };
        // What a file says of another app is not meant for this one.
        if let Some(file) = file.filter(|_| told.is_none_or(|told| told == name)) {
            app.config = configured(&app.config, &file.config);
            check_config(&app.config)?;
            app.annotations = annotated(&app.annotations, &file.annotations)?;
            app.syslog_url = file.syslog_url.clone().or(app.syslog_url);
        }
        match old {
            Some(old) if *old == app => Ok(old),
            old => {
                app.updated = if old.is_some() {
                    self.api.estate.now_ms()
                } else {
                    app.updated
                };
                self.api.estate.put_app(account, app).await
            }
        }
    }

    async fn make_triggers(&self, account: &str, app: &App, held: &Held, uploaded: &Uploaded) -> Result<(), FnError> {
        for line in &uploaded.file.triggers {
            let body = TriggerBody {
                name: Some(line.name.clone()),
                app_id: Some(app.id.clone()),
                fn_id: Some(held.id()),
                kind: line.kind.clone(),
                source: Some(line.source.clone()),
                ..TriggerBody::default()
            };
            let all = self.api.estate.triggers_of(&app.id);
            match all.into_iter().find(|trigger| trigger.name == line.name) {
                Some(old) => self.api.change_trigger(account, old, &body).await?,
                None => self.api.make_trigger(account, &body).await?,
            };
        }
        Ok(())
    }
}

/// A runtime that is asked for must be the one of the file.
fn check_runtime(settings: &Settings, recipe: &Recipe) -> Result<(), AdapterError> {
    let Some(wanted) = &settings.runtime else { return Ok(()) };
    let native = runtimes::asked(wanted) == Some(Asked::Native) && recipe.runtime == runtimes::NATIVE;
    if native || recipe.runtime.starts_with(wanted.as_str()) {
        return Ok(());
    }
    Err(invalid(
        format!(
            "runtime {wanted:?} is not the {} that func.yaml asks for",
            recipe.runtime
        ),
        "change func.yaml",
    ))
}

/// What the file says it needs must be given by the file, the request, the function or its app.
fn check_expected(file: &FuncFile, app: &App, old: Option<&Held>, body: &FnBody) -> Result<(), AdapterError> {
    let given = |name: &str| {
        let here = body.config.as_ref().is_some_and(|config| config.contains_key(name));
        here || app.config.contains_key(name) || old.is_some_and(|old| old.record.config.contains_key(name))
    };
    let missing = file
        .expects
        .config
        .iter()
        .find(|wanted| wanted.required && !given(&wanted.name));
    match missing {
        None => Ok(()),
        Some(wanted) => Err(invalid(
            format!(
                "func.yaml expects the config key {:?}, which nothing gives",
                wanted.name
            ),
            "give it with --env NAME=VALUE, or in the config of the app or of func.yaml",
        )),
    }
}
