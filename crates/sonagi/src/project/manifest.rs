//! `sonagi.toml`: what a project says about itself. Every line is optional, and flags win over it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use sonagi_api::{FunctionEgress, UrlAccess};

use crate::values;

/// The file's name, at the top of a project.
pub const NAME: &str = "sonagi.toml";

/// What it can say.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// The function's name.
    pub name: Option<String>,
    /// The provider whose function it is.
    #[serde(rename = "as")]
    pub provider: Option<String>,
    /// Runtime, in the provider's words.
    pub runtime: Option<String>,
    /// Entry point, in the provider's words.
    pub handler: Option<String>,
    /// Memory: a number of MiB, or `"1GiB"`.
    #[serde(deserialize_with = "size")]
    pub memory: Option<u32>,
    /// Longest time of an attempt: a number of seconds, or `"30s"`.
    #[serde(deserialize_with = "time")]
    pub timeout: Option<Duration>,
    /// Size of `/tmp`, as `memory`.
    #[serde(deserialize_with = "size")]
    pub scratch: Option<u32>,
    /// `"default"` or `"none"`: what it reaches outside.
    pub egress: Option<FunctionEgress>,
    /// A sentence about it.
    pub description: Option<String>,
    /// `"public"`, `"signed"` or `"none"`.
    pub url: Option<UrlAccess>,
    /// Variables.
    pub env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u32),
    Text(String),
}

impl NumberOrText {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = NumberOrText::deserialize(deserializer)?.text();
    values::mebibytes(&text).map(Some).map_err(serde::de::Error::custom)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = NumberOrText::deserialize(deserializer)?.text();
    values::duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Reads the text of a manifest.
pub fn parse(text: &str) -> Result<Manifest, toml::de::Error> {
    toml::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_and_typing_errors_are_not_ignored() {
        let text = "name = \"f\"\nas = \"aws\"\nmemory = \"1GiB\"\ntimeout = 30\nscratch = 600\negress = \"none\"\nurl = \"signed\"\n[env]\nA = \"b\"\n";
        let manifest = parse(text).unwrap();
        assert_eq!(manifest.name.as_deref(), Some("f"));
        assert_eq!((manifest.memory, manifest.scratch), (Some(1024), Some(600)));
        assert_eq!(manifest.timeout, Some(Duration::from_secs(30)));
        assert_eq!(manifest.egress, Some(FunctionEgress::None));
        assert_eq!(manifest.url, Some(UrlAccess::Signed));
        assert_eq!(manifest.env["A"], "b");
        assert_eq!(parse("").unwrap(), Manifest::default());
        for bad in [
            "nam = \"f\"",
            "memory = \"lots\"",
            "timeout = -1",
            "url = \"open\"",
            "[env]\nA = 1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
