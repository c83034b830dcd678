//! Framing of `application/vnd.amazon.eventstream`.
//! Source: "Event stream encoding" of the AWS SDK documentation; decoded by botocore 1.44.5.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of one message besides headers and payload: two lengths, two checksums.
const FIXED: usize = 16;

/// Type of a header value that is a string.
const STRING: u8 = 7;

/// A message of the stream: an event of this type and content type.
pub(super) fn message(event_type: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let headers = [
        (":message-type", "event"),
        (":event-type", event_type),
        (":content-type", content_type),
    ];
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 1 + 2 + value.len())
        .sum();
    let total = FIXED + header_bytes + payload.len();
    let mut message = BytesMut::with_capacity(total);
    message.put_u32(u32::try_from(total).expect("parts of an answer are far smaller than 4 GiB"));
    message.put_u32(u32::try_from(header_bytes).expect("three short headers"));
    message.put_u32(crc32fast::hash(&message));
    for (name, value) in headers {
        message.put_u8(u8::try_from(name.len()).expect("our own names are short"));
        message.put_slice(name.as_bytes());
        message.put_u8(STRING);
        message.put_u16(u16::try_from(value.len()).expect("our own values are short"));
        message.put_slice(value.as_bytes());
    }
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodable by botocore's `EventStreamBuffer`, checked by the integration tests; here the layout is pinned.
    #[test]
    fn a_message_has_its_lengths_and_checksums() {
        let message = message("PayloadChunk", "application/octet-stream", b"hello");
        assert_eq!(
            u32::from_be_bytes(message[0..4].try_into().unwrap()) as usize,
            message.len()
        );
        let headers = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
        assert_eq!(&message[12 + headers..message.len() - 4], b"hello");
        assert_eq!(
            u32::from_be_bytes(message[8..12].try_into().unwrap()),
            crc32fast::hash(&message[..8])
        );
        let end = message.len() - 4;
        assert_eq!(
            u32::from_be_bytes(message[end..].try_into().unwrap()),
            crc32fast::hash(&message[..end])
        );
    }
}
