//! JSON texts that are looked at without being built: checked, compacted, borrowed.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A text that is borrowed from its document where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Checks that the bytes are one JSON value; says what is wrong.
///
/// # Errors
/// What and where.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Removes white space outside of strings from a valid document. Nothing is copied if there is none.
pub(crate) fn compact(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut outside = Outside::default();
    if !bytes.iter().any(|byte| outside.takes(*byte) && is_space(*byte)) {
        return Cow::Borrowed(bytes);
    }
    let mut outside = Outside::default();
    Cow::Owned(
        bytes
            .iter()
            .copied()
            .filter(|byte| !(outside.takes(*byte) && is_space(*byte)))
            .collect(),
    )
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Follows a document byte by byte.
#[derive(Default)]
struct Outside {
    in_string: bool,
    escaped: bool,
}

impl Outside {
    /// Takes the next byte; says whether it is outside of strings.
    const fn takes(&mut self, byte: u8) -> bool {
        if !self.in_string {
            self.in_string = byte == b'"';
            return true;
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_values_are_json() {
        for good in ["{}", "[]", "null", "1", "\"a\"", " {\"a\": [1, 2]} \n", "true"] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "{", "{}x", "nul", "{'a':1}", "[1,]", "{\"a\"}", "\"\u{1}\""] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(b"\"\xff\"").is_err());
        assert!(
            check("[".repeat(100_000).as_bytes()).is_err(),
            "deep nesting must not use up the stack"
        );
    }

    #[test]
    fn white_space_in_strings_stays() {
        let text = br#"{ "a b" : [ 1 , "c \" d" ] , "e\\" : " " }"#;
        assert_eq!(&*compact(text), br#"{"a b":[1,"c \" d"],"e\\":" "}"#);
        assert!(matches!(compact(b"{\"a\":\" \"}"), Cow::Borrowed(_)));
    }
}
