//! `triggers`: create, read, change, delete, fire.
//! Source: apache/openwhisk (commit 1fae641), `Triggers.scala`.

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use sonagi_model::InvocationId;

use super::{Answer, Api, Call, document, flag, ok, own_only, version, with_activation};
use crate::entities::{Head, KeyValues, RuleStatus, Trigger, TriggerRule};
use crate::errors::WhiskError;
use crate::estate::Collection;
use crate::invoke::{self, Activation, Caller, Invoker, Order, id_text};
use crate::names::{FullName, check, is_name};
use crate::runtime::classify::{Status, Verdict};
use crate::throttle::Rated;

impl Api {
    pub(super) async fn triggers(&self, call: &Call, namespace: &str, rest: &[&str]) -> Answer {
        let name = match rest {
            [] if call.method == Method::GET => {
                own_only(call, namespace, "")?;
                let triggers = self.estate.triggers.of(namespace);
                let rows = triggers.iter().map(|trigger| (trigger.head.updated, trigger.listed()));
                return self.listed(call, "triggers", rows.collect());
            }
            [] => return Err(WhiskError::method("GET")),
            [name] => *name,
            _ => {
                return Err(WhiskError::new(
                    StatusCode::NOT_FOUND,
                    "The requested resource could not be found.",
                ));
            }
        };
        check(name)?;
        own_only(call, namespace, name)?;
        match call.method {
            Method::GET => {
                let found = self.estate.triggers.get(namespace, name);
                ok(&found.ok_or_else(|| self.estate.absent(namespace, name))?.shown())
            }
            Method::PUT => self.put_trigger(call, namespace, name).await,
            Method::DELETE => self.delete_trigger(namespace, name).await,
            Method::POST => self.fire_trigger(call, namespace, name).await,
            _ => Err(WhiskError::method("GET, PUT, DELETE, POST")),
        }
    }

    async fn put_trigger(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let overwrite = call.query.flag("overwrite", false)?;
        let body = call.document()?;
        let _turn = self.estate.turn(namespace).await;
        if let Some(Collection::Actions | Collection::Packages | Collection::Rules) = self.estate.taken(namespace, name)
        {
            return Err(WhiskError::wrong_collection());
        }
        let old = self.estate.triggers.get(namespace, name);
        if old.is_some() && !overwrite {
            return Err(WhiskError::conflict("resource already exists"));
        }
        let old = old.as_deref();
        let parameters = KeyValues::member(&body, "parameters", self.limits.payload)?;
        let annotations = KeyValues::member(&body, "annotations", self.limits.payload)?;
        if let Some(feed) = annotations.as_ref().and_then(|given| given.get("feed")) {
            let valid = feed.as_str().is_some_and(|path| is_path(path, namespace));
            if !valid {
                return Err(WhiskError::bad("Feed name is not valid"));
            }
        }
        let trigger = Trigger {
            head: Head {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version: version(&body, old.map(|old| old.head.version))?,
                publish: flag(&body, "publish")?.unwrap_or_else(|| old.is_some_and(|old| old.head.publish)),
                updated: self.estate.now_ms(),
                annotations: annotations
                    .or_else(|| old.map(|old| old.head.annotations.clone()))
                    .unwrap_or_default(),
            },
            parameters: parameters
                .or_else(|| old.map(|old| old.parameters.clone()))
                .unwrap_or_default(),
            rules: old.map(|old| old.rules.clone()).unwrap_or_default(),
        };
        let stored = self.estate.triggers.put(namespace, name, trigger).await?;
        ok(&stored.shown())
    }

    async fn delete_trigger(&self, namespace: &str, name: &str) -> Answer {
        let _turn = self.estate.turn(namespace).await;
        let found = self.estate.triggers.get(namespace, name);
        let found = found.ok_or_else(|| self.estate.absent(namespace, name))?;
        self.estate.triggers.remove(namespace, name).await?;
        self.alarms.forget(namespace, name).await?;
        ok(&found.shown())
    }

