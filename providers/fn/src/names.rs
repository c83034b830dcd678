//! Names: their form, and how an app's function is named in the core.
//! Source: fnproject/fn 0.3.753, `api/models/app.go`, `fn.go`, `trigger.go`.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use sonagi_model::{FunctionName, Namespace, TenantId};

/// The first part of every namespace of this provider.
pub const PROVIDER: &str = "fn";

/// Longest name of an app, function or trigger, bytes.
pub(crate) const NAME_MAX: usize = 255;

/// Whether a text may name an app or a trigger, its length aside.
pub(crate) fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

/// Whether a text may name a function, its length aside: it is the same in a segment of a path.
pub(crate) fn is_segment(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~$&+=:@".contains(c);
    text.chars().all(plain)
}

/// The core's namespace of an account.
pub(crate) fn core_namespace(account: &str) -> Option<Namespace> {
    Namespace::parse(&format!("{PROVIDER}/{account}")).ok()
}

/// The core's tenant of an account.
pub(crate) fn tenant(account: &str) -> Option<TenantId> {
    TenantId::parse(&format!("{PROVIDER}/{account}")).ok()
}

/// The account of one of the core's namespaces.
pub(crate) fn account_of(namespace: &Namespace) -> Option<&str> {
    namespace.as_str().strip_prefix(PROVIDER)?.strip_prefix('/')
}

/// The core's name of an app's function: `APP/FUNCTION`. What the core's names cannot hold is written as `@` and its
/// bytes; a name that becomes too long is cut and ends in its digest.
pub(crate) fn function_name(app: &str, function: &str) -> FunctionName {
    let mut text = String::new();
    escape(app, &mut text);
    text.push('/');
    escape(function, &mut text);
    if text.len() > 256 {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        text.truncate(256 - 33);
        text.push('@');
        text.push_str(&digest[..32]);
    }
    FunctionName::parse(&text).expect("only characters that the core's names have, and not too many")
}

fn escape(name: &str, text: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(text, "@{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_forms() {
        assert!(is_word("my_app-1") && is_word("é") && !is_word("a b") && !is_word("a/b") && !is_word("a.b"));
        assert!(is_segment("a.b~c@d") && !is_segment("a b") && !is_segment("é") && !is_segment("a/b"));
    }

    #[test]
    fn different_functions_have_different_names_in_the_core() {
        let of = |app: &str, function: &str| function_name(app, function).to_string();
        assert_eq!(of("shop", "hello.v1"), "shop/hello.v1");
        assert_eq!(of("a", "b@40"), "a/b@4040");
        let long = "x".repeat(255);
        assert_eq!(of(&long, "a").len(), 256);
        assert_ne!(of(&long, "a"), of(&long, "b"));
    }
}
