//! What a session hands to the invoker beside the body of an answer: its head. The core carries the two as one.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes that say how long the head is.
const PREFIX: usize = 4;

/// Head and body as one: a length (32 bits, little-endian), then that many bytes of lines `name:value`, then the body.
pub(super) fn seal(headers: &HeaderMap, body: &[u8]) -> Bytes {
    let length: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2)
        .sum();
    let mut sealed = BytesMut::with_capacity(PREFIX + length + body.len());
    // A head is bounded far below 4 GiB.
    sealed.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    for (name, value) in headers {
        sealed.put_slice(name.as_str().as_bytes());
        sealed.put_u8(b':');
        sealed.put_slice(value.as_bytes());
        sealed.put_u8(b'\n');
    }
    sealed.put_slice(body);
    sealed.freeze()
}

/// The two apart; `None` for what [`seal`] did not make.
pub(crate) fn open(sealed: &Bytes) -> Option<(HeaderMap, Bytes)> {
    let length = u32::from_le_bytes(sealed.get(..PREFIX)?.try_into().ok()?) as usize;
    let head = sealed.get(PREFIX..PREFIX + length)?;
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some((headers, sealed.slice(PREFIX + length..)))
}

/// How much longer an answer becomes, at most, for a head of so many bytes.
pub(crate) const fn overhead(head: usize) -> usize {
    PREFIX + head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_body_come_apart_again() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("set-cookie", "a=1; b: c"), ("set-cookie", "d"), ("x", "")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for body in [&b""[..], b"\n:", b"text"] {
            let (head, rest) = open(&seal(&headers, body)).unwrap();
            assert_eq!((head, &rest[..]), (headers.clone(), body));
        }
        assert!(open(&Bytes::from_static(b"\xff\xff\xff\xff")).is_none());
        assert!(open(&Bytes::from_static(b"a")).is_none());
    }
}
