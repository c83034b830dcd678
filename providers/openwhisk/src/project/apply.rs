//! Doing what was planned: each request goes the way of a client's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use sonagi_model::ArchiveLimits;
use sonagi_ports::{AdapterError, DeployProject, Made, ProjectDeployed};
use sonagi_wire::yaml;

use super::plan::{Code, Feed, Plan, Put, Route, plan};
use super::{ProjectError, code};
use crate::accounts::Account;
use crate::api::{Call, Query};
use crate::assembly::Whisk;
use crate::errors::WhiskError;
use crate::estate::Collection;
use crate::names::FullName;

/// Names under which a folder may describe itself, best first.
const MANIFESTS: [&str; 2] = ["manifest.yaml", "manifest.yml"];
/// Names of files that give inputs besides.
const DEPLOYMENTS: [&str; 2] = ["deployment.yaml", "deployment.yml"];
/// Bytes of such a file.
const FILE_MAX: u64 = 256 * 1024;

impl From<ProjectError> for AdapterError {
    fn from(error: ProjectError) -> Self {
        Self::Invalid {
            message: error.to_string(),
            hint: (!error.hint.is_empty()).then_some(error.hint),
        }
    }
}

/// The same error, at its place in the manifest.
fn placed(at: &str, error: WhiskError) -> AdapterError {
    let text = format!("{at}: {}", error.text.replace('\n', " "));
    WhiskError::new(error.status, text).into()
}

impl Whisk {
    /// Makes everything that a folder's manifest describes. What was made before something failed stays, as when wskdeploy
    /// fails; deploying again goes on from there.
    pub(crate) async fn make_project(&self, project: DeployProject) -> Result<ProjectDeployed, AdapterError> {
        let account = self.account_of(&project.namespace)?;
        let bounds = ArchiveLimits {
            entries: 100_000,
            unpacked: 512 * 1024 * 1024,
            ..ArchiveLimits::default()
        };
        let catalog = &self.estate.catalog;
        let held = catalog
            .store_artifact(project.archive, &bounds)
            .await
            .map_err(WhiskError::from)?;
        let tree = catalog
            .artifacts()
            .tree(held.artifact())
            .await
            .map_err(WhiskError::from)?
            .path;
        let (variables, limit) = (project.variables, self.limits.code * 3 / 4);
        let prepared = tokio::task::spawn_blocking(move || prepare(&tree, &variables, limit)).await;
        let lost = |_| AdapterError::Platform("reading the project's files failed".to_owned());
        let plan = prepared.map_err(lost)??;
        drop(held);
        let work = Work { whisk: self, account };
        let mut made = Vec::new();
        for put in &plan.puts {
            made.push(work.put(put).await?);
        }
        for feed in &plan.feeds {
            work.feed(feed).await?;
        }
        for route in &plan.routes {
            made.push(work.route(route).await?);
        }
        Ok(ProjectDeployed {
            namespace: project.namespace,
            made,
            notes: plan.notes,
        })
    }
}

/// Reads the project's files and plans. Blocks on the disk.
fn prepare(
    tree: &Path,
    variables: &std::collections::BTreeMap<String, String>,
    limit: usize,
) -> Result<Plan, ProjectError> {
    let missing = || {
        ProjectError::new(
            "the project",
            "it has no manifest.yaml at its top",
            "wskdeploy's guide has examples",
        )
    };
    let (file, manifest) = described(tree, &MANIFESTS)?.ok_or_else(missing)?;
    let deployment = described(tree, &DEPLOYMENTS)?;
    let given = deployment.as_ref().map(|(file, value)| (*file, value));
    let mut plan = plan((file, &manifest), given, variables)?;
    for put in &mut plan.puts {
        let Some(code) = put.code.take() else { continue };
        fill(tree, put, &code, limit)?;
    }
    Ok(plan)
}

/// Puts an action's code into its request.
fn fill(tree: &Path, put: &mut Put, code: &Code, limit: usize) -> Result<(), ProjectError> {
    let read = code::read(tree, code, &put.at, limit)?;
    let Some(Value::Object(exec)) = put.body.get_mut("exec") else {
        return Ok(());
    };
    if let Some(code) = read.code {
        exec.insert("code".to_owned(), json!(code));
    }
    if !exec.contains_key("kind") {
        let kind = read.kind.ok_or_else(|| {
            let hint = "add `runtime:`, for instance nodejs:20 or python:3.11";
            ProjectError::new(&put.at, "its files do not tell its runtime", hint)
        })?;
        exec.insert("kind".to_owned(), json!(kind));
    }
    Ok(())
}

