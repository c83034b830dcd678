//! A place in a manifest: what is there, and how the place is called when something is wrong with it.

use serde_json::Value;

use super::ProjectError;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    /// File and path, `manifest.yaml: packages.p.actions.a`.
    at: String,
    pub(super) value: &'a Value,
}

impl<'a> Node<'a> {
    /// The whole of a file.
    pub(super) fn root(file: &str, value: &'a Value) -> Self {
        Self {
            at: format!("{file}:"),
            value,
        }
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let separator = if self.at.ends_with(':') { " " } else { "." };
        Self {
            at: format!("{}{separator}{key}", self.at),
            value,
        }
    }

    pub(super) fn wrong(&self, problem: impl Into<String>, hint: impl Into<String>) -> ProjectError {
        ProjectError::new(self.at.trim_end_matches(':'), problem, hint)
    }

    /// A member that says something.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let found = self.value.get(key).filter(|value| !value.is_null())?;
        Some(self.below(key, found))
    }

    /// The first of several names of a member.
    pub(super) fn any(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// All members; of a key without a value, none.
    pub(super) fn members(&self) -> Result<Vec<(&'a str, Self)>, ProjectError> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| (&**key, self.below(key, value)));
                Ok(members.collect())
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(self.wrong(
                "a mapping is expected here",
                "write its members below it, each as `name: value`",
            )),
        }
    }

    /// The members of a member.
    pub(super) fn members_of(&self, key: &str) -> Result<Vec<(&'a str, Self)>, ProjectError> {
        self.get(key).map_or_else(|| Ok(Vec::new()), |node| node.members())
    }

    /// Refuses members that mean nothing here.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ProjectError> {
        let members = self.members()?;
        match members.into_iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((_, node)) => {
                Err(node.wrong("this key is not known here", format!("known are: {}", known.join(", "))))
            }
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, ProjectError> {
        let text = self.value.as_str().map(str::trim).filter(|text| !text.is_empty());
        text.ok_or_else(|| self.wrong("a text is expected here", ""))
    }

    /// Texts in a list, or in one text with commas between.
    pub(super) fn texts(&self) -> Result<Vec<String>, ProjectError> {
        let wrong = || self.wrong("a list of names is expected here", "write `a, b` or `[a, b]`");
        match self.value {
            Value::String(text) => {
                let parts = text.split(',').map(|part| part.trim().to_owned());
                Ok(parts.filter(|part| !part.is_empty()).collect())
            }
            Value::Array(items) => {
                let items = items
                    .iter()
                    .map(|item| item.as_str().map(|text| text.trim().to_owned()));
                items.collect::<Option<Vec<_>>>().ok_or_else(wrong)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
        }
    }

    /// A truth value, as YAML 1.1 writes them too.
    pub(super) fn truth(&self) -> Result<bool, ProjectError> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if ["yes", "on", "true"].contains(&&*text.to_lowercase()) => Ok(true),
            Value::String(text) if ["no", "off", "false"].contains(&&*text.to_lowercase()) => Ok(false),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(self.wrong("true or false is expected here", ""))
            }
        }
    }
}
