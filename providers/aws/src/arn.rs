//! Names of functions as clients write them: bare, with a qualifier, as a partial or a full ARN.
//! Source: "FunctionName" and "Qualifier" in the Lambda API reference; answers recorded from the real service.

use std::fmt;

use sonagi_model::{AliasName, FunctionName, Namespace};

use crate::errors::{Code, LambdaError};
use crate::place::{AccountId, Place, Region};

/// The label of the newest revision.
pub const LATEST: &str = "$LATEST";

/// Which revision of a function is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    /// `$LATEST`.
    Latest,
    /// A published version.
    Version(u64),
    /// An alias.
    Alias(AliasName),
}

impl Qualifier {
    /// Reads a qualifier, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == LATEST {
            return Some(Self::Latest);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number too large for a version is a well-formed name of nothing.
            return (!text.is_empty()).then(|| Self::Version(text.parse().unwrap_or(u64::MAX)));
        }
        AliasName::parse(text).ok().map(Self::Alias)
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Version(number) => number.fmt(f),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

/// A function as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// From an ARN.
    pub account: Option<AccountId>,
    /// From a full ARN.
    pub region: Option<Region>,
    /// Its name.
    pub name: FunctionName,
    /// From `name:qualifier`.
    pub qualifier: Option<Qualifier>,
}

/// The pattern that Lambda shows when a name does not match.
const PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";

/// Longest name of a function, characters.
const NAME_MAX: usize = 64;

/// Checks a bare function name: 1 to 64 letters, digits, `-`, `_`.
#[must_use]
pub fn bare_name(text: &str) -> Option<FunctionName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() > NAME_MAX || !text.bytes().all(allowed) {
        return None;
    }
    FunctionName::parse(text).ok()
}

impl FunctionRef {
    /// Reads any of the four forms.
    ///
    /// # Errors
    /// `ValidationException` in the model's words.
    pub fn parse(text: &str) -> Result<Self, LambdaError> {
        Self::read(text).ok_or_else(|| {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(256).collect();
            LambdaError::new(
                Code::Validation,
                format!(
                    "1 validation error detected: Value '{shown}' at 'functionName' failed to satisfy constraint: Member \
                     must satisfy regular expression pattern: {PATTERN}"
                ),
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (account, region, rest) = match parts.as_slice() {
            ["arn", partition, "lambda", region, account, "function", rest @ ..] if partition.starts_with("aws") => (
                Some(AccountId::parse(account).ok()?),
                Some(Region::parse(region).ok()?),
                rest,
            ),
            [account, "function", rest @ ..] => (Some(AccountId::parse(account).ok()?), None, rest),
            rest => (None, None, rest),
        };
        let (name, qualifier) = match rest {
            [name] => (name, None),
            [name, qualifier] => (name, Some(Qualifier::parse(qualifier)?)),
            _ => return None,
        };
        Some(Self {
            account,
            region,
            name: bare_name(name)?,
            qualifier,
        })
    }

    /// Settles what the request means: `here` is where its credentials are good for, `query` the `Qualifier` of its
    /// query string.
    ///
    /// # Errors
    /// 404 for another region, 400 for two qualifiers that differ or one that is malformed.
    pub fn resolve(self, here: &Place, query: Option<&str>) -> Result<Named, LambdaError> {
        if let Some(region) = &self.region
            && *region != here.region
        {
            let text = format!(
                "Functions from '{region}' are not reachable in this region ('{}')",
                here.region
            );
            return Err(LambdaError::new(Code::ResourceNotFound, text));
        }
        let asked = query.map(parse_query_qualifier).transpose()?;
        let qualifier = match (self.qualifier, asked) {
            (Some(own), Some(asked)) if own != asked => {
                return Err(LambdaError::invalid(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            (own, asked) => own.or(asked),
        };
        let account = self.account.unwrap_or_else(|| here.account.clone());
        Ok(Named {
            place: Place {
                account,
                region: here.region.clone(),
            },
            name: self.name,
            qualifier,
        })
    }
}

fn parse_query_qualifier(text: &str) -> Result<Qualifier, LambdaError> {
    Qualifier::parse(text).ok_or_else(|| {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(256).collect();
        LambdaError::new(
            Code::Validation,
            format!(
                "1 validation error detected: Value '{shown}' at 'qualifier' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"
            ),
        )
    })
}

/// A function of a place, with the qualifier that the request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it lives.
    pub place: Place,
    /// Its name.
    pub name: FunctionName,
    /// The qualifier asked for.
    pub qualifier: Option<Qualifier>,
}

impl Named {
    /// The unqualified ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        of_function(&self.place, &self.name)
    }

    /// The ARN as asked for.
    #[must_use]
    pub fn qualified_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn()),
            None => self.arn(),
        }
    }
}

/// The unqualified ARN of a function.
#[must_use]
pub fn of_function(place: &Place, name: &FunctionName) -> String {
    format!("arn:aws:lambda:{}:{}:function:{name}", place.region, place.account)
}

/// The unqualified ARN of a function by the core's names; the bare name if the namespace is not one of ours.
#[must_use]
pub fn of_names(namespace: &Namespace, name: &FunctionName) -> String {
    Place::of(namespace).map_or_else(|| name.to_string(), |place| of_function(&place, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Place {
        Place {
            account: AccountId::parse("000000000000").unwrap(),
            region: Region::parse("us-east-1").unwrap(),
        }
    }

    #[test]
    fn all_forms_of_a_name_are_read() {
        let alias = |name| Some(Qualifier::Alias(AliasName::parse(name).unwrap()));
        let cases = [
            ("f", None, None),
            ("f:prod", None, alias("prod")),
            ("f:$LATEST", None, Some(Qualifier::Latest)),
            ("123456789012:function:f", Some("123456789012"), None),
            (
                "123456789012:function:f:7",
                Some("123456789012"),
                Some(Qualifier::Version(7)),
            ),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:f",
                Some("123456789012"),
                None,
            ),
            (
                "arn:aws-cn:lambda:us-east-1:123456789012:function:f:a-b",
                Some("123456789012"),
                alias("a-b"),
            ),
        ];
        for (text, account, qualifier) in cases {
            let read = FunctionRef::parse(text).unwrap();
            assert_eq!(read.account.as_ref().map(AccountId::as_str), account, "{text}");
            assert_eq!(read.qualifier, qualifier, "{text}");
            assert_eq!(read.name.as_str(), "f", "{text}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "a b",
            "a/b",
            "../f",
            "f:",
            "f:a:b",
            "f:a.b",
            "12:function:f",
            "arn:aws:s3:::b",
            &long,
        ] {
            let error = FunctionRef::parse(bad).unwrap_err();
            assert_eq!(error.code, Code::Validation, "{bad:?}");
        }
    }

    #[test]
    fn qualifiers_must_agree_and_regions_must_match() {
        let resolve = |text: &str, query| FunctionRef::parse(text).unwrap().resolve(&here(), query);
        assert_eq!(
            resolve("f", Some("1")).unwrap().qualified_arn(),
            "arn:aws:lambda:us-east-1:000000000000:function:f:1"
        );
        assert_eq!(
            resolve("f:1", Some("1")).unwrap().qualifier,
            Some(Qualifier::Version(1))
        );
        assert_eq!(resolve("f:1", Some("2")).unwrap_err().code, Code::InvalidParameterValue);
        assert_eq!(resolve("f", Some("a.b")).unwrap_err().code, Code::Validation);
        let far = resolve("arn:aws:lambda:eu-west-1:000000000000:function:f", None).unwrap_err();
        assert_eq!(
            far.message.unwrap(),
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        );
    }
}
