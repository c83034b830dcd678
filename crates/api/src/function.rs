//! Functions, their settings, versions and aliases.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use sonagi_model::Digest;

/// Who may reach a function by its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlAccess {
    /// There is no URL.
    None,
    /// Everybody who reaches the platform's address.
    Public,
    /// Those who sign requests by the provider's scheme.
    Signed,
}

/// What a function reaches outside of its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FunctionEgress {
    /// What the platform lets every function reach.
    #[default]
    Default,
    /// Nothing but the platform itself.
    None,
}

impl FunctionEgress {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
        }
    }
}

/// Settings of a function. What is left out stays as it is, or gets the provider's default for a new function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Runtime, in the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Entry point, in the provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Memory of an instance, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Longest time of an attempt, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Size of `/tmp`, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch_mib: Option<u32>,
    /// What it reaches outside of its sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<FunctionEgress>,
    /// Variables to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set_environment: BTreeMap<String, String>,
    /// Variables to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset_environment: Vec<String>,
    /// Reserved concurrency; `null` removes it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub reserved_concurrency: Option<Option<u32>>,
    /// Instances to keep loaded, by version or alias; `null` ends it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provisioned: BTreeMap<String, Option<u32>>,
    /// A sentence about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Instances of a version or alias that are kept loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// The version or alias.
    pub qualifier: String,
    /// How many are wanted.
    pub wanted: u32,
    /// How many of them are loaded.
    pub ready: u32,
    /// In the provider's words.
    pub status: String,
}

/// Tells `null` (remove) from a field that is not there (keep).
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::<u32>::deserialize(deserializer).map(Some)
}

/// What to do with the archive in the body of `POST /deploy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The function's name.
    pub name: String,
    /// Where; without it, the namespace of `account`, or of the first account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The provider whose function it is; without it, the namespace's, or the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The account in whose namespace it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Settings.
    #[serde(default)]
    pub settings: Settings,
    /// Its URL; left out: unchanged, or public for a new function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlAccess>,
}

/// What a deployment did. When it is answered, calls run the new code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// Where.
    pub namespace: String,
    /// The function.
    pub name: String,
    /// The revision that is live now.
    pub revision: String,
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Whether the function is new.
    pub created: bool,
    /// Its URL, if it has one.
    pub url: Option<String>,
}

/// What to do with the archive in the body of `POST /projects`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectRequest {
    /// Where; without it, the namespace of `account`, or of the provider's first account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The provider whose project it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The account in whose namespace it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What the variables that its description names stand for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// One thing that a project has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// What it is, in the provider's words.
    pub kind: String,
    /// Its name there.
    pub name: String,
    /// Whether it is new.
    pub created: bool,
    /// Its URL, if it has one.
    pub url: Option<String>,
}

/// What the deployment of a project did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDeployed {
    /// Where.
    pub namespace: String,
    /// Everything that it describes, in the order in which it was made.
    pub made: Vec<Made>,
    /// What it says that has no effect here.
    pub notes: Vec<String>,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Where.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// The provider's own full name of it.
    pub provider_name: String,
    /// The contract its code speaks.
    pub contract: String,
    /// Runtime.
    pub runtime: String,
    /// Entry point.
    pub handler: String,
    /// Memory of an instance, MiB.
    pub memory_mib: u32,
    /// Longest time of an attempt, milliseconds.
    pub timeout_ms: u64,
    /// Size of `/tmp`, MiB.
    pub scratch_mib: u32,
    /// What it reaches outside of its sandbox.
    #[serde(default)]
    pub egress: FunctionEgress,
    /// Its variables; values are `null` unless they were asked for.
    pub environment: BTreeMap<String, Option<String>>,
    /// The live revision.
    pub revision: String,
    /// SHA-256 of its archive.
    pub digest: Digest,
    /// Bytes of its archive.
    pub size: u64,
    /// When it was last changed, RFC 3339.
    pub modified: String,
    /// URL, if it has one.
    pub url: Option<String>,
    /// Reserved concurrency.
    pub reserved_concurrency: Option<u32>,
    /// Instances that are kept loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisioned: Vec<Provisioned>,
    /// Versions, oldest first, the live one last.
    pub versions: Vec<Version>,
    /// Aliases, by name.
    pub aliases: Vec<Alias>,
}

/// Functions, by namespace and name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Functions {
    /// The functions.
    pub functions: Vec<Function>,
}

/// One version: a label for a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its label.
    pub label: String,
    /// Its revision.
    pub revision: String,
    /// SHA-256 of its archive.
    pub digest: Digest,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether an unqualified call runs it.
    pub live: bool,
}

/// Versions, oldest first, the live one last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The versions.
    pub versions: Vec<Version>,
}

/// A second version and its share of calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Label of the version.
    pub version: String,
    /// Its share, 0.0 to 1.0.
    pub share: f64,
}

/// One alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// Its name.
    pub name: String,
    /// Label of the version that takes all calls but the split's.
    pub version: String,
    /// A second version.
    pub split: Option<Split>,
}

/// Where an alias shall point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasTarget {
    /// Label of the version.
    pub version: String,
    /// A second version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// Aliases, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aliases {
    /// The aliases.
    pub aliases: Vec<Alias>,
}

/// Which revision shall be live again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// A version label or a revision id; without it, the revision before the live one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// An event was accepted: it is durable, and the function will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The invocation that all its attempts will carry.
    pub invocation: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_kept_removed_or_set() {
        let cases = [
            ("{}", None),
            (r#"{"reserved_concurrency":null}"#, Some(None)),
            (r#"{"reserved_concurrency":5}"#, Some(Some(5))),
        ];
        for (text, expected) in cases {
            let settings: Settings = serde_json::from_str(text).unwrap();
            assert_eq!(settings.reserved_concurrency, expected, "{text}");
            assert_eq!(serde_json::to_string(&settings).unwrap(), text);
        }
        assert!(
            serde_json::from_str::<Settings>(r#"{"memory":5}"#).is_err(),
            "an unknown field must not be ignored"
        );
    }
}
