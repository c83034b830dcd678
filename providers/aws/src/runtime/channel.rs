//! The channel between the platform and our own bootstraps: frames over a Unix stream socket, or over two, one for each
//! way ([`Dialect`]).
//!
//! A frame is the length of what follows it (32 bits), one byte that says what it is, and the rest. Numbers are
//! little-endian, texts UTF-8.
//!
//! To the function, first where there are two sockets: `A`, with nothing in it; the socket for its own frames comes with
//! it (`SCM_RIGHTS`). Then `E`, an event: its id (36 bytes), the deadline in milliseconds since 1970 (64 bits), the lengths of
//! five texts (16 bits: trace, ARN as invoked, tenant; 32 bits: client context, Cognito identity), the texts, the
//! event. A text of length 0 is absent; an absent ARN means the same one as before. `M` is the same with the event in another
//! form ([`marshal`]).
//!
//! From the function:
//!
//! | frame | meaning | rest |
//! | --- | --- | --- |
//! | `N` | ready for an event | nothing |
//! | `R` `r` | answer; `R` asks for the next event as well | content type, body |
//! | `F` `f` | error; `F` asks for the next event as well | error type, body |
//! | `I` | it cannot start | error type, body |
//! | `S` | a streamed answer begins | content type |
//! | `D` | part of it | bytes |
//! | `Z` | its end | nothing |
//! | `X` | its end, with an error | error type, body |
//!
//! Content type and error type have a length before them (16 bits); 0 means `application/json`, or no type.
//!
//! The peer is function code: lengths are bounded before anything is kept, and a frame that is not allowed ends the
//! conversation.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf as _, Bytes, BytesMut};
use sonagi_model::FunctionError;
use sonagi_ports::Call;

use super::quiet::QuietStream;
use super::{attributes, marshal};

/// Bytes before a frame's rest.
const HEAD: usize = 5;
/// Room of the buffer between frames.
const BUFFER: usize = 8 * 1024;
/// Room below which a read is not worth its call.
const LEAST: usize = 1024;
/// Bytes of a frame beside the answer in it: content type or error type.
const BESIDE: usize = 16 * 1024;
/// Largest part of a streamed answer; our bootstraps send at most a quarter of that.
const PART: usize = 1024 * 1024;
/// Bytes of an event frame before its texts.
const EVENT_HEAD: usize = HEAD + 36 + 8 + 3 * 2 + 2 * 4;

/// What a function said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Ready,
    Answer {
        answer: Result<Typed, FunctionError>,
        asks: bool,
    },
    /// An answer over the limit; it was not kept.
    TooLarge {
        asks: bool,
    },
    CannotStart(FunctionError),
    StreamBegins(Option<String>),
    Part(Bytes),
    StreamEnds(Option<FunctionError>),
}

/// A body and what it is; none: JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

/// What the other side wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Frames of both sides go through one socket, events are JSON.
    Plain,
    /// It waits for events by sleeping in a read, so answers come through a socket of their own (see
    /// [`QuietStream::with_way_back`]); events are marshalled where they can be.
    Python,
}

/// The first frame where there are two sockets.
const ANSWER_HERE: &[u8] = b"\x01\0\0\0A";

/// Why nothing more is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The other side has closed, or its process is gone.
    End,
    /// It sent what is not allowed.
    Violation(&'static str),
}

/// Our end of a channel.
#[derive(Debug)]
pub(super) struct Line {
    /// Until it is closed.
    stream: Option<QuietStream>,
    buffer: BytesMut,
    /// Largest whole answer.
    limit: usize,
    /// The function waits for an event.
    pub(super) asked: bool,
    /// An event is out, or a frame half written: whoever finds this has lost the order.
    pub(super) busy: bool,
    /// The ARN that the function knows.
    arn: String,
    dialect: Dialect,
}

