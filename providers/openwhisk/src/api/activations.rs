//! `activations`: list, get, logs, result.
//! Source: apache/openwhisk (commit 1fae641), `Activations.scala`, `ActivationId.scala`.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sonagi_model::Timestamp;
use sonagi_ports::{FilingFilter, FilingPart};

use super::{Answer, Api, Call, ok, own_only};
use crate::errors::WhiskError;
use crate::invoke::scope;
use crate::names::is_name;

impl Api {
    pub(super) async fn activations(&self, call: &Call, namespace: &str, rest: &[&str]) -> Answer {
        if call.method != Method::GET {
            return Err(WhiskError::method("GET"));
        }
        own_only(call, namespace, "")?;
        match rest {
            [] => self.list_activations(call, namespace).await,
            [id] => ok(&self.activation(namespace, id).await?),
            [id, "logs"] => {
                let record = self.activation(namespace, id).await?;
                ok(&json!({ "logs": record["logs"] }))
            }
            [id, "result"] => {
                let record = self.activation(namespace, id).await?;
                ok(&record["response"])
            }
            _ => Err(WhiskError::new(
                StatusCode::NOT_FOUND,
                "The requested resource could not be found.",
            )),
        }
    }

    async fn activation(&self, namespace: &str, id: &str) -> Result<Value, WhiskError> {
        let length = id.chars().count();
        if length != 32 {
            return Err(WhiskError::bad(format!(
                "Activation id length is {length} but must be 32."
            )));
        }
        if !id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(WhiskError::bad(format!("The activation id '{id}' is not valid.")));
        }
        let found = self.archive.get(&scope(namespace), id).await?;
        let found = found.ok_or_else(WhiskError::missing)?;
        serde_json::from_slice(&found).map_err(WhiskError::malformed)
    }

    async fn list_activations(&self, call: &Call, namespace: &str) -> Answer {
        let query = &call.query;
        let page = query.page(&self.limits, "activations")?;
        let docs = query.flag("docs", false)?;
        if page.count && docs {
            return Err(WhiskError::bad(
                "Parameters 'count' and 'docs' cannot be used together.",
            ));
        }
        let label = match query.get("name") {
            None => None,
            Some(name) => Some(label(name)?),
        };
        let at = |name: &str| query.number(name).map(|at| at.map(Timestamp::from_millis));
        let filter = FilingFilter {
            scope: scope(namespace),
            label,
            since: at("since")?,
            upto: at("upto")?,
            skip: page.skip,
            limit: if page.count { u64::MAX } else { page.limit },
        };
        if page.count {
            let count = self.archive.count(filter).await?;
            return ok(&json!({ "activations": count }));
        }
        let part = if docs { FilingPart::Body } else { FilingPart::Summary };
        let records = self.archive.list(filter, part).await?;
        let records = records
            .iter()
            .filter_map(|record| serde_json::from_slice::<Value>(record).ok());
        ok(&Value::Array(records.collect()))
    }
}

/// What a filter by name means: an action, or an action in a package.
fn label(name: &str) -> Result<String, WhiskError> {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() <= 2 && parts.iter().all(|part| is_name(part)) {
        return Ok(name.to_owned());
    }
    Err(WhiskError::query(
        "name",
        format!("The name '{name}' may be that of an action, or of a package and an action."),
    ))
}
