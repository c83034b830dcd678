//! Packages and bindings.
//! Source: apache/openwhisk (commit 1fae641), `WhiskPackage.scala`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Head, KeyValues};

/// The package that a binding stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A package, or a binding of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Package {
    #[serde(flatten)]
    pub(crate) head: Head,
    pub(crate) parameters: KeyValues,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binding: Option<Binding>,
}

impl Binding {
    fn shown(&self) -> Value {
        json!({ "namespace": self.namespace, "name": self.name })
    }
}

impl Package {
    /// As `PUT` and `DELETE` answer it; `parameters` may be merged with those of what is bound.
    pub(crate) fn shown(&self, parameters: &KeyValues) -> Value {
        json!({
            "namespace": self.head.namespace,
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "updated": self.head.updated,
            "annotations": self.head.annotations.shown(),
            "parameters": parameters.shown(),
            "binding": self.binding.as_ref().map_or_else(|| json!({}), Binding::shown),
        })
    }

    /// As lists show it.
    pub(crate) fn listed(&self) -> Value {
        json!({
            "namespace": self.head.namespace,
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "annotations": self.head.annotations.shown(),
            "binding": self.binding.as_ref().map_or(Value::Bool(false), Binding::shown),
            "updated": self.head.updated,
        })
    }
}