impl Line {
    /// Takes a non-blocking socket over. To be called on a tokio runtime.
    pub(super) fn new(stream: StdUnixStream, dialect: Dialect, limit: usize) -> io::Result<Self> {
        let stream = match dialect {
            Dialect::Plain => QuietStream::new(stream)?,
            Dialect::Python => QuietStream::with_way_back(stream, ANSWER_HERE)?,
        };
        Ok(Self {
            stream: Some(stream),
            buffer: BytesMut::new(),
            limit,
            asked: false,
            busy: false,
            arn: String::new(),
            dialect,
        })
    }

    /// Ends the conversation: the function sees the end of the channel.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// The next frame. Cancel safe.
    pub(super) async fn hear(&mut self) -> Result<Said, Silence> {
        self.fill(HEAD).await?;
        let (size, kind) = match self.buffer.first_chunk::<HEAD>() {
            Some([a, b, c, d, kind]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, *kind),
            None => return Err(Silence::End),
        };
        let Some(size) = size.checked_sub(1) else {
            return Err(Silence::Violation("an empty frame"));
        };
        if matches!(kind, b'R' | b'r' | b'F' | b'f') && size > self.limit.saturating_add(BESIDE) {
            self.skip(HEAD + size).await?;
            return Ok(Said::TooLarge {
                asks: kind.is_ascii_uppercase(),
            });
        }
        let most = match kind {
            b'R' | b'r' | b'F' | b'f' | b'I' | b'X' => self.limit.saturating_add(BESIDE),
            b'D' => PART,
            b'S' => BESIDE,
            b'N' | b'Z' => 0,
            _ => return Err(Silence::Violation("an unknown frame")),
        };
        if size > most {
            return Err(Silence::Violation("a frame over its limit"));
        }
        self.fill(HEAD + size).await?;
        let mut frame = self.buffer.split_to(HEAD + size).freeze();
        frame.advance(HEAD);
        self.understand(kind, frame)
    }

    fn understand(&self, kind: u8, mut rest: Bytes) -> Result<Said, Silence> {
        let asks = kind.is_ascii_uppercase();
        let said = match kind {
            b'N' => Said::Ready,
            b'R' | b'r' => {
                let content_type = text(&mut rest)?;
                if rest.len() > self.limit {
                    return Ok(Said::TooLarge { asks });
                }
                let answer = Ok(Typed {
                    content_type,
                    body: rest,
                });
                Said::Answer { answer, asks }
            }
            b'F' | b'f' => match error(rest)? {
                error if error.body.len() > self.limit => Said::TooLarge { asks },
                error => Said::Answer {
                    answer: Err(error),
                    asks,
                },
            },
            b'I' => Said::CannotStart(error(rest)?),
            b'S' => Said::StreamBegins(text(&mut rest)?),
            b'D' => Said::Part(rest),
            b'Z' => Said::StreamEnds(None),
            _ => Said::StreamEnds(Some(error(rest)?)),
        };
        Ok(said)
    }

