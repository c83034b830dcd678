//! A stream of log lines: newline-delimited JSON, as long as the platform sends.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::ClientError;
use crate::LogLine;

/// Longest line of the stream, bytes. The platform cuts functions' lines at 64 KiB; JSON may make six bytes of one.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// At or after this moment.
    pub since: Option<String>,
    /// The last so many; `None`: 100; at most 10 000.
    pub limit: Option<usize>,
    /// Of this invocation only.
    pub invocation: Option<String>,
    /// Go on with lines as they come.
    pub follow: bool,
}

/// Lines as they arrive.
#[derive(Debug)]
pub struct LogStream {
    body: Incoming,
    buffer: LineBuffer,
    endpoint: String,
}

impl LogStream {
    pub(super) fn new(body: Incoming, endpoint: String) -> Self {
        Self {
            body,
            buffer: LineBuffer::default(),
            endpoint,
        }
    }

    /// The next line; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::Foreign`].
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            if let Some(line) = self.buffer.take_line() {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| self.foreign(error.to_string()));
            }
            let Some(frame) = self.body.frame().await else {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(self.foreign("a cut line".to_owned()))
                };
            };
            let frame = frame.map_err(|error| ClientError::Broken {
                endpoint: self.endpoint.clone(),
                source: Box::new(error),
            })?;
            if let Ok(bytes) = frame.into_data()
                && !self.buffer.push(&bytes)
            {
                return Err(self.foreign(format!("a line of more than {LINE_BYTES_MAX} bytes")));
            }
        }
    }

    fn foreign(&self, what: String) -> ClientError {
        ClientError::Foreign {
            endpoint: self.endpoint.clone(),
            what,
        }
    }
}

/// Bytes cut into lines.
#[derive(Debug, Default)]
struct LineBuffer {
    bytes: BytesMut,
    /// No line end is before this position.
    searched: usize,
}

impl LineBuffer {
    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes more bytes; `false` if a line has become too long.
    fn push(&mut self, bytes: &Bytes) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.bytes.len() <= LINE_BYTES_MAX || self.bytes.contains(&b'\n')
    }

    /// The first whole line that is not empty, without its end.
    fn take_line(&mut self) -> Option<BytesMut> {
        loop {
            let Some(found) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let line = self.bytes.split_to(self.searched + found);
            self.bytes.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_over_frames() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for part in ["ab", "c\n\n", "d", "", "\ne\nf"] {
            assert!(buffer.push(&Bytes::from_static(part.as_bytes())));
            lines.extend(std::iter::from_fn(|| buffer.take_line()));
        }
        assert_eq!(lines, ["abc", "d", "e"]);
        assert!(!buffer.is_empty(), "the last line has no end");
        assert!(!buffer.push(&Bytes::from(vec![b'x'; LINE_BYTES_MAX])));
    }
}
