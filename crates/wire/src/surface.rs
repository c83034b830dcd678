//! A provider's part of the one address: which requests are its own, and what answers them.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;

use crate::Body;

/// The head of a request, for deciding whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The protocol's version.
    pub version: Version,
}

/// A request does not say properly which host it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostProblem {
    /// No `Host`, or several.
    #[error("a request needs exactly one Host header")]
    Count,
    /// The value of `Host` is none.
    #[error("the Host header is not a host name or address with an optional port")]
    Form,
    /// The target names one host, `Host` another.
    #[error("the Host header differs from the host in the target")]
    Differs,
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            version: request.version(),
        }
    }
}

impl<'a> Head<'a> {
    /// Checks that the request names one host, once and soundly: whoever routes by it must not be told two.
    /// Sources: RFC 9112, 3.2 (one `Host`; HTTP/1.0 may have none); RFC 9113, 8.3.1 (`:authority` and `Host` agree).
    ///
    /// # Errors
    /// [`HostProblem`].
    pub fn check_host(&self) -> Result<(), HostProblem> {
        let mut hosts = self.headers.get_all(http::header::HOST).iter();
        let target = self.uri.authority().map(Authority::as_str);
        match (hosts.next(), hosts.next(), target) {
            (Some(host), None, target) => {
                let host = host.as_bytes();
                if !is_host(host) {
                    return Err(HostProblem::Form);
                }
                match target {
                    Some(target) if !host.eq_ignore_ascii_case(target.as_bytes()) => Err(HostProblem::Differs),
                    Some(_) | None => Ok(()),
                }
            }
            (None, _, Some(target)) if !is_host(target.as_bytes()) => Err(HostProblem::Form),
            (None, _, Some(_)) => Ok(()),
            (None, _, None) if self.version < Version::HTTP_11 => Ok(()),
            (None, _, None) | (Some(_), Some(_), _) => Err(HostProblem::Count),
        }
    }

    /// The host that is asked, without its port.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        let host = match self.headers.get(http::header::HOST) {
            Some(host) => host.to_str().ok()?,
            None => return self.uri.host(),
        };
        // An IPv6 address in brackets has colons of its own.
        let end = match host.rfind(']') {
            Some(bracket) => bracket + 1,
            None => host.find(':').unwrap_or(host.len()),
        };
        Some(&host[..end])
    }
}

/// How a request belongs to a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// By its host name: whatever its path, even one that is otherwise the platform's own.
    Host,
    /// By its path or what it carries: unless the platform itself has that path.
    Path,
    /// It is somebody else's.
    None,
}

/// Answers the requests of one provider's clients.
#[async_trait]
pub trait Surface: Send + Sync + fmt::Debug {
    /// Whether a request is this surface's own. Asked for every request: looks at the head only and waits for nothing.
    fn claim(&self, head: &Head<'_>) -> Claim;

    /// Answers a request that was claimed.
    async fn serve(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body>;
}

/// Whether this is `HOST` or `HOST:PORT`: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) if text.last() != Some(&b']') => (&text[..colon], &text[colon + 1..]),
        Some(_) | None => (text, &b"0"[..]),
    };
    let sound = match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty() && inner.iter().all(|c| c.is_ascii_hexdigit() || b":.".contains(c))
        }
        name => name.iter().all(|c| c.is_ascii_alphanumeric() || b"-._~".contains(c)),
    };
    sound && !host.is_empty() && host.len() <= 255 && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let check = |version: Version, uri: &str, hosts: &[&str]| {
            let mut request = Request::new(());
            *request.uri_mut() = uri.parse().unwrap();
            *request.version_mut() = version;
            for host in hosts {
                request.headers_mut().append("host", host.parse().unwrap());
            }
            Head::from(&request).check_host()
        };
        let one = |host: &str| check(Version::HTTP_11, "/", &[host]);
        for host in [
            "a",
            "a.localhost:4747",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "a_b~c.d-e",
            "a:",
        ] {
            assert_eq!(one(host), Ok(()), "{host}");
        }
        for host in [
            "", "x y", "a/b", "a@b", "a:b", "a,b", "a:123456", "[::1", "[]", "[x]", "a?b", "%61", "::1",
        ] {
            assert_eq!(one(host), Err(HostProblem::Form), "{host}");
        }
        for (version, uri, hosts, expected) in [
            (Version::HTTP_11, "/", &[][..], Err(HostProblem::Count)),
            (Version::HTTP_11, "/", &["a", "a"], Err(HostProblem::Count)),
            (Version::HTTP_10, "/", &[], Ok(())),
            (Version::HTTP_10, "/", &["a", "b"], Err(HostProblem::Count)),
            (Version::HTTP_11, "http://a:1/", &["A:1"], Ok(())),
            (Version::HTTP_11, "http://a/", &["b"], Err(HostProblem::Differs)),
            (Version::HTTP_2, "http://a/", &[], Ok(())),
            (Version::HTTP_2, "http://u@a/", &[], Err(HostProblem::Form)),
        ] {
            assert_eq!(check(version, uri, hosts), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn the_host_is_found_without_its_port() {
        for (header, uri, expected) in [
            (Some("a.localhost:4747"), "/x", Some("a.localhost")),
            (Some("[::1]:80"), "/x", Some("[::1]")),
            (Some("plain"), "/x", Some("plain")),
            (None, "http://b:1/x", Some("b")),
            (None, "/x", None),
        ] {
            let mut request = Request::new(());
            *request.uri_mut() = uri.parse().unwrap();
            if let Some(header) = header {
                request.headers_mut().insert("host", header.parse().unwrap());
            }
            assert_eq!(Head::from(&request).host(), expected);
        }
    }
}
