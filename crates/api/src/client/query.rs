//! Paths and queries, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters is encoded, in a path segment and in a query value alike.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In which namespace a name is meant. Without anything: that of the first account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The namespace itself.
    pub namespace: Option<String>,
    /// A provider, for its first account's namespace.
    pub provider: Option<String>,
    /// An account, for its namespace.
    pub account: Option<String>,
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this function only.
    pub function: Option<String>,
    /// Begun at or after this moment.
    pub since: Option<String>,
    /// Failed ones only.
    pub failed: bool,
    /// At most so many; `None`: 50; at most 1000.
    pub limit: Option<usize>,
}

/// A path below the prefix, being put together.
#[derive(Debug)]
pub(super) struct Path {
    text: String,
    queried: bool,
}

impl Path {
    /// Begins with fixed text.
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            queried: false,
        }
    }

    /// A function's path.
    pub(super) fn function(name: &str) -> Self {
        Self::new("/functions").segment(name)
    }

    /// Adds one segment, whatever characters it has.
    pub(super) fn segment(mut self, segment: &str) -> Self {
        // A segment of dots would be taken for a step in the tree.
        let encoded = utf8_percent_encode(segment, RESERVED).to_string();
        self.text.push('/');
        self.text.push_str(&if segment.bytes().all(|byte| byte == b'.') {
            encoded.replace('.', "%2E")
        } else {
            encoded
        });
        self
    }

    /// Adds fixed text.
    pub(super) fn then(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a query parameter, if there is a value.
    pub(super) fn query(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.text.push(if self.queried { '&' } else { '?' });
            self.queried = true;
            self.text.push_str(name);
            self.text.push('=');
            self.text.extend(utf8_percent_encode(value, RESERVED));
        }
        self
    }

    /// Adds the scope's parameters.
    pub(super) fn scope(self, scope: &Scope) -> Self {
        self.query("namespace", scope.namespace.as_deref())
            .query("provider", scope.provider.as_deref())
            .query("account", scope.account.as_deref())
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let scope = Scope {
            namespace: Some("p/t&x=1".to_owned()),
            ..Scope::default()
        };
        let path = Path::function("a/b?c")
            .then("/invoke")
            .scope(&scope)
            .query("qualifier", Some("$L"))
            .finish();
        assert_eq!(
            path,
            "/functions/a%2Fb%3Fc/invoke?namespace=p%2Ft%26x%3D1&qualifier=%24L"
        );
        assert_eq!(Path::function("..").finish(), "/functions/%2E%2E");
        assert_eq!(Path::new("/runs").query("a", None).finish(), "/runs");
    }
}
