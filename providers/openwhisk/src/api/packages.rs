//! `packages`: packages and bindings.
//! Source: apache/openwhisk (commit 1fae641), `Packages.scala`, `WhiskPackage.scala`.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Api, Call, flag, ok, own_only, version};
use crate::entities::package::Binding;
use crate::entities::{Head, KeyValues, Package};
use crate::errors::WhiskError;
use crate::estate::{Collection, Used};
use crate::names::{FullName, OWN, check};

impl Api {
    pub(super) async fn packages(&self, call: &Call, namespace: &str, rest: &[&str]) -> Answer {
        let name = match rest {
            [] if call.method == Method::GET => return self.list_packages(call, namespace),
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
        match call.method {
            Method::GET => self.get_package(call, namespace, name),
            Method::PUT => self.put_package(call, namespace, name).await,
            Method::DELETE => self.delete_package(call, namespace, name).await,
            _ => Err(WhiskError::method("GET, PUT, DELETE")),
        }
    }

    /// Packages of a namespace; of another one's, those that are shared.
    fn list_packages(&self, call: &Call, namespace: &str) -> Answer {
        let own = call.account.namespace == namespace;
        let packages = self.estate.packages.of(namespace);
        let seen = packages.iter().filter(|package| own || package.head.publish);
        let rows = seen.map(|package| (package.head.updated, package.listed()));
        self.listed(call, "packages", rows.collect())
    }

    /// A package that the caller may read.
    pub(super) fn readable_package(&self, call: &Call, namespace: &str, name: &str) -> Result<Used, WhiskError> {
        let forbidden = || WhiskError::forbidden(format!("{namespace}/{name}"));
        let own = call.account.namespace == namespace;
        match self.estate.packages.get(namespace, name) {
            None if own => Err(self.estate.absent(namespace, name)),
            Some(package) if own || package.head.publish => {
                let used = self.estate.used(namespace, name)?;
                if used.binding.is_some() && used.namespace != call.account.namespace && !used.publish {
                    return Err(WhiskError::forbidden(format!("{}/{}", used.namespace, used.name)));
                }
                Ok(used)
            }
            None | Some(_) => Err(forbidden()),
        }
    }

    fn get_package(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let used = self.readable_package(call, namespace, name)?;
        let package = self
            .estate
            .packages
            .get(namespace, name)
            .ok_or_else(WhiskError::missing)?;
        ok(&self.with_contents(&package, &used))
    }

    fn with_contents(&self, package: &Package, used: &Used) -> Value {
        let held = self.estate.in_package(&used.namespace, &used.name);
        let (feeds, actions): (Vec<_>, Vec<_>) = held
            .iter()
            .partition(|action| action.head.annotations.is_truthy("feed"));
        let mut shown = package.shown(&used.parameters);
        shown["actions"] = actions.iter().map(|action| action.in_package()).collect();
        shown["feeds"] = feeds.iter().map(|action| action.in_package()).collect();
        shown
    }

    async fn put_package(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let overwrite = call.query.flag("overwrite", false)?;
        let body = call.description()?;
        own_only(call, namespace, name)?;
        if name == "default" {
            return Err(WhiskError::bad("Package name 'default' is reserved."));
        }
        let _turn = self.estate.turn(namespace).await;
        if let Some(Collection::Actions | Collection::Triggers | Collection::Rules) = self.estate.taken(namespace, name)
        {
            return Err(WhiskError::wrong_collection());
        }
        let old = self.estate.packages.get(namespace, name);
        if old.is_some() && !overwrite {
            return Err(WhiskError::conflict("resource already exists"));
        }
        let package = self.described_package(namespace, name, &body, old.as_deref())?;
        let stored = self.estate.packages.put(namespace, name, package).await?;
        ok(&stored.shown(&stored.parameters))
    }

    fn described_package(
        &self,
        namespace: &str,
        name: &str,
        body: &Map<String, Value>,
        old: Option<&Package>,
    ) -> Result<Package, WhiskError> {
        let limit = self.limits.payload;
        let parameters = KeyValues::member(body, "parameters", limit)?;
        let annotations = KeyValues::member(body, "annotations", limit)?;
        let binds = matches!(body.get("binding"), Some(Value::Object(binding)) if !binding.is_empty());
        if binds && old.is_some_and(|old| old.binding.is_none()) {
            return Err(WhiskError::conflict("Resource exists and is not a package binding."));
        }
        let binding = self.binding(namespace, name, body.get("binding"))?;
        let binding = match (binding, old) {
            (Some(binding), _) => Some(binding),
            (None, Some(old)) => old.binding.clone(),
            (None, None) => None,
        };
        let mut annotations = annotations
            .or_else(|| old.map(|old| old.head.annotations.clone()))
            .unwrap_or_default();
        annotations.remove("binding");
        if let Some(binding) = &binding {
            let value = json!({ "namespace": binding.namespace, "name": binding.name });
            annotations.set("binding", value);
        }
        Ok(Package {
            head: Head {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                version: version(body, old.map(|old| old.head.version))?,
                publish: flag(body, "publish")?.unwrap_or_else(|| old.is_some_and(|old| old.head.publish)),
                updated: self.estate.now_ms(),
                annotations,
            },
            parameters: parameters
                .or_else(|| old.map(|old| old.parameters.clone()))
                .unwrap_or_default(),
            binding,
        })
    }

    /// What a request binds, checked.
    fn binding(&self, own: &str, name: &str, value: Option<&Value>) -> Result<Option<Binding>, WhiskError> {
        let Some(Value::Object(binding)) = value else {
            return match value {
                None | Some(Value::Null) => Ok(None),
                Some(_) => Err(WhiskError::malformed("binding must be an object")),
            };
        };
        if binding.is_empty() {
            return Ok(None);
        }
        let text = |key: &str| binding.get(key).and_then(Value::as_str);
        let (Some(namespace), Some(bound)) = (text("namespace").or(Some(OWN)), text("name")) else {
            return Err(WhiskError::malformed("binding must have a namespace and a name"));
        };
        let namespace = if namespace == OWN { own } else { namespace };
        if namespace == crate::names::SYSTEM {
            return Err(WhiskError::bad(
                "Packages of whisk.system cannot be bound here; their actions are called by their full names.",
            ));
        }
        let full = FullName::new(namespace, None, bound);
        let Some(package) = self.estate.packages.get(namespace, bound) else {
            if namespace != own {
                return Err(WhiskError::forbidden(full));
            }
            return Err(match self.estate.taken(namespace, bound) {
                Some(_) => WhiskError::conflict("Requested package is not in this collection."),
                None => WhiskError::bad("Binding references a package that does not exist."),
            });
        };
        if namespace != own && !package.head.publish {
            return Err(WhiskError::forbidden(full));
        }
        if package.binding.is_some() || (namespace == own && bound == name) {
            return Err(WhiskError::bad("Cannot bind to another package binding."));
        }
        Ok(Some(Binding {
            namespace: namespace.to_owned(),
            name: bound.to_owned(),
        }))
    }

    async fn delete_package(&self, call: &Call, namespace: &str, name: &str) -> Answer {
        let force = call.query.flag("force", false)?;
        own_only(call, namespace, name)?;
        let _turn = self.estate.turn(namespace).await;
        let package = self
            .estate
            .packages
            .get(namespace, name)
            .ok_or_else(|| self.estate.absent(namespace, name))?;
        if package.binding.is_none() {
            let held = self.estate.in_package(namespace, name);
            if !held.is_empty() && !force {
                return Err(WhiskError::conflict(format!(
                    "Package not empty (contains {} entities). Set force param or delete package contents.",
                    held.len(),
                )));
            }
            for action in held {
                self.estate.remove_action(&action.full_name()).await?;
            }
        }
        self.estate.packages.remove(namespace, name).await?;
        ok(&package.shown(&package.parameters))
    }
}
