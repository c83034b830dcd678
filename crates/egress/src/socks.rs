//! SOCKS version 5 without authentication, its CONNECT command only. Source: RFC 1928.

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::request::Target;

/// First byte of every message.
pub(crate) const VERSION: u8 = 5;

/// Answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// Reads greeting and request; the first byte of the greeting was read. `None`: refused, and the client was told.
///
/// # Errors
/// As the stream says; `UnexpectedEof` when it ends too early.
pub(crate) async fn accept<S>(stream: &mut S) -> std::io::Result<Option<Target>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const NO_AUTHENTICATION: u8 = 0;
    const NO_METHOD: u8 = 0xff;
    const CONNECT: u8 = 1;
    let count = usize::from(stream.read_u8().await?);
    let mut methods = [0; 255];
    stream.read_exact(&mut methods[..count]).await?;
    if !methods[..count].contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(None);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != VERSION {
        return Ok(None);
    }
    let host = match kind {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        4 => Ipv6Addr::from(stream.read_u128().await?).to_string(),
        3 => {
            let length = usize::from(stream.read_u8().await?);
            let mut name = vec![0; length];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).unwrap_or_default()
        }
        _ => {
            answer(stream, Reply::AddressNotSupported).await?;
            return Ok(None);
        }
    };
    let port = stream.read_u16().await?;
    if command != CONNECT {
        answer(stream, Reply::CommandNotSupported).await?;
        return Ok(None);
    }
    Ok(Some(Target { host, port }))
}

/// Answers a request. The address of our end of the connection is nobody's business: it is all zeros.
///
/// # Errors
/// As the stream says.
pub(crate) async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> std::io::Result<()> {
    stream.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(bytes: &[u8]) -> (std::io::Result<Option<Target>>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let accepted = accept(&mut server).await;
        drop(server);
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        (accepted, answers)
    }

    #[tokio::test]
    async fn names_and_addresses_are_understood() {
        for (request, host) in [
            (&b"\x01\0\x05\x01\0\x03\x09localhost\x01\xbb"[..], "localhost"),
            (b"\x02\x02\0\x05\x01\0\x01\x01\x02\x03\x04\x01\xbb", "1.2.3.4"),
            (b"\x01\0\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb", "::1"),
        ] {
            let (accepted, answers) = asked(request).await;
            let target = accepted.unwrap().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, 443));
            assert_eq!(answers, [5, 0]);
        }
    }

    #[tokio::test]
    async fn what_is_not_offered_is_refused() {
        assert_eq!(asked(b"\x01\x02").await.1, [5, 0xff], "a password");
        let bind = asked(b"\x01\0\x05\x02\0\x01\x01\x02\x03\x04\0\x50").await;
        assert_eq!((bind.0.unwrap(), bind.1[3]), (None, 7));
        let kind = asked(b"\x01\0\x05\x01\0\x09\0\0").await;
        assert_eq!((kind.0.unwrap(), kind.1[3]), (None, 8));
        assert!(asked(b"\x01\0\x05").await.0.is_err(), "the end comes too early");
    }
}
