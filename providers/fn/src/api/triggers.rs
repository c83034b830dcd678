//! Triggers.
//! Source: fnproject/fn 0.3.753, `api/models/trigger.go`, `api/server/trigger_*.go`.

use std::sync::Arc;

use serde::Deserialize;

use super::page::page;
use super::{Answer, Api, Call, no_content, ok};
use crate::annotations::{Annotations, annotated, created};
use crate::errors::FnError;
use crate::ids;
use crate::names::{NAME_MAX, is_word};
use crate::records::{FORMAT, Trigger, without_endpoints};

/// The only type.
pub(crate) const HTTP: &str = "http";

/// A trigger as it is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TriggerBody {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) app_id: Option<String>,
    pub(crate) fn_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) annotations: Option<Annotations>,
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn check_name(name: &str) -> Result<(), FnError> {
    if name.len() > NAME_MAX {
        let text = format!("Trigger name must be {NAME_MAX} characters or less");
        return Err(FnError::bad(text));
    }
    if is_word(name) {
        Ok(())
    } else {
        Err(FnError::bad("Invalid name for Trigger"))
    }
}

fn check_source(source: &str) -> Result<(), FnError> {
    if source.starts_with('/') {
        Ok(())
    } else {
        Err(FnError::bad("Missing Trigger Source Prefix '/'"))
    }
}

impl Api {
    pub(super) fn list_triggers(&self, call: &Call) -> Answer {
        let app = call
            .text("app_id")
            .ok_or_else(|| FnError::bad("Missing App ID on Trigger"))?;
        let Ok(app) = self.estate.app(&call.account.name, app) else {
            return ok(&page(call, Vec::new())?);
        };
        let mut all = self.estate.triggers_of(&app.id);
        if let Some(function) = call.text("fn_id") {
            all.retain(|trigger| trigger.function == function);
        }
        if let Some(name) = call.text("name") {
            all.retain(|trigger| trigger.name == name);
        }
        let rows = all
            .iter()
            .map(|trigger| (trigger.name.clone(), trigger.shown(&app.name, &call.base)));
        ok(&page(call, rows.collect())?)
    }

    pub(super) async fn create_trigger(&self, call: &Call) -> Answer {
        let body: TriggerBody = call.document()?;
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let trigger = self.make_trigger(account, &body).await?;
        let app = self.estate.app(account, &trigger.app)?;
        ok(&trigger.shown(&app.name, &call.base))
    }

    /// Makes a trigger of what was sent. To be called with the account's turn.
    pub(crate) async fn make_trigger(&self, account: &str, body: &TriggerBody) -> Result<Arc<Trigger>, FnError> {
        if given(&body.id).is_some() {
            return Err(FnError::bad("Trigger ID cannot be supplied on create"));
        }
        let app = given(&body.app_id).ok_or_else(|| FnError::bad("Missing App ID on Trigger"))?;
        let name = given(&body.name).ok_or_else(|| FnError::bad("Missing name on Trigger"))?;
        check_name(name)?;
        let function = given(&body.fn_id).ok_or_else(|| FnError::bad("Missing Fn ID on Trigger"))?;
        if given(&body.kind) != Some(HTTP) {
            return Err(FnError::bad("Trigger Type Not Supported"));
        }
        let source = given(&body.source).ok_or_else(|| FnError::bad("Missing Trigger Source"))?;
        check_source(source)?;
        let annotations = created(&body.annotations.clone().map(without_endpoints).unwrap_or_default())?;
        let app = self.estate.app(account, app)?;
        let now = self.estate.now_ms();
        let trigger = Trigger {
            format: FORMAT,
            id: ids::generate(),
            name: name.to_owned(),
            app: app.id.clone(),
            function: function.to_owned(),
            source: source.to_owned(),
            annotations,
            created: now,
            updated: now,
        };
        self.check_place(account, &trigger)?;
        self.estate.put_trigger(trigger).await
    }

    /// Whether a trigger leads to a function of its own app, and has name and source for itself.
    fn check_place(&self, account: &str, trigger: &Trigger) -> Result<(), FnError> {
        let held = self.estate.function(account, &trigger.function)?;
        if held.record.app != trigger.app {
            return Err(FnError::bad("Invalid Fn ID - not owned by specified app"));
        }
        for other in self.estate.triggers_of(&trigger.app) {
            if other.id == trigger.id {
                continue;
            }
            if other.name == trigger.name {
                return Err(FnError::conflict("Trigger already exists"));
            }
            if other.source == trigger.source {
                return Err(FnError::conflict(
                    "Trigger with the same type and source exists on this app",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn get_trigger(&self, call: &Call, id: &str) -> Answer {
        let (app, trigger) = self.estate.trigger(&call.account.name, id)?;
        ok(&trigger.shown(&app.name, &call.base))
    }

    pub(super) async fn update_trigger(&self, call: &Call, id: &str) -> Answer {
        let body: TriggerBody = call.document()?;
        if given(&body.id).is_some_and(|own| own != id) {
            return Err(FnError::bad("ID in path does not match ID in body"));
        }
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let (app, trigger) = self.estate.trigger(account, id)?;
        let trigger = self.change_trigger(account, trigger, &body).await?;
        ok(&trigger.shown(&app.name, &call.base))
    }

    /// Lays what was sent over a trigger. To be called with the account's turn.
    pub(crate) async fn change_trigger(
        &self,
        account: &str,
        old: Arc<Trigger>,
        body: &TriggerBody,
    ) -> Result<Arc<Trigger>, FnError> {
        let mut trigger = Trigger::clone(&old);
        if given(&body.kind).is_some_and(|kind| kind != HTTP) {
            return Err(FnError::bad("Trigger Type Not Supported"));
        }
        if let Some(name) = given(&body.name) {
            check_name(name)?;
            name.clone_into(&mut trigger.name);
        }
        if let Some(source) = given(&body.source) {
            check_source(source)?;
            source.clone_into(&mut trigger.source);
        }
        if let Some(function) = given(&body.fn_id) {
            function.clone_into(&mut trigger.function);
        }
        if let Some(change) = &body.annotations {
            trigger.annotations = annotated(&old.annotations, &without_endpoints(change.clone()))?;
        }
        if trigger == *old {
            return Ok(old);
        }
        self.check_place(account, &trigger)?;
        trigger.updated = self.estate.now_ms();
        self.estate.put_trigger(trigger).await
    }

    pub(super) async fn delete_trigger(&self, call: &Call, id: &str) -> Answer {
        let account = &call.account.name;
        let _turn = self.estate.turn(account).await;
        let (_, trigger) = self.estate.trigger(account, id)?;
        self.estate.remove_trigger(&trigger).await?;
        no_content()
    }
}
