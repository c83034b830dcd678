//! Headers that must not cross a proxy, and headers that a function may not write.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};

/// A header that a function asked for cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// The name is no token.
    #[error("header name {0:?} is not a token")]
    Name(String),
    /// The value has a line break, a NUL or another control character.
    #[error("value of header {0:?} has a control character")]
    Value(String),
}

/// Removes the headers that belong to one connection only, those that `Connection` names included.
/// Source: RFC 9110, 7.6.1.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
    ] {
        headers.remove(name);
    }
}

/// Checks a header that a function wrote.
///
/// # Errors
/// [`HeaderProblem`] when it could not be sent as it is.
pub fn safe_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderProblem> {
    let parsed = name
        .parse::<HeaderName>()
        .map_err(|_| HeaderProblem::Name(name.to_owned()))?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| HeaderProblem::Value(name.to_owned()))?;
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_go_with_those_they_name() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-gone"),
            ("x-gone", "1"),
            ("x-stays", "1"),
            ("te", "trailers"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-stays"]);
    }

    #[test]
    fn nothing_can_be_injected() {
        for (name, value) in [("a b", "1"), ("", "1"), ("a\r\n", "1"), ("a:", "1")] {
            assert!(
                matches!(safe_header(name, value), Err(HeaderProblem::Name(_))),
                "{name:?}"
            );
        }
        for value in ["a\r\nSet-Cookie: b", "a\nb", "a\0b"] {
            assert!(
                matches!(safe_header("x", value), Err(HeaderProblem::Value(_))),
                "{value:?}"
            );
        }
        assert!(safe_header("X-Ok", "tab\tand space").is_ok());
    }
}
