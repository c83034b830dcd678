//! The frames that go to and fro between the platform and the supervisor of a cell, which is told what to start and
//! tells what has ended (`sandbox-linux`, `init/supervise.rs`, has the table).

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};

/// The number of the runtime.
pub(super) const RUNTIME: u8 = 255;

/// Bytes of a frame's beginning.
const HEAD: usize = 4;

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(u8),
    Killed(u8),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Killed(9) => f.write_str("signal: killed"),
            Self::Killed(signal) => write!(f, "signal: {signal}"),
        }
    }
}

/// What the supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Launch(u8),
    Signal(u8, u8),
    /// Join a port inside with a new connection that begins with this token.
    Bridge(u16, u32),
    /// End as the runtime did.
    End(End),
}

impl Order {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (kind, number, rest) = match self {
            Self::Launch(number) => (b'L', number, Vec::new()),
            Self::Signal(number, signal) => (b'K', number, vec![signal]),
            Self::Bridge(port, token) => {
                let rest = [&port.to_le_bytes()[..], &token.to_le_bytes()].concat();
                (b'T', 0, rest)
            }
            Self::End(End::Exited(status)) => (b'E', RUNTIME, vec![0, status]),
            Self::End(End::Killed(signal)) => (b'E', RUNTIME, vec![1, signal]),
        };
        // At most six bytes.
        let mut frame = vec![rest.len() as u8, 0, kind, number];
        frame.extend(rest);
        frame
    }
}

/// What the supervisor tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The paths of the programs beside the runtime.
    Hello(Vec<String>),
    NotLaunched(u8, u8),
    Output(u8, Bytes),
    Ended(u8, End),
}

/// The peer sent what no supervisor sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

/// Takes the first frame out, if it is there whole. Frames are at most 64 KiB.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<News>, Nonsense> {
    let Some([low, high, kind, number]) = buffer.first_chunk::<HEAD>().copied() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_le_bytes([low, high]));
    if buffer.len() < HEAD + len {
        return Ok(None);
    }
    let mut rest = buffer.split_to(HEAD + len).freeze();
    rest.advance(HEAD);
    match (kind, &rest[..]) {
        (b'H', names) => {
            let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
            Ok(Some(News::Hello(names.collect())))
        }
        (b'F', [errno]) => Ok(Some(News::NotLaunched(number, *errno))),
        (b'O', _) => Ok(Some(News::Output(number, rest))),
        (b'X', [0, status]) => Ok(Some(News::Ended(number, End::Exited(*status)))),
        (b'X', [1, signal]) => Ok(Some(News::Ended(number, End::Killed(*signal)))),
        _ => Err(Nonsense),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_when_they_are_whole() {
        let all = [
            (
                &b"\x08\0H\0/o/a\0/b\0"[..],
                News::Hello(vec!["/o/a".to_owned(), "/b".to_owned()]),
            ),
            (b"\x01\0F\x02\x0d", News::NotLaunched(2, 13)),
            (b"\x02\0O\x01hi", News::Output(1, Bytes::from_static(b"hi"))),
            (b"\x02\0X\xff\0\x07", News::Ended(RUNTIME, End::Exited(7))),
            (b"\x02\0X\x01\x01\x09", News::Ended(1, End::Killed(9))),
        ];
        for (bytes, expected) in all {
            let mut buffer = BytesMut::new();
            for (at, byte) in bytes.iter().enumerate() {
                assert_eq!(take(&mut buffer), Ok(None), "{at}");
                buffer.extend_from_slice(&[*byte]);
            }
            assert_eq!(take(&mut buffer), Ok(Some(expected)));
            assert!(buffer.is_empty());
        }
        for bad in [&b"\0\0X\0"[..], b"\x02\0X\0\x02\0", b"\0\0?\0"] {
            assert_eq!(take(&mut BytesMut::from(bad)), Err(Nonsense));
        }
    }

    #[test]
    fn orders_have_their_form() {
        assert_eq!(Order::Launch(3).to_bytes(), [0, 0, b'L', 3]);
        assert_eq!(Order::Signal(RUNTIME, 15).to_bytes(), [1, 0, b'K', 255, 15]);
        assert_eq!(
            Order::Bridge(0x1234, 5).to_bytes(),
            [6, 0, b'T', 0, 0x34, 0x12, 5, 0, 0, 0]
        );
        assert_eq!(Order::End(End::Killed(9)).to_bytes(), [2, 0, b'E', 255, 1, 9]);
    }
}