    async fn fire_trigger(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let payload = call.document()?;
        let allowed = self.limits.fires_per_minute;
        self.invoker
            .throttle
            .rate(Rated::Fires, namespace, self.estate.clock.now(), allowed)?;
        let trigger = self.estate.triggers.get(namespace, name);
        let trigger = trigger.ok_or_else(|| self.estate.absent(namespace, name))?;
        let fired = fire(
            &self.invoker,
            &call.caller(),
            &trigger,
            Firing {
                payload,
                headers: Some(&call.headers),
                transaction: &call.transaction,
            },
        )
        .await;
        let Some(id) = fired else {
            let mut response = Response::new(sonagi_wire::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(response);
        };
        let id = id_text(id);
        Ok(with_activation(
            document(StatusCode::ACCEPTED, &json!({ "activationId": id })),
            &id,
        ))
    }
}

/// Whether a text is the path of a feed: a name, with a package or a namespace before it or not.
fn is_path(text: &str, own: &str) -> bool {
    let parts: Vec<&str> = text.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        [name] => !text.starts_with('/') && is_name(name),
        [package, name] if !text.starts_with('/') => is_name(package) && is_name(name),
        _ => FullName::parse(text, own).is_some(),
    }
}

/// What a trigger is fired with.
pub(crate) struct Firing<'a> {
    pub(crate) payload: Map<String, Value>,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) transaction: &'a str,
}

/// Fires a trigger: each active rule's action runs later. `None`: no rule is active, and nothing is recorded.
pub(crate) async fn fire(
    invoker: &Invoker,
    caller: &Caller,
    trigger: &Trigger,
    firing: Firing<'_>,
) -> Option<InvocationId> {
    if !trigger.rules.values().any(|rule| rule.status == RuleStatus::Active) {
        return None;
    }
    let id = invoke::new_id();
    let mut arguments = Map::new();
    for entry in &trigger.parameters.0 {
        arguments.insert(entry.key.clone(), entry.value.clone());
    }
    if let Some(headers) = firing.headers {
        arguments.insert("__ow_headers".to_owned(), crate::web::headers_of(headers));
    }
    arguments.extend(firing.payload.clone());
    let mut logs = Vec::new();
    for (name, rule) in &trigger.rules {
        let line = pass_on(invoker, caller, rule, name, &arguments, firing.transaction).await;
        logs.push(line.to_string());
    }
    let activation = Activation {
        id,
        namespace: trigger.head.namespace.clone(),
        name: trigger.head.name.clone(),
        label: trigger.head.name.clone(),
        version: trigger.head.version,
        cause: None,
        start: invoker.now(),
        end: None,
        duration: 0,
        verdict: Verdict {
            status: Status::Success,
            result: Value::Object(firing.payload),
        },
        logs,
        annotations: Vec::new(),
        run: None,
        memory_mb: 0,
    };
    invoker.file(&activation);
    Some(id)
}

/// Has one rule's action run later; the line that the trigger's record has of it.
async fn pass_on(
    invoker: &Invoker,
    caller: &Caller,
    rule: &TriggerRule,
    name: &str,
    arguments: &Map<String, Value>,
    transaction: &str,
) -> Value {
    let told = |code: u8, success: bool, rest: (&str, String)| {
        json!({
            "statusCode": code, "success": success, rest.0: rest.1,
            "rule": name, "action": rule.action.to_string(),
        })
    };
    if rule.status == RuleStatus::Inactive {
        let text = format!("Rule '{name}' is inactive, action '{}' was not activated.", rule.action);
        return told(1, false, ("error", text));
    }
    let callable = match invoker.resolve(caller, &rule.action) {
        Ok(callable) => callable,
        Err(error) => return told(1, false, ("error", error.text)),
    };
    let arguments = invoke::given(&callable, Value::Object(arguments.clone()));
    let order = Order {
        id: invoke::new_id(),
        caller: caller.clone(),
        callable,
        arguments,
        cause: None,
        in_sequence: false,
        transaction: transaction.to_owned(),
        asked: invoker.now(),
    };
    match invoker.accept(&order, &rule.action).await {
        Ok(()) => told(0, true, ("activationId", id_text(order.id))),
        Err(error) => told(3, false, ("error", error.text)),
    }
}