    /// Reads until there are so many bytes.
    async fn fill(&mut self, bytes: usize) -> Result<(), Silence> {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            // Answers that were given out are parts of the same piece of memory: a new one is taken when it is used up.
            if self.buffer.capacity() - self.buffer.len() < missing.max(LEAST) {
                self.buffer.reserve(missing.max(BUFFER));
            }
            let Some(stream) = &mut self.stream else {
                return Err(Silence::End);
            };
            match stream.read(&mut self.buffer).await {
                Ok(0) => return Err(Silence::End),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a channel of an instance broke");
                    return Err(Silence::End);
                }
            }
        }
        Ok(())
    }

    /// Reads so many bytes and keeps none.
    async fn skip(&mut self, bytes: usize) -> Result<(), Silence> {
        let mut left = bytes;
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill(1).await?;
        }
    }

    /// Sends an event. An error means that the function did not get it whole.
    pub(super) async fn tell(
        &mut self,
        call: &Call,
        function_arn: &str,
        new_trace: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let mut frame = self.event_head(call, function_arn, new_trace);
        let marshalled = match self.dialect {
            Dialect::Plain => false,
            Dialect::Python => marshal::append(&call.payload, &mut frame),
        };
        let rest = if marshalled { &[][..] } else { &call.payload };
        let length = u32::try_from(frame.len() - 4 + rest.len()).unwrap_or(u32::MAX);
        if let Some((size, [kind, ..])) = frame.split_first_chunk_mut::<4>() {
            *size = length.to_le_bytes();
            *kind = if marshalled { b'M' } else { b'E' };
        }
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        stream.write(&frame, rest).await
    }

    /// Everything before the event; its length and what it is are still missing.
    fn event_head(&mut self, call: &Call, function_arn: &str, new_trace: impl FnOnce() -> String) -> Vec<u8> {
        let given = |key| call.attributes.get(key).filter(|value| !value.is_empty());
        let arn = given(attributes::INVOKED_ARN).unwrap_or(function_arn);
        let told = if arn == self.arn { "" } else { arn };
        let new = given(attributes::TRACE_ID)
            .is_none()
            .then(new_trace)
            .unwrap_or_default();
        let trace = given(attributes::TRACE_ID).unwrap_or(&new);
        let tenant = given(attributes::TENANT_ID).unwrap_or_default();
        let context = given(attributes::CLIENT_CONTEXT).unwrap_or_default();
        let identity = given(attributes::COGNITO_IDENTITY).unwrap_or_default();
        // Each came in a header, and a request's head is bounded far below these.
        let (trace, told, tenant) = (short(trace), short(told), short(tenant));
        let texts = [trace, told, tenant, context, identity];
        let mut head = Vec::with_capacity(EVENT_HEAD + 256);
        head.extend_from_slice(&[0; HEAD]);
        let mut id = [0; 36];
        head.extend_from_slice(
            call.invocation
                .as_uuid()
                .as_hyphenated()
                .encode_lower(&mut id)
                .as_bytes(),
        );
        head.extend_from_slice(&call.deadline.as_millis().to_le_bytes());
        for text in [trace, told, tenant] {
            head.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        }
        for text in [context, identity] {
            head.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        }
        for text in texts {
            head.extend_from_slice(text.as_bytes());
        }
        if !told.is_empty() {
            arn.clone_into(&mut self.arn);
        }
        head
    }
}

/// Nothing instead of a text that has no room.
fn short(text: &str) -> &str {
    if text.len() > usize::from(u16::MAX) { "" } else { text }
}

/// A text with its length before it; none if that is 0.
fn text(rest: &mut Bytes) -> Result<Option<String>, Silence> {
    let broken = Silence::Violation("a frame shorter than its parts");
    let length = usize::from(rest.try_get_u16_le().map_err(|_| broken)?);
    if length > rest.len() {
        return Err(broken);
    }
    let text = rest.split_to(length);
    Ok((length > 0).then(|| String::from_utf8_lossy(&text).into_owned()))
}

