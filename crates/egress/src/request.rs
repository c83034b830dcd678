//! What an HTTP client asks a proxy for: `CONNECT host:port`, or a request with an absolute `http` address. Pure.
//!
//! Source: RFC 9110 section 7.6.1 and 9.3.6, RFC 9112 section 3.2.

/// Largest head of a request, bytes.
pub(crate) const HEAD_MAX: usize = 32 * 1024;

/// Host name or address, and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A request as it was understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Connect and pass bytes on.
    Tunnel(Target),
    /// Connect, send this head, and pass bytes on. The connection is for this one request.
    Forward(Target, Vec<u8>),
}

/// A request that is none; the text is for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the request line is not one of HTTP/1.1")]
    Line,
    #[error("a proxy takes CONNECT host:port, or an address that begins with http://")]
    Form,
    #[error("a header is malformed")]
    Header,
    #[error("the host is not one")]
    Host,
}

/// Where the head ends, the blank line included.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a head, which ends with a blank line.
pub(crate) fn parse(head: &[u8]) -> Result<Request, RequestError> {
    let text = std::str::from_utf8(head).map_err(|_| RequestError::Header)?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(address), Some(version @ ("HTTP/1.1" | "HTTP/1.0")), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestError::Line);
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err(RequestError::Line);
    }
    if method == "CONNECT" {
        return target(address, None).map(Request::Tunnel);
    }
    let rest = address
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"))
        .and_then(|_| address.get(7..))
        .ok_or(RequestError::Form)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let target = target(authority, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut forwarded = format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\nConnection: close\r\n");
    for line in lines.take_while(|line| !line.is_empty()) {
        // A line that goes on in the next one, or that hides a line end, could mean two things to two readers.
        if line.starts_with([' ', '\t']) || line.contains(['\r', '\n', '\0']) {
            return Err(RequestError::Header);
        }
        let (name, _) = line.split_once(':').ok_or(RequestError::Header)?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(RequestError::Header);
        }
        if !is_for_us(name) {
            forwarded.push_str(line);
            forwarded.push_str("\r\n");
        }
    }
    forwarded.push_str("\r\n");
    Ok(Request::Forward(target, forwarded.into_bytes()))
}

/// Headers between a client and its proxy, and those that are written anew.
fn is_for_us(name: &str) -> bool {
    [
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// `host:port`, `[address]:port`; without a port `default` is meant.
fn target(authority: &str, default: Option<u16>) -> Result<Target, RequestError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(RequestError::Host)?;
            (host, port)
        }
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok(),
        None if port.is_empty() => default,
        None => None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
        return Err(RequestError::Host);
    }
    Ok(Target {
        host: host.to_owned(),
        port: port.filter(|port| *port != 0).ok_or(RequestError::Host)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, port: u16) -> Target {
        Target {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn tunnels_are_understood() {
        for (line, expected) in [
            (
                "CONNECT example.com:443 HTTP/1.1",
                Ok(Request::Tunnel(to("example.com", 443))),
            ),
            (
                "CONNECT [2600::1]:443 HTTP/1.1",
                Ok(Request::Tunnel(to("2600::1", 443))),
            ),
            ("CONNECT example.com HTTP/1.1", Err(RequestError::Host)),
            ("CONNECT example.com:0 HTTP/1.1", Err(RequestError::Host)),
            ("CONNECT a@b:1 HTTP/1.1", Err(RequestError::Host)),
            ("CONNECT example.com:443  HTTP/1.1", Err(RequestError::Line)),
            ("GET / HTTP/1.1", Err(RequestError::Form)),
            ("GET https://example.com/ HTTP/1.1", Err(RequestError::Form)),
            ("GET http://user:x@example.com/ HTTP/1.1", Err(RequestError::Host)),
            ("GET http://example.com/ HTTP/2", Err(RequestError::Line)),
            ("G\tT http://example.com/ HTTP/1.1", Err(RequestError::Line)),
            ("", Err(RequestError::Line)),
        ] {
            assert_eq!(parse(format!("{line}\r\n\r\n").as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn requests_are_passed_on_in_the_form_of_the_origin() {
        let head = "POST http://example.com:8080/a?b HTTP/1.1\r\nHost: other\r\nProxy-Authorization: secret\r\n\
                    Connection: keep-alive\r\nContent-Length: 2\r\n\r\n";
        let expected = "POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(
            parse(head.as_bytes()),
            Ok(Request::Forward(to("example.com", 8080), expected.as_bytes().to_vec()))
        );
        let Ok(Request::Forward(target, head)) = parse(b"GET http://example.com?q HTTP/1.1\r\n\r\n") else {
            panic!("not forwarded");
        };
        assert_eq!(target, to("example.com", 80));
        assert!(head.starts_with(b"GET /?q HTTP/1.1\r\nHost: example.com\r\n"));
        for broken in ["A : b", " folded: x", "no colon", "A: b\nC: d"] {
            let head = format!("GET http://example.com/ HTTP/1.1\r\n{broken}\r\n\r\n");
            assert_eq!(parse(head.as_bytes()), Err(RequestError::Header), "{broken:?}");
        }
    }

    #[test]
    fn the_end_of_a_head_is_found() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nbody"), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }
}
