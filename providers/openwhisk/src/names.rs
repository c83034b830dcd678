//! Names of entities: their form, full names with namespace and package, and how an action's name becomes that of a
//! function of the core.
//! Source: apache/openwhisk (commit 1fae641), `EntityName.scala`, `FullyQualifiedEntityName.scala`.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sonagi_model::{FunctionName, Namespace, TenantId};

use crate::errors::WhiskError;

/// Longest name.
const NAME_MAX: usize = 256;

/// The first part of every namespace of this provider.
pub const PROVIDER: &str = "openwhisk";

/// The namespace of what the platform itself offers.
pub(crate) const SYSTEM: &str = "whisk.system";

/// Stands for the caller's own namespace in paths.
pub(crate) const OWN: &str = "_";

/// Whether a text is a name: `\A([\w]|[\w][\w@ .&-]{0,254}[\w@.&-])\z`.
pub(crate) fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = |c: char| word(c) || matches!(c, '@' | '.' | '&' | '-');
    let length = text.chars().count();
    length <= NAME_MAX && text.starts_with(word) && text.ends_with(inner) && text.chars().all(|c| inner(c) || c == ' ')
}

/// Checks a name.
///
/// # Errors
/// 400 in upstream's words, its spelling included.
pub(crate) fn check(text: &str) -> Result<(), WhiskError> {
    let length = text.chars().count();
    if length > NAME_MAX {
        return Err(WhiskError::bad(format!(
            "Name segement longer than allowed: {length} > {NAME_MAX}."
        )));
    }
    if is_name(text) {
        Ok(())
    } else {
        Err(WhiskError::malformed(format!("'{text}' is not a valid entity name.")))
    }
}

/// An entity with its namespace, and its package if it is in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FullName {
    pub(crate) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<String>,
    pub(crate) name: String,
}

impl FullName {
    pub(crate) fn new(namespace: &str, package: Option<&str>, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            package: package.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// Reads `/ns/name`, `/ns/pkg/name`, with or without the slash in front. `_` is `own`.
    pub(crate) fn parse(text: &str, own: &str) -> Option<Self> {
        let text = text.trim();
        let parts: Vec<&str> = text.strip_prefix('/').unwrap_or(text).split('/').collect();
        let namespace = |text: &str| if text == OWN { own.to_owned() } else { text.to_owned() };
        let (space, package, name) = match parts.as_slice() {
            [space, name] => (*space, None, *name),
            [space, package, name] => (*space, Some((*package).to_owned()), *name),
            _ => return None,
        };
        let valid = is_name(&namespace(space)) && package.as_deref().is_none_or(is_name) && is_name(name);
        valid.then(|| Self {
            namespace: namespace(space),
            package,
            name: name.to_owned(),
        })
    }

    /// Namespace and package: where the entity is shown to be.
    pub(crate) fn path(&self) -> String {
        match &self.package {
            Some(package) => format!("{}/{package}", self.namespace),
            None => self.namespace.clone(),
        }
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.path(), self.name)
    }
}

/// The core's namespace for one of ours.
pub(crate) fn core_namespace(namespace: &str) -> Option<Namespace> {
    Namespace::parse(&format!("{PROVIDER}/{namespace}")).ok()
}

/// The core's tenant for one of our namespaces.
pub(crate) fn tenant(namespace: &str) -> Option<TenantId> {
    TenantId::parse(&format!("{PROVIDER}/{namespace}")).ok()
}

/// Our namespace for one of the core's.
pub(crate) fn own_namespace(namespace: &Namespace) -> Option<&str> {
    namespace.as_str().strip_prefix(PROVIDER)?.strip_prefix('/')
}

/// The core's name for an action. The core knows neither spaces nor `&`, and its names are shorter than a package's and
/// an action's together; the action's own name is in its record.
pub(crate) fn function_name(package: Option<&str>, name: &str) -> FunctionName {
    let mut text = String::new();
    for part in package.into_iter().chain([name]) {
        if !text.is_empty() {
            text.push('/');
        }
        for c in part.chars() {
            match c {
                ' ' => text.push_str("@20"),
                '&' => text.push_str("@26"),
                '@' => text.push_str("@40"),
                _ => text.push(c),
            }
        }
    }
    if text.len() > NAME_MAX {
        let digest = Sha256::digest(text.as_bytes());
        let short: String = text.chars().take(200).collect();
        let hash = u64::from_be_bytes(std::array::from_fn(|at| digest[at]));
        text = format!("{short}@@{hash:016x}");
    }
    FunctionName::parse(&text).expect("only characters of names are left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_upstreams_form() {
        for good in ["a", "_", "a b", "a.b&c-d@e", "9", &"x".repeat(256)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", " a", "a ", "-a", "a/b", "a\n", "é", "$a", &"x".repeat(257)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(
            check(&"x".repeat(257)).unwrap_err().text,
            "Name segement longer than allowed: 257 > 256."
        );
    }

    #[test]
    fn full_names_are_read_in_each_form() {
        let guest = |package, name| Some(FullName::new("guest", package, name));
        assert_eq!(FullName::parse("/_/a", "guest"), guest(None, "a"));
        assert_eq!(FullName::parse("guest/p/a", "x"), guest(Some("p"), "a"));
        assert_eq!(FullName::parse("a", "guest"), None);
        assert_eq!(FullName::parse("/a/b/c/d", "guest"), None);
    }

    #[test]
    fn function_names_differ_where_names_do() {
        let names = [
            function_name(None, "a b"),
            function_name(None, "a@20b"),
            function_name(Some("a"), "b"),
            function_name(None, "a&b"),
            function_name(Some(&"p".repeat(256)), &"x".repeat(256)),
            function_name(Some(&"p".repeat(256)), &"y".repeat(256)),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}
