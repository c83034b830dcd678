//! `rules`: from a trigger to an action.
//! Source: apache/openwhisk (commit 1fae641), `Rules.scala`.

use http::{Method, Response, StatusCode};
use serde_json::{Map, Value};

use super::{Answer, Api, Call, flag, ok, own_only, version};
use crate::entities::{Head, KeyValues, Rule, RuleStatus, Trigger, TriggerRule};
use crate::errors::WhiskError;
use crate::estate::Collection;
use crate::names::{FullName, check};

impl Api {
    pub(super) async fn rules(&self, call: &Call, namespace: &str, rest: &[&str]) -> Answer {
        let name = match rest {
            [] if call.method == Method::GET => {
                own_only(call, namespace, "")?;
                let rules = self.estate.rules.of(namespace);
                let rows = rules.iter().map(|rule| (rule.head.updated, rule.shown(None)));
                return self.listed(call, "rules", rows.collect());
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
                let rule = self.rule(namespace, name)?;
                ok(&rule.shown(Some(self.status_of(&rule))))
            }
            Method::PUT => self.put_rule(call, namespace, name).await,
            Method::DELETE => self.delete_rule(namespace, name).await,
            Method::POST => self.set_rule(call, namespace, name).await,
            _ => Err(WhiskError::method("GET, PUT, DELETE, POST")),
        }
    }

    fn rule(&self, namespace: &str, name: &str) -> Result<std::sync::Arc<Rule>, WhiskError> {
        let found = self.estate.rules.get(namespace, name);
        found.ok_or_else(|| self.estate.absent(namespace, name))
    }

    fn key(rule: &Rule) -> String {
        format!("{}/{}", rule.head.namespace, rule.head.name)
    }

    /// The status lives with the trigger: without it, there is none.
    fn status_of(&self, rule: &Rule) -> RuleStatus {
        let trigger = self.estate.triggers.get(&rule.trigger.namespace, &rule.trigger.name);
        let known = trigger.and_then(|trigger| trigger.rules.get(&Self::key(rule)).cloned());
        known.map_or(RuleStatus::Inactive, |rule| rule.status)
    }

    async fn put_rule(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let overwrite = call.query.flag("overwrite", false)?;
        let body = call.description()?;
        let _turn = self.estate.turn(namespace).await;
        if let Some(Collection::Actions | Collection::Packages | Collection::Triggers) =
            self.estate.taken(namespace, name)
        {
            return Err(WhiskError::wrong_collection());
        }
        let old = self.estate.rules.get(namespace, name);
        if old.is_some() && !overwrite {
            return Err(WhiskError::conflict("resource already exists"));
        }
        let old = old.as_deref();
        let status = old.map_or(RuleStatus::Active, |old| self.status_of(old));
        let trigger = end(&body, "trigger", namespace)?.or_else(|| old.map(|old| old.trigger.clone()));
        let action = end(&body, "action", namespace)?.or_else(|| old.map(|old| old.action.clone()));
        let (Some(trigger), Some(action)) = (trigger, action) else {
            return Err(WhiskError::bad("rule requires a valid trigger and a valid action"));
        };
        let absent = |what: &str, name: &FullName| WhiskError::bad(format!("{what} /{name} does not exist"));
        let target = self.estate.triggers.get(&trigger.namespace, &trigger.name);
        let target = target
            .filter(|_| trigger.namespace == namespace && trigger.package.is_none())
            .ok_or_else(|| absent("trigger", &trigger))?;
        if let Err(error) = self.estate.callable(namespace, &action) {
            return Err(if error.status == StatusCode::FORBIDDEN {
                error
            } else {
                absent("action", &action)
            });
        }
        let rule = self.described_rule(namespace, name, &body, old, (trigger, action))?;
        if let Some(old) = old
            && old.trigger != rule.trigger
        {
            self.unlink(old).await?;
        }
        self.link(&target, &rule, status).await?;
        let stored = self.estate.rules.put(namespace, name, rule).await?;
        ok(&stored.shown(Some(status)))
    }

    fn described_rule(
        &self,
        namespace: &str,
        name: &str,
        body: &Map<String, Value>,
        old: Option<&Rule>,
        (trigger, action): (FullName, FullName),
    ) -> Result<Rule, WhiskError> {
        let annotations = KeyValues::member(body, "annotations", self.limits.payload)?;
        Ok(Rule {
            head: Head {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version: version(body, old.map(|old| old.head.version))?,
                publish: flag(body, "publish")?.unwrap_or_else(|| old.is_some_and(|old| old.head.publish)),
                updated: self.estate.now_ms(),
                annotations: annotations
                    .or_else(|| old.map(|old| old.head.annotations.clone()))
                    .unwrap_or_default(),
            },
            trigger,
            action,
        })
    }

    async fn link(&self, trigger: &Trigger, rule: &Rule, status: RuleStatus) -> Result<(), WhiskError> {
        let mut trigger = trigger.clone();
        let known = TriggerRule {
            action: rule.action.clone(),
            status,
        };
        trigger.rules.insert(Self::key(rule), known);
        let (namespace, name) = (trigger.head.namespace.clone(), trigger.head.name.clone());
        self.estate.triggers.put(&namespace, &name, trigger).await?;
        Ok(())
    }

    async fn unlink(&self, rule: &Rule) -> Result<(), WhiskError> {
        let found = self.estate.triggers.get(&rule.trigger.namespace, &rule.trigger.name);
        let Some(found) = found else { return Ok(()) };
        let mut trigger = Trigger::clone(&found);
        trigger.rules.remove(&Self::key(rule));
        let (namespace, name) = (trigger.head.namespace.clone(), trigger.head.name.clone());
        self.estate.triggers.put(&namespace, &name, trigger).await?;
        Ok(())
    }

    async fn delete_rule(&self, namespace: &str, name: &str) -> Answer {
        let _turn = self.estate.turn(namespace).await;
        let rule = self.rule(namespace, name)?;
        self.unlink(&rule).await?;
        self.estate.rules.remove(namespace, name).await?;
        ok(&rule.shown(Some(RuleStatus::Inactive)))
    }

    /// `POST`: makes a rule active or inactive.
    async fn set_rule(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let body = call.description()?;
        let status = body.get("status").and_then(Value::as_str).and_then(RuleStatus::parse);
        let status = status.ok_or_else(|| WhiskError::malformed("'status' must be 'active' or 'inactive'"))?;
        let _turn = self.estate.turn(namespace).await;
        let rule = self.rule(namespace, name)?;
        if self.status_of(&rule) != status {
            let trigger = self.estate.triggers.get(&rule.trigger.namespace, &rule.trigger.name);
            let trigger = trigger.ok_or_else(WhiskError::missing)?;
            self.link(&trigger, &rule, status).await?;
        }
        Ok(Response::new(sonagi_wire::empty()))
    }
}

/// One end of a rule: `/ns/name`, or an object with path and name.
fn end(body: &Map<String, Value>, what: &str, own: &str) -> Result<Option<FullName>, WhiskError> {
    let wrong = || WhiskError::malformed(format!("{what} must be the full name of one, with its namespace"));
    let text = match body.get(what) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(parts)) => {
            let part = |key: &str| parts.get(key).and_then(Value::as_str).ok_or_else(wrong);
            format!("{}/{}", part("path")?, part("name")?)
        }
        Some(_) => return Err(wrong()),
    };
    FullName::parse(&text, own).map(Some).ok_or_else(wrong)
}