/// A file of the project's top that is written in YAML.
fn described(tree: &Path, names: &[&'static str]) -> Result<Option<(&'static str, Value)>, ProjectError> {
    let found: Option<(&'static str, PathBuf)> = names.iter().find_map(|name| {
        let path = tree.join(name);
        // Links may lead anywhere.
        std::fs::symlink_metadata(&path)
            .ok()?
            .is_file()
            .then_some((*name, path))
    });
    let Some((name, path)) = found else { return Ok(None) };
    let failed = |why: String| ProjectError::new(name, why, "");
    let length = std::fs::metadata(&path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if length > FILE_MAX {
        return Err(failed(format!("{length} bytes, more than {FILE_MAX}")));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let value = yaml::read(&text).map_err(|error| {
        let hint = "anchors, tags and several documents are not read here";
        ProjectError::new(name, error.to_string(), hint)
    })?;
    Ok(Some((name, value)))
}

struct Work<'a> {
    whisk: &'a Whisk,
    account: Arc<Account>,
}

impl Work<'_> {
    /// One request of this namespace, as a client would send it; its answer.
    async fn send(&self, method: Method, path: Vec<String>, query: &str, body: &Value) -> Result<Value, WhiskError> {
        let call = Call {
            method,
            path,
            slash: false,
            query: Query::parse(query),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            transaction: uuid::Uuid::new_v4().as_simple().to_string(),
            account: Arc::clone(&self.account),
        };
        let response = Box::pin(self.whisk.api.route(call)).await?;
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(WhiskError::malformed)?
            .to_bytes();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let told = [&value["error"], &value["response"]["result"]["error"]];
        let text = told.into_iter().find(|text| !text.is_null());
        let text = text.map_or_else(
            || status.to_string(),
            |text| text.as_str().map_or_else(|| text.to_string(), str::to_owned),
        );
        // What an action of the user's answers is the user's.
        let status = if status.is_server_error() {
            StatusCode::BAD_REQUEST
        } else {
            status
        };
        Err(WhiskError::new(status, text))
    }

    fn path(&self, collection: &str, name: &str) -> Vec<String> {
        let mut path = vec![
            "namespaces".to_owned(),
            self.account.namespace.clone(),
            collection.to_owned(),
        ];
        path.extend(name.split('/').map(str::to_owned));
        path
    }

    /// Whether something of this name is there.
    fn is_there(&self, put: &Put) -> bool {
        let own = &self.account.namespace;
        match put.name.split_once('/') {
            Some((package, name)) => self
                .whisk
                .estate
                .action(&FullName::new(own, Some(package), name))
                .is_some(),
            None => self.whisk.estate.taken(own, &put.name).is_some(),
        }
    }

    async fn put(&self, put: &Put) -> Result<Made, AdapterError> {
        let created = !self.is_there(put);
        let own = &self.account.namespace;
        if put.collection == "actions"
            && let Some(taken) = self.whisk.estate.taken(own, &put.name)
            && taken != Collection::Actions
        {
            return Err(placed(&put.at, WhiskError::wrong_collection()));
        }
        let path = self.path(put.collection, &put.name);
        let body = Value::Object(put.body.clone());
        let sent = self.send(Method::PUT, path, "overwrite=true", &body).await;
        sent.map_err(|error| placed(&put.at, error))?;
        let kind = match put.collection {
            "packages" if put.body.contains_key("binding") => "binding",
            "packages" => "package",
            "triggers" => "trigger",
            "rules" => "rule",
            _ if put.body["exec"]["kind"] == "sequence" => "sequence",
            _ => "action",
        };
        let url = (put.collection == "actions")
            .then(|| self.whisk.url_of(own, &put.name))
            .flatten();
        Ok(Made {
            kind: kind.to_owned(),
            name: put.name.clone(),
            created,
            url,
        })
    }

    /// Tells a feed of a trigger: `UPDATE` where it knows it, else `CREATE`.
    async fn feed(&self, feed: &Feed) -> Result<(), AdapterError> {
        let own = &self.account.namespace;
        let full = FullName::parse(&feed.feed, own);
        let full = full.ok_or_else(|| placed(&feed.at, WhiskError::bad("Feed name is not valid")))?;
        let mut path = vec!["namespaces".to_owned(), full.namespace.clone(), "actions".to_owned()];
        path.extend(full.package.clone());
        path.push(full.name.clone());
        let event = |event: &str| {
            let mut arguments = feed.arguments.clone();
            arguments.extend(Map::from_iter([
                ("lifecycleEvent".to_owned(), json!(event)),
                ("triggerName".to_owned(), json!(format!("/{own}/{}", feed.trigger))),
                ("authKey".to_owned(), json!(self.account.auth())),
            ]));
            Value::Object(arguments)
        };
        let query = "blocking=true";
        let known = self
            .send(Method::POST, path.clone(), query, &event("READ"))
            .await
            .is_ok();
        let wanted = if known { "UPDATE" } else { "CREATE" };
        let told = self.send(Method::POST, path, query, &event(wanted)).await;
        told.map(drop).map_err(|error| placed(&feed.at, error))
    }

    async fn route(&self, route: &Route) -> Result<Made, AdapterError> {
        let own = &self.account.namespace;
        let origin = format!("http://{}", self.whisk.address);
        let package = if route.action.contains('/') {
            route.action.clone()
        } else {
            format!("default/{}", route.action)
        };
        let message = json!({ "apidoc": {
            "namespace": own,
            "gatewayBasePath": route.base,
            "gatewayPath": route.path,
            "gatewayMethod": route.method,
            "id": format!("API:{own}:{}", route.base),
            "apiName": route.title,
            "action": {
                "name": route.action,
                "namespace": own,
                "backendMethod": route.method,
                "backendUrl": format!("{origin}/api/v1/web/{own}/{package}.{}", route.response),
                "authkey": self.account.auth(),
            },
        } });
        let known = self.whisk.estate.routes.get(own, &route.base).is_some();
        let query = Query::parse(&format!("responsetype={}", route.response));
        let message = message.as_object().cloned().unwrap_or_default();
        let made = self.whisk.api.create_route(own, &message, &query, &origin).await;
        let made = made.map_err(|error| placed(&route.at, error))?;
        let address = made["gwApiUrl"].as_str().unwrap_or_default();
        Ok(Made {
            kind: "api".to_owned(),
            name: format!(
                "{} {}{}",
                route.method.to_uppercase(),
                route.base.trim_end_matches('/'),
                route.path
            ),
            created: !known,
            url: Some(format!("{address}{}", route.path)),
        })
    }
}
