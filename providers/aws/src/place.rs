//! Where a function lives: an account in a region, and how the core's names say it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sonagi_model::{Namespace, TenantId};

/// The provider's short name: the first part of its namespaces and tenants.
pub const PROVIDER: &str = "aws";

/// The text is no account id or no region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParsePlaceError {
    /// What was given.
    pub text: String,
    /// What was expected.
    pub expected: &'static str,
}

/// Twelve digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Box<str>);

/// For instance `us-east-1`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(Box<str>);

impl AccountId {
    /// Checks and wraps the text.
    ///
    /// # Errors
    /// [`ParsePlaceError`] unless it is twelve digits.
    pub fn parse(text: &str) -> Result<Self, ParsePlaceError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(text.into()));
        }
        Err(ParsePlaceError {
            text: text.to_owned(),
            expected: "an account id of twelve digits",
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The core's name of this owner.
    ///
    /// # Panics
    /// Never: twelve digits fit a tenant's name.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        TenantId::parse(&format!("{PROVIDER}/{self}")).expect("an account id fits a tenant's name")
    }

    /// The principal that stands for the whole account.
    #[must_use]
    pub fn root_arn(&self) -> String {
        format!("arn:aws:iam::{self}:root")
    }
}

impl Region {
    /// Checks and wraps the text.
    ///
    /// # Errors
    /// [`ParsePlaceError`] unless it is 3 to 32 lower-case letters, digits and inner `-`, beginning with a letter.
    pub fn parse(text: &str) -> Result<Self, ParsePlaceError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (3..=32).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(allowed);
        if good {
            return Ok(Self(text.into()));
        }
        Err(ParsePlaceError {
            text: text.to_owned(),
            expected: "a region such as us-east-1",
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
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

        impl TryFrom<String> for $name {
            type Error = ParsePlaceError;

            fn try_from(text: String) -> Result<Self, ParsePlaceError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }
    )*};
}

text!(AccountId, Region);

/// An account in a region: the scope in which function names are unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

impl Place {
    /// The core's name of this place: `aws/ACCOUNT/REGION`.
    ///
    /// # Panics
    /// Never: account and region fit a namespace.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        let Self { account, region } = self;
        Namespace::parse(&format!("{PROVIDER}/{account}/{region}")).expect("account and region fit a namespace")
    }

    /// The place that a namespace stands for, if it is one of ours.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Option<Self> {
        let mut parts = namespace.as_str().split('/');
        let (provider, account, region) = (parts.next()?, parts.next()?, parts.next()?);
        if provider != PROVIDER || parts.next().is_some() {
            return None;
        }
        Some(Self {
            account: AccountId::parse(account).ok()?,
            region: Region::parse(region).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_namespaces_are_the_same_thing() {
        let place = Place {
            account: AccountId::parse("000000000000").unwrap(),
            region: Region::parse("us-east-1").unwrap(),
        };
        assert_eq!(place.namespace().as_str(), "aws/000000000000/us-east-1");
        assert_eq!(place.account.tenant().as_str(), "aws/000000000000");
        assert_eq!(Place::of(&place.namespace()), Some(place));
        for foreign in [
            "aws/000000000000",
            "fn/000000000000/us-east-1",
            "aws/1/us-east-1",
            "aws/000000000000/us-east-1/x",
        ] {
            assert_eq!(Place::of(&Namespace::parse(foreign).unwrap()), None, "{foreign}");
        }
        for bad in ["", "us", "US-EAST-1", "us/east", "us-", "1us-east"] {
            assert!(Region::parse(bad).is_err(), "{bad:?}");
        }
        assert!(AccountId::parse("00000000000a").is_err());
    }
}
