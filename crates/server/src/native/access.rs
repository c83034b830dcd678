//! Who may use the native API: holders of the token. A page in a browser never holds it, so a host name that is made to
//! point here gains nothing. Without tokens (`--insecure-dev`) browsers' marks and foreign host names are refused instead.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Uri};
use sonagi_api::ErrorCode;
use subtle::ConstantTimeEq as _;

use super::Shared;
use super::answer::Refusal;

/// Who may use the native API.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Those who send the token whose SHA-256 this is.
    Token([u8; 32]),
    /// Every program that reaches a loopback address under a name of this host.
    Open,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Open => "Open",
        })
    }
}

/// Runs before every route, and before the answer that there is none.
pub(super) async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let refusal = match &shared.access {
        Access::Token(digest) => wrong_token(request.headers(), digest),
        Access::Open => foreign(request.headers(), request.uri()),
    };
    match refusal {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

fn wrong_token(headers: &HeaderMap, expected: &[u8; 32]) -> Option<Refusal> {
    let hint = "the token is in the file `token` of the platform's data directory; the command line reads it there or \
                from SONAGI_TOKEN";
    let refuse = |message: &str| Some(Refusal::new(ErrorCode::Unauthorized, message).hint(hint));
    let Some(value) = headers.get(AUTHORIZATION) else {
        return refuse("the native API needs a bearer token");
    };
    // RFC 9110, 11.1: the scheme's name has no case.
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()));
    // Digests are compared, in constant time: neither length nor content of the right token shows in the time taken.
    let right = token.is_some_and(|token| bool::from(crate::token::digest(token).ct_eq(expected)));
    if right {
        None
    } else {
        refuse("the bearer token is not this platform's")
    }
}

fn foreign(headers: &HeaderMap, uri: &Uri) -> Option<Refusal> {
    let refuse = |message: String| Some(Refusal::new(ErrorCode::Forbidden, message));
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    if headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin") {
        return refuse("without tokens, pages in browsers are refused".to_owned());
    }
    let named = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(|host| host.as_str()));
    let host = named.and_then(|host| host.parse::<http::uri::Authority>().ok());
    match host {
        Some(host) if is_loopback_name(host.host()) => None,
        _ => refuse(format!(
            "without tokens, only names of loopback addresses are served, not {:?}",
            named.unwrap_or("")
        )),
    }
}

fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let name = host.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_the_token_opens() {
        let expected = crate::token::digest("sonagi_right");
        let open = |value: &'static str| wrong_token(&headers(&[("authorization", value)]), &expected).is_none();
        assert!(open("Bearer sonagi_right"));
        assert!(open("bearer  sonagi_right"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer sonagi_righ",
            "Bearer sonagi_right2",
            "Basic sonagi_right",
            "sonagi_right",
        ] {
            assert!(!open(wrong), "{wrong:?}");
        }
        assert!(wrong_token(&HeaderMap::new(), &expected).is_some());
    }

    #[test]
    fn without_tokens_browsers_and_foreign_names_stay_out() {
        let open = |pairs: &[(&'static str, &'static str)]| foreign(&headers(pairs), &Uri::from_static("/")).is_none();
        for host in [
            "127.0.0.1:4747",
            "localhost",
            "LOCALHOST:1",
            "a.localhost:80",
            "[::1]:4747",
            "127.9.9.9",
        ] {
            assert!(open(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:4747",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "notlocalhost",
        ] {
            assert!(!open(&[("host", host)]), "{host}");
        }
        assert!(!open(&[]));
        assert!(!open(&[("host", "localhost"), ("origin", "https://evil.example")]));
        assert!(!open(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]));
        assert!(open(&[("host", "localhost"), ("sec-fetch-site", "none")]));
    }
}
