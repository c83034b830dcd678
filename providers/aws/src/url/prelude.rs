//! The beginning of a streamed HTTP answer: a JSON prelude, eight NUL bytes, then the body.
//! Source: "Response streaming" of the Lambda documentation; observed with the Node and Rust runtimes.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::answer::{Status, Structured, Unreadable, headers_of};

/// Content type of an answer that begins with a prelude.
pub(super) const PRELUDE_TYPE: &str = "application/vnd.awslambda.http-integration-response";

/// What separates the prelude from the body.
const DELIMITER: [u8; 8] = [0; 8];

/// Longest prelude, bytes.
const PRELUDE_MAX: usize = 64 * 1024;

/// Status and headers of an answer, and the first bytes of its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) rest: Bytes,
}

/// A prelude that is still coming. Prelude and delimiter may be split anywhere.
#[derive(Debug, Default)]
pub(super) struct Prelude(BytesMut);

impl Prelude {
    /// Takes the next bytes; the head is there once the delimiter is.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn take(&mut self, data: &[u8]) -> Result<Option<Head>, Unreadable> {
        // The delimiter may have begun in the bytes that are here already.
        let from = self.0.len().saturating_sub(DELIMITER.len() - 1);
        self.0.extend_from_slice(data);
        let found = self.0[from..]
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER);
        let Some(at) = found.map(|at| at + from) else {
            return if self.0.len() > PRELUDE_MAX {
                Err(too_long())
            } else {
                Ok(None)
            };
        };
        if at > PRELUDE_MAX {
            return Err(too_long());
        }
        let prelude = self.0.split_to(at);
        let rest = self.0.split_off(DELIMITER.len()).freeze();
        let structured: Structured<'_> =
            serde_json::from_slice(&prelude).map_err(|error| Unreadable(format!("prelude: {error}")))?;
        let status = structured.status_code.map_or(StatusCode::OK, |Status(status)| status);
        let headers = headers_of(&structured, HeaderValue::from_static("application/octet-stream"))?;
        Ok(Some(Head { status, headers, rest }))
    }
}

fn too_long() -> Unreadable {
    Unreadable(format!("the prelude has more than {PRELUDE_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prelude_may_be_split_anywhere() {
        let mut whole = br#"{"statusCode":201,"headers":{"X-A":"1"},"cookies":["c=1"]}"#.to_vec();
        whole.extend([0; 8]);
        whole.extend(b"body\0\0");
        for cut in 0..whole.len() {
            let mut prelude = Prelude::default();
            let mut head = prelude.take(&whole[..cut]).unwrap();
            let mut rest = Vec::new();
            match &mut head {
                Some(head) => {
                    rest.extend(&head.rest);
                    rest.extend(&whole[cut..]);
                }
                None => {
                    head = prelude.take(&whole[cut..]).unwrap();
                    rest.extend(&head.as_ref().unwrap().rest);
                }
            }
            let head = head.unwrap();
            assert_eq!(
                (head.status.as_u16(), rest.as_slice()),
                (201, b"body\0\0".as_slice()),
                "cut at {cut}"
            );
            assert_eq!(
                (&head.headers["x-a"], &head.headers["set-cookie"]),
                (&HeaderValue::from_static("1"), &HeaderValue::from_static("c=1"))
            );
            assert_eq!(head.headers["content-type"], "application/octet-stream");
        }
    }

    #[test]
    fn a_prelude_has_an_end() {
        assert!(Prelude::default().take(&vec![b' '; PRELUDE_MAX + 1]).is_err());
        assert!(Prelude::default().take(b"{]\0\0\0\0\0\0\0\0").is_err());
        assert!(Prelude::default().take(b"{\"statusCode\":200").unwrap().is_none());
    }
}
