//! `func.yaml` and what follows from it: how a function's code is run, and what the function is made with.
//! Source: fnproject/cli 0.6.63, `common/funcfile.go`, `langs`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sonagi_wire::yaml;

use crate::annotations::Annotations;

/// The names under which it may be in a folder, best first.
pub(crate) const NAMES: [&str; 3] = ["func.yaml", "func.yml", "func.json"];
/// The only version that is read.
const SCHEMA: u64 = 20_180_708;

/// What it says. Members of builds and of signing mean nothing here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FuncFile {
    pub(crate) schema_version: Option<u64>,
    /// The function's name.
    pub(crate) name: Option<String>,
    /// Its runtime.
    pub(crate) runtime: Option<String>,
    pub(crate) cmd: Option<String>,
    pub(crate) entrypoint: Option<String>,
    /// MB.
    pub(crate) memory: Option<u64>,
    /// Seconds.
    pub(crate) timeout: Option<i64>,
    /// Seconds.
    pub(crate) idle_timeout: Option<i64>,
    #[serde(deserialize_with = "texts")]
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) annotations: Annotations,
    pub(crate) triggers: Vec<TriggerLine>,
    pub(crate) expects: Expects,
}

/// One trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct TriggerLine {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) source: String,
}

/// What the function needs to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Expects {
    pub(crate) config: Vec<Expected>,
}

/// One key of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) required: bool,
}

/// The name under which an app may be described.
pub(crate) const APP_NAMES: [&str; 2] = ["app.yaml", "app.yml"];

/// What `app.yaml` says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AppFile {
    /// The app's name.
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) annotations: Annotations,
    pub(crate) syslog_url: Option<String>,
}

/// Numbers and truth values of YAML are texts here; nothing is an empty text.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Null => Ok((key, String::new())),
        Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(serde::de::Error::custom(format!("config {key:?} is no text"))),
    };
    values.into_iter().map(text).collect()
}

/// Reads the text of a file of this name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(name: &str, text: &str) -> Result<FuncFile, String> {
    let file: FuncFile = members(name, text)?;
    match file.schema_version {
        Some(SCHEMA) => Ok(file),
        Some(other) => Err(format!("{name}: schema_version {other} is not {SCHEMA}")),
        None => Err(format!(
            "{name}: schema_version is missing; files in the old format are migrated with `fn migrate`"
        )),
    }
}

/// Reads the text of a file that describes an app.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_app(name: &str, text: &str) -> Result<AppFile, String> {
    members(name, text)
}

fn members<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    let value: Value = if name.ends_with(".json") {
        serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?
    } else {
        yaml::read(text).map_err(|error| format!("{name}: {error}"))?
    };
    let Value::Object(members) = value else {
        return Err(format!("{name}: it says nothing"));
    };
    // A key without a value says nothing.
    let members: Value = members.into_iter().filter(|(_, value)| !value.is_null()).collect();
    serde_json::from_value(members).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_its_version_checked() {
        let text = "schema_version: 20180708\nname: f\nruntime: node\nmemory: 256\nconfig:\n  N: 1\n  T: true\n  E:\ntriggers:\n- name: t\n  type: http\n  source: /t\n";
        let file = read("func.yaml", text).unwrap();
        assert_eq!((file.name.as_deref(), file.memory), (Some("f"), Some(256)));
        assert_eq!(file.config["N"], "1");
        assert_eq!(file.config["E"], "");
        assert_eq!(file.triggers[0].source, "/t");
        let app = read_app("app.yaml", "name: shop\nconfig:\n  A: 1\n").unwrap();
        assert_eq!((app.name.as_deref(), app.config["A"].as_str()), (Some("shop"), "1"));
        assert!(read("func.json", "{\"schema_version\": 20180708, \"name\": \"j\"}").is_ok());
        for (bad, part) in [
            ("name: f\n", "schema_version is missing"),
            ("schema_version: 1\n", "schema_version 1 is not"),
            ("", "says nothing"),
            ("- a\n", "says nothing"),
            ("schema_version: 20180708\nconfig:\n  A: [1]\n", "is no text"),
            ("schema_version: 20180708\nmemory: much\n", "invalid type"),
            ("a: &b\n", "line 1"),
        ] {
            let error = read("func.yaml", bad).unwrap_err();
            assert!(error.contains(part), "{bad:?}: {error}");
        }
    }
}
