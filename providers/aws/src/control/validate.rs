//! Constraints of the service model, collected and reported together in the model's own words.
//! Source: answers recorded from the real service; constraints from the service model of botocore 1.44.5.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::errors::{Code, LambdaError};

/// Problems longer than this are cut: a value of a request may be megabytes.
const SHOWN_MAX: usize = 256;

/// Constraints that a request breaks.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<String>);

impl Violations {
    pub(crate) fn add(&mut self, value: &str, member: &str, constraint: &str) {
        let shown: String = value.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
        self.0.push(format!(
            "Value '{shown}' at '{member}' failed to satisfy constraint: {constraint}"
        ));
    }

    /// A number within a range.
    pub(crate) fn range<N: PartialOrd + Display>(&mut self, member: &str, value: Option<N>, range: RangeInclusive<N>) {
        let Some(value) = value else { return };
        let (low, high) = (range.start(), range.end());
        if value < *low {
            self.add(
                &value.to_string(),
                member,
                &format!("Member must have value greater than or equal to {low}"),
            );
        } else if value > *high {
            self.add(
                &value.to_string(),
                member,
                &format!("Member must have value less than or equal to {high}"),
            );
        }
    }

    /// A text of at most so many characters.
    pub(crate) fn longest(&mut self, member: &str, value: Option<&str>, max: usize) {
        if let Some(value) = value
            && value.chars().count() > max
        {
            self.add(
                value,
                member,
                &format!("Member must have length less than or equal to {max}"),
            );
        }
    }

    /// A text of a form; `pattern` is shown, `check` decides.
    pub(crate) fn form(&mut self, member: &str, value: Option<&str>, pattern: &str, check: fn(&str) -> bool) {
        if let Some(value) = value
            && !check(value)
        {
            self.add(
                value,
                member,
                &format!("Member must satisfy regular expression pattern: {pattern}"),
            );
        }
    }

    /// One of a few words.
    pub(crate) fn one_of(&mut self, member: &str, value: Option<&str>, words: &[&str]) {
        if let Some(value) = value
            && !words.contains(&value)
        {
            self.add(
                value,
                member,
                &format!("Member must satisfy enum value set: [{}]", words.join(", ")),
            );
        }
    }

    /// Something that must be there.
    pub(crate) fn required(&mut self, member: &str, given: bool) {
        if !given {
            self.0.push(format!(
                "Value null at '{member}' failed to satisfy constraint: Member must not be null"
            ));
        }
    }

    /// Reports everything found.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn finish(self) -> Result<(), LambdaError> {
        let count = self.0.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        let text = format!("{count} validation error{plural} detected: {}", self.0.join("; "));
        Err(LambdaError::new(Code::Validation, text))
    }
}

/// `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`.
pub(crate) fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, role] = parts.as_slice() else {
        return false;
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&byte);
    let name = role.strip_prefix("role").unwrap_or_default();
    partition.starts_with("aws")
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(allowed)
}

/// The pattern of [`is_role`] as the service shows it.
pub(crate) const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";

/// Something like an ARN of any service: `arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:…`.
pub(crate) fn is_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, service, _, _, rest]
        if partition.starts_with("aws") && !service.is_empty() && !rest.is_empty())
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// `((?!^\d+$)^[0-9a-zA-Z-_]+$)`: an alias, not a version.
pub(crate) fn is_alias(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The pattern of [`is_alias`] as the service shows it.
pub(crate) const ALIAS_PATTERN: &str = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_reported_together() {
        let mut found = Violations::default();
        found.range("timeout", Some(901), 1..=900);
        found.range("memorySize", Some(128), 128..=10_240);
        found.one_of("tracingConfig.mode", Some("x"), &["Active", "PassThrough"]);
        let error = found.finish().unwrap_err();
        assert_eq!(
            error.message.unwrap(),
            "2 validation errors detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value \
             less than or equal to 900; Value 'x' at 'tracingConfig.mode' failed to satisfy constraint: Member must \
             satisfy enum value set: [Active, PassThrough]"
        );
        assert!(Violations::default().finish().is_ok());
    }

    #[test]
    fn forms() {
        for good in [
            "arn:aws:iam::000000000000:role/r",
            "arn:aws-cn:iam::123456789012:role/service-role/a.b@c",
        ] {
            assert!(is_role(good), "{good}");
        }
        for bad in [
            "",
            "role/r",
            "arn:aws:iam::1:role/r",
            "arn:aws:iam::000000000000:user/u",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert!(!is_role(bad), "{bad}");
        }
        for (text, alias) in [
            ("a", true),
            ("1a", true),
            ("1", false),
            ("", false),
            ("$LATEST", false),
            ("a.b", false),
        ] {
            assert_eq!(is_alias(text), alias, "{text}");
        }
    }
}
