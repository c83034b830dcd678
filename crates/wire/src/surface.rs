//! A provider's part of the one address: which requests are its own, and what answers them.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::{HeaderMap, Method, Request, Response, Uri};
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
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }
    }
}

impl<'a> Head<'a> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
