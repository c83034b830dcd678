//! What is kept about layers, and how they are named.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sonagi_model::{ArtifactRef, Timestamp};

use crate::errors::LambdaError;
use crate::place::{AccountId, Place, Region};

/// A layer of a function, as its configuration keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerUse {
    pub(crate) arn: String,
    /// Bytes of its archive.
    pub(crate) size: u64,
}

/// One layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The number of the newest version ever published.
    pub(crate) last: u64,
    /// Versions that are listed.
    pub(crate) versions: BTreeMap<u64, VersionRecord>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    pub(crate) artifact: ArtifactRef,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) runtimes: Vec<String>,
    #[serde(default)]
    pub(crate) architectures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) license: Option<String>,
    pub(crate) created: Timestamp,
    /// Who else may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy: Vec<LayerStatement>,
    /// Changes with the policy.
    #[serde(default)]
    pub(crate) policy_revision: String,
}

/// One statement of a version's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerStatement {
    pub(crate) sid: String,
    /// `*`, or an account's id.
    pub(crate) principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
}

impl VersionRecord {
    /// Whether an account that does not own it may use it. Nobody here is of an organization.
    pub(crate) fn allows(&self, account: &AccountId) -> bool {
        let allowed = |statement: &LayerStatement| {
            let named = statement.principal == "*"
                || statement.principal == account.as_str()
                || statement.principal == account.root_arn();
            named && statement.organization.is_none()
        };
        self.policy.iter().any(allowed)
    }
}

/// A layer, by its name and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerName {
    pub(crate) place: Place,
    pub(crate) name: String,
}

/// Longest name of a layer. Source: the service model, `LayerName`.
const NAME_MAX: usize = 140;

impl LayerName {
    /// A layer of a place by its bare name or its ARN, without a version.
    ///
    /// # Errors
    /// 400 for what is no name, 403 for the ARN of another account's layer.
    pub(crate) fn parse(text: &str, here: &Place) -> Result<Self, LambdaError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (place, name) = match parts.as_slice() {
            [name] => (Some(here.clone()), *name),
            ["arn", _, "lambda", region, account, "layer", name] => (place_of(account, region), *name),
            _ => (None, ""),
        };
        let good = !name.is_empty()
            && name.len() <= NAME_MAX
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let place = place.filter(|_| good).ok_or_else(|| {
            LambdaError::new(
                crate::errors::Code::Validation,
                format!(
                    "1 validation error detected: Value '{}' at 'layerName' failed to satisfy constraint: Member must \
                     satisfy regular expression pattern: (arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{{12}}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+",
                    text.chars().filter(|c| !c.is_control()).take(256).collect::<String>()
                ),
            )
        })?;
        Ok(Self {
            place,
            name: name.to_owned(),
        })
    }

    /// A layer and a version of it by the version's ARN.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn of_version(arn: &str) -> Result<(Self, u64), LambdaError> {
        let parts: Vec<&str> = arn.split(':').collect();
        let found = match parts.as_slice() {
            ["arn", _, "lambda", region, account, "layer", name, version] => place_of(account, region)
                .zip(version.parse().ok())
                .map(|(place, version)| {
                    let name = Self {
                        place,
                        name: (*name).to_owned(),
                    };
                    (name, version)
                }),
            _ => None,
        };
        found.ok_or_else(|| {
            let shown: String = arn.chars().filter(|c| !c.is_control()).take(256).collect();
            LambdaError::invalid(format!("Invalid Layer version ARN: {shown}"))
        })
    }

    pub(super) fn key(&self) -> String {
        format!("{}/{}/{}", self.place.account, self.place.region, self.name)
    }

    pub(crate) fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:{}:layer:{}",
            self.place.region, self.place.account, self.name
        )
    }

    pub(crate) fn version_arn(&self, number: u64) -> String {
        format!("{}:{number}", self.arn())
    }
}

fn place_of(account: &str, region: &str) -> Option<Place> {
    Some(Place {
        account: AccountId::parse(account).ok()?,
        region: Region::parse(region).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_by_names_and_arns() {
        let here = place_of("000000000000", "us-east-1").unwrap();
        let own = LayerName::parse("my-layer_1", &here).unwrap();
        assert_eq!(own.arn(), "arn:aws:lambda:us-east-1:000000000000:layer:my-layer_1");
        assert_eq!(LayerName::parse(&own.arn(), &here).unwrap(), own);
        assert_eq!(LayerName::of_version(&own.version_arn(7)).unwrap(), (own.clone(), 7));
        for bad in [
            "",
            "a b",
            "a/b",
            "arn:aws:lambda:us-east-1:1:layer:x",
            &own.version_arn(1),
        ] {
            assert!(LayerName::parse(bad, &here).is_err(), "{bad:?}");
        }
        for bad in ["", "x", own.arn().as_str(), &format!("{}:x", own.arn())] {
            assert!(LayerName::of_version(bad).is_err(), "{bad:?}");
        }
    }
}
