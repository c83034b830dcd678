//! Functions, their immutable revisions and the movable names that point at them.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ArtifactRef, FunctionId, Mebibytes, RevisionId, Timestamp};

/// A name does not have the form that the platform needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} must be 1 to {max} characters of {allowed}")]
pub struct NameError {
    /// Which name.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// Longest length allowed.
    pub max: usize,
    /// The characters allowed.
    pub allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks and wraps the text.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long or has a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(char) -> bool = $check;
                if text.is_empty() || text.len() > $max || !text.chars().all(check) {
                    return Err(NameError { what: $what, text: text.to_owned(), max: $max, allowed: $allowed });
                }
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// Name of a function, unique in its namespace. The widest form that any provider allows; each narrows it further.
    FunctionName, "function name", 256, "letters, digits, '-', '_', '.', '/', '@'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@')
);
name!(
    /// Name of an alias of a function.
    AliasName, "alias name", 128, "letters, digits, '-', '_'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
);
name!(
    /// Tenant scope for names: `PROVIDER/TENANT[/PLACE]`, for instance `aws/000000000000/us-east-1`. Its parts mean
    /// something to that provider's crate only.
    Namespace, "namespace", 200, "letters, digits, '-', '_', '.', '/'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
);
name!(
    /// The owner of functions: limits and usage are counted per tenant, and instances are never shared between two.
    TenantId, "tenant", 128, "letters, digits, '-', '_', '.', '/'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
);

/// A provider's own record beside one of ours: stored and returned exactly, never read by the core.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(pub serde_json::Value);

/// A named unit that a user deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Identity for life.
    pub id: FunctionId,
    /// Where its name is unique.
    pub namespace: Namespace,
    /// Who owns it.
    pub tenant: TenantId,
    /// Its name.
    pub name: FunctionName,
    /// The newest revision, which an unqualified call runs.
    pub latest: RevisionId,
    /// Reserved concurrency: both guarantee and cap for all revisions together; `None`: the tenant's shared pool.
    pub reserved_concurrency: Option<u32>,
    /// When it was created.
    pub created: Timestamp,
    /// The provider's own record.
    pub document: Document,
}

/// What an instance reaches outside of its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// What the platform lets every function reach.
    #[default]
    Open,
    /// Nothing but the platform itself.
    Closed,
}

impl Outside {
    /// Whether nothing is closed: what records say nothing about.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// How a revision is run. Any change makes a new revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionSpec {
    /// The contract its code speaks, by the name under which an adapter registered it, for instance `aws-lambda`.
    pub contract: String,
    /// The runtime, in that contract's vocabulary, for instance `python3.11`.
    pub runtime: String,
    /// The entry point, in that contract's vocabulary.
    pub handler: String,
    /// Memory limit of one instance.
    pub memory: Mebibytes,
    /// Longest time one attempt may take.
    pub timeout: Duration,
    /// Size of `/tmp`.
    pub scratch: Mebibytes,
    /// The user's variables.
    pub environment: BTreeMap<String, String>,
    /// Events one instance may work on at once. They share its memory and its CPU, and one that ends it ends the others.
    pub concurrency: NonZeroU32,
    /// What it reaches outside.
    #[serde(default, skip_serializing_if = "Outside::is_open")]
    pub outside: Outside,
}

/// Immutable code plus configuration. An instance serves one revision for life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Identity.
    pub id: RevisionId,
    /// The function it belongs to.
    pub function: FunctionId,
    /// Copied from the function: its namespace.
    pub namespace: Namespace,
    /// Copied from the function: its owner.
    pub tenant: TenantId,
    /// Copied from the function: its name.
    pub name: FunctionName,
    /// The name under which the running code sees this revision, for instance `$LATEST` or `3`.
    pub label: String,
    /// Its code.
    pub artifact: ArtifactRef,
    /// What its code shares with others, a second tree beside the first; where it is shown is its contract's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<ArtifactRef>,
    /// Its configuration.
    pub spec: RevisionSpec,
    /// When it was made.
    pub created: Timestamp,
    /// The provider's own record.
    pub document: Document,
}

impl Revision {
    /// Every artifact that it needs to run.
    pub fn artifacts(&self) -> impl Iterator<Item = &ArtifactRef> {
        std::iter::once(&self.artifact).chain(&self.beside)
    }
}

/// Where an alias sends calls: one revision, or two with a weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Takes everything that the second does not.
    pub primary: RevisionId,
    /// Takes this share of calls, 0.0 to 1.0.
    pub secondary: Option<(RevisionId, f64)>,
}

/// An alias cannot be what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AliasError {
    /// A weight is not a share.
    #[error("weight {0} is not between 0 and 1")]
    Weight(f64),
    /// Both ends are the same revision.
    #[error("both ends of the route are {0}")]
    SameRevision(RevisionId),
}

impl Route {
    /// Everything to one revision.
    #[must_use]
    pub const fn to(primary: RevisionId) -> Self {
        Self {
            primary,
            secondary: None,
        }
    }

    /// A share of calls to a second revision.
    ///
    /// # Errors
    /// [`AliasError`] when the weight is not in 0.0..=1.0 or both revisions are the same.
    pub fn split(primary: RevisionId, secondary: RevisionId, weight: f64) -> Result<Self, AliasError> {
        if !(0.0..=1.0).contains(&weight) {
            return Err(AliasError::Weight(weight));
        }
        if primary == secondary {
            return Err(AliasError::SameRevision(primary));
        }
        Ok(Self {
            primary,
            secondary: Some((secondary, weight)),
        })
    }

    /// The revision for one call; `draw` is uniform in 0.0..1.0.
    #[must_use]
    pub fn pick(&self, draw: f64) -> RevisionId {
        match self.secondary {
            Some((revision, weight)) if draw < weight => revision,
            _ => self.primary,
        }
    }
}

/// A movable, weighted name for revisions of one function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// The function.
    pub function: FunctionId,
    /// The name.
    pub name: AliasName,
    /// Where it points.
    pub route: Route,
    /// The provider's own record.
    pub document: Document,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_become_a_path_or_a_header() {
        for bad in ["", "a b", "a\n", "é", "a%2fb", "a\\b", &"x".repeat(257)] {
            assert!(FunctionName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(FunctionName::parse("my-fn_1").unwrap().as_str(), "my-fn_1");
        assert!(serde_json::from_str::<AliasName>("\"a/b\"").is_err());
    }

    #[test]
    fn a_route_sends_its_share() {
        let (a, b) = (RevisionId::generate(), RevisionId::generate());
        let route = Route::split(a, b, 0.25).unwrap();
        let taken = (0..1000).filter(|i| route.pick(f64::from(*i) / 1000.0) == b).count();
        assert_eq!(taken, 250);
        assert!(Route::split(a, b, 1.5).is_err());
        assert!(Route::split(a, b, f64::NAN).is_err());
        assert!(Route::split(a, a, 0.5).is_err());
        assert_eq!(Route::split(a, b, 1.0).unwrap().pick(0.999), b);
        assert_eq!(Route::split(a, b, 0.0).unwrap().pick(0.0), a);
    }
}
