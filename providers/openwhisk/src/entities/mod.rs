//! Actions, packages, triggers and rules: their records, how requests describe them, how answers show them.

pub(crate) mod action;
pub(crate) mod keyed;
pub(crate) mod package;
pub(crate) mod trigger;

pub(crate) use action::{ActionRecord, Exec, Form, Limits};
pub(crate) use keyed::{KeyValue, KeyValues};
pub(crate) use package::Package;
pub(crate) use trigger::{Rule, RuleStatus, Trigger, TriggerRule};

use serde::{Deserialize, Serialize};

use crate::errors::WhiskError;

/// A version, `major.minor.patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version(pub(crate) [u32; 3]);

impl Default for Version {
    fn default() -> Self {
        Self([0, 0, 1])
    }
}

impl Version {
    pub(crate) fn parse(text: &str) -> Result<Self, WhiskError> {
        let mut parts = text.split('.').map(str::parse::<u32>);
        let mut next = || parts.next().unwrap_or(Ok(0)).ok();
        let version = match (next(), next(), next()) {
            (Some(major), Some(minor), Some(patch)) if parts.next().is_none() => Some(Self([major, minor, patch])),
            _ => None,
        };
        version
            .filter(|version| version.0 != [0, 0, 0])
            .ok_or_else(|| WhiskError::malformed(format!("bad semantic version '{text}'")))
    }

    /// The version after an update.
    pub(crate) const fn next(self) -> Self {
        let [major, minor, patch] = self.0;
        Self([major, minor, patch + 1])
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What every entity has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) publish: bool,
    /// Milliseconds since the epoch.
    pub(crate) updated: i64,
    pub(crate) annotations: KeyValues,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_raised() {
        assert_eq!(Version::default().next().to_string(), "0.0.2");
        assert_eq!(Version::parse("1.2.3").unwrap().to_string(), "1.2.3");
        assert_eq!(Version::parse("2").unwrap().to_string(), "2.0.0");
        for bad in ["", "0.0.0", "1.2.3.4", "a"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
