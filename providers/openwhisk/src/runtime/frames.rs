//! Frames between the platform and a bootstrap: length (4 bytes, little endian, of what follows), type, number (4 bytes),
//! then JSON; answers have a status (2 bytes) before it.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a frame that are no JSON, without its length.
const HEAD: usize = 5;

/// The longest frame that is read at all; upstream's proxies send no more either.
const LONGEST: usize = 64 * 1024 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the function: initialize.
    Init,
    /// To the function: run.
    Run,
    /// From the function: it waits.
    #[cfg(test)]
    Booted,
    /// From the function: an answer.
    #[cfg(test)]
    Answer,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// At most so much as was asked to be kept.
    pub(super) body: Bytes,
    /// Its whole length.
    pub(super) length: usize,
}

/// A frame that came.
#[derive(Debug)]
pub(super) enum Came {
    Booted,
    Answer(u32, Answer),
}

/// A frame to send.
pub(super) fn write(kind: Kind, number: u32, body: &[u8]) -> Bytes {
    let letter = match kind {
        Kind::Init => b'I',
        Kind::Run => b'R',
        #[cfg(test)]
        Kind::Booted => b'B',
        #[cfg(test)]
        Kind::Answer => b'r',
    };
    let mut frame = BytesMut::with_capacity(4 + HEAD + body.len());
    frame.put_u32_le(u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX));
    frame.put_u8(letter);
    frame.put_u32_le(number);
    frame.put_slice(body);
    frame.freeze()
}

/// Reads one frame, keeping at most `keep` bytes of an answer's body. Not cancel safe.
///
/// # Errors
/// The end of the stream, or what is no frame.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin), keep: usize) -> io::Result<Came> {
    let wrong = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let length = from.read_u32_le().await? as usize;
    if !(HEAD..=LONGEST).contains(&length) {
        return Err(wrong("the length of a frame is out of range"));
    }
    let kind = from.read_u8().await?;
    let number = from.read_u32_le().await?;
    match kind {
        b'B' if length == HEAD => Ok(Came::Booted),
        b'i' | b'r' if length >= HEAD + 2 => {
            let status = from.read_u16_le().await?;
            let length = length - HEAD - 2;
            let mut body = BytesMut::zeroed(length.min(keep));
            from.read_exact(&mut body).await?;
            let mut rest = from.take((length - body.len()) as u64);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            let answer = Answer {
                status,
                body: body.freeze(),
                length,
            };
            Ok(Came::Answer(number, answer))
        }
        _ => Err(wrong("a frame has an unknown type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_read_and_cut() {
        let mut body = 502_u16.to_le_bytes().to_vec();
        body.extend(b"{\"error\":1}");
        let mut stream = write(Kind::Answer, 7, &body).to_vec();
        stream.extend(write(Kind::Booted, 0, b""));
        let mut from = &stream[..];
        let Came::Answer(number, answer) = read(&mut from, 4).await.unwrap() else {
            panic!("no answer");
        };
        assert_eq!(
            (number, answer.status, &answer.body[..], answer.length),
            (7, 502, &b"{\"er"[..], 11)
        );
        assert!(matches!(read(&mut from, 4).await.unwrap(), Came::Booted));
        assert_eq!(
            read(&mut from, 4).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert!(read(&mut &[1_u8, 0, 0, 0, b'B'][..], 4).await.is_err());
    }
}