fn error(mut rest: Bytes) -> Result<FunctionError, Silence> {
    Ok(FunctionError {
        kind: text(&mut rest)?,
        body: rest.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use sonagi_model::{InvocationId, Timestamp};
    use sonagi_ports::Attributes;

    use super::*;

    const LIMIT: usize = 1000;

    fn pair() -> (StdUnixStream, Line) {
        let (function, ours) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (function, Line::new(ours, Dialect::Plain, LIMIT).unwrap())
    }

    fn frame(kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(rest.len() + 1).unwrap().to_le_bytes().to_vec();
        frame.push(kind);
        frame.extend_from_slice(rest);
        frame
    }

    fn failure(kind: Option<&str>, body: &str) -> FunctionError {
        FunctionError {
            kind: kind.map(str::to_owned),
            body: body.as_bytes().to_vec(),
        }
    }

    fn answer(content_type: Option<&str>, body: &str) -> Typed {
        Typed {
            content_type: content_type.map(str::to_owned),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[tokio::test]
    async fn every_frame_says_what_the_table_says() {
        let cases = [
            (frame(b'N', b""), Said::Ready),
            (
                frame(b'R', b"\0\0{}"),
                Said::Answer {
                    answer: Ok(answer(None, "{}")),
                    asks: true,
                },
            ),
            (
                frame(b'r', b"\x03\0a/bxyz"),
                Said::Answer {
                    answer: Ok(answer(Some("a/b"), "xyz")),
                    asks: false,
                },
            ),
            (
                frame(b'F', b"\x04\0Boom{}"),
                Said::Answer {
                    answer: Err(failure(Some("Boom"), "{}")),
                    asks: true,
                },
            ),
            (frame(b'I', b"\0\0x"), Said::CannotStart(failure(None, "x"))),
            (frame(b'S', b"\x01\0t"), Said::StreamBegins(Some("t".to_owned()))),
            (frame(b'D', b"part"), Said::Part(Bytes::from_static(b"part"))),
            (frame(b'Z', b""), Said::StreamEnds(None)),
            (
                frame(b'X', b"\x01\0kb"),
                Said::StreamEnds(Some(failure(Some("k"), "b"))),
            ),
        ];
        let (mut function, mut line) = pair();
        for (bytes, _) in &cases {
            function.write_all(bytes).unwrap();
        }
        for (_, expected) in cases {
            assert_eq!(line.hear().await, Ok(expected));
        }
        drop(function);
        assert_eq!(line.hear().await, Err(Silence::End));
    }

    #[tokio::test]
    async fn what_is_not_allowed_ends_the_conversation() {
        let refused = [
            (frame(b'N', b"x"), "a frame over its limit"),
            (frame(b'Q', b""), "an unknown frame"),
            (frame(b'R', b""), "a frame shorter than its parts"),
            (frame(b'F', b"\x05\0abc"), "a frame shorter than its parts"),
            (vec![0; 5], "an empty frame"),
            ([&u32::MAX.to_le_bytes()[..], b"D"].concat(), "a frame over its limit"),
            ([&u32::MAX.to_le_bytes()[..], b"I"].concat(), "a frame over its limit"),
        ];
        for (bytes, expected) in refused {
            let (mut function, mut line) = pair();
            function.write_all(&bytes).unwrap();
            assert_eq!(line.hear().await, Err(Silence::Violation(expected)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_read_and_not_kept() {
        for length in [LIMIT + 1, LIMIT + BESIDE + 100_000] {
            let (mut function, mut line) = pair();
            let mut rest = vec![0, 0];
            rest.resize(2 + length, b'x');
            let bytes = [frame(b'R', &rest), frame(b'N', b"")].concat();
            let writing = std::thread::spawn(move || function.write_all(&bytes).map(|()| function));
            assert_eq!(line.hear().await, Ok(Said::TooLarge { asks: true }));
            assert_eq!(line.hear().await, Ok(Said::Ready));
            writing.join().unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn an_event_has_its_form_and_tells_the_arn_once() {
        let (mut function, mut line) = pair();
        function.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut attributes = Attributes::default();
        attributes.set(attributes::CLIENT_CONTEXT, "{\"a\":1}");
        let call = Call {
            invocation: InvocationId::generate(),
            attempt: 1,
            payload: Bytes::from_static(b"[1]"),
            deadline: Timestamp::from_millis(5),
            attributes,
        };
        for arn in ["arn:x", ""] {
            line.tell(&call, "arn:x", || "Root=1".to_owned()).await.unwrap();
            let mut seen = vec![0; EVENT_HEAD + 6 + arn.len() + 7 + 3];
            function.read_exact(&mut seen).unwrap();
            let (head, texts) = seen.split_at(EVENT_HEAD);
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            assert_eq!((length, head[4]), (seen.len() - 4, b'E'));
            assert_eq!(&head[5..41], call.invocation.to_string().as_bytes());
            assert_eq!(head[41..49], 5_i64.to_le_bytes());
            let arn_length = u8::try_from(arn.len()).unwrap();
            assert_eq!(head[49..], [6, 0, arn_length, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(String::from_utf8_lossy(texts), format!("Root=1{arn}{{\"a\":1}}[1]"));
        }
    }
}
