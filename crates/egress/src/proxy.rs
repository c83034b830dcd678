//! The proxy of one instance: accepts on its listener, connects on its behalf where [`crate::deny`] allows it, and passes
//! bytes on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::deny::{self, Denied};
use crate::request::{self, HEAD_MAX, Request, Target};
use crate::socks::{self, Reply};

/// Connections of one instance at once. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take to say what it wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long finding a name and connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why nothing was connected.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} may not be reached: {1}")]
    Denied(IpAddr, Denied),
    #[error("the name is not known")]
    Unknown,
    #[error("no connection: {0}")]
    Failed(#[from] io::Error),
    #[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
    Late,
}

/// Serves until it is dropped. Not cancel safe in the sense that all connections end with it, which is what it is for.
pub(crate) async fn serve(listener: TcpListener) {
    let (room, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), JoinSet::new());
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(async move {
                    // How it ended is between the client and whom it talked to.
                    let _ = converse(client).await;
                    drop(permit);
                });
            }
            // Out of descriptors, for instance: others end meanwhile.
            Err(error) => {
                tracing::warn!(%error, "a proxy cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let first = timeout(REQUEST_LIMIT, client.read_u8()).await??;
    if first == socks::VERSION {
        let Some(target) = timeout(REQUEST_LIMIT, socks::accept(&mut client)).await?? else {
            return Ok(());
        };
        match connect(&target).await {
            Ok(mut server) => {
                socks::answer(&mut client, Reply::Succeeded).await?;
                copy_bidirectional(&mut client, &mut server).await.map(drop)
            }
            Err(Refused::Denied(..)) => socks::answer(&mut client, Reply::NotAllowed).await,
            Err(_) => socks::answer(&mut client, Reply::HostUnreachable).await,
        }
    } else {
        http(client, first).await
    }
}

async fn http(mut client: TcpStream, first: u8) -> io::Result<()> {
    let mut head = vec![first];
    let end = timeout(REQUEST_LIMIT, async {
        loop {
            if let Some(end) = request::head_end(&head) {
                return Ok(Some(end));
            }
            if head.len() >= HEAD_MAX {
                return Ok(None);
            }
            if client.read_buf(&mut head).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    });
    let Some(end) = end.await?? else {
        return refuse(
            &mut client,
            "431 Request Header Fields Too Large",
            "the head is larger than 32 KiB",
        )
        .await;
    };
    let rest = head.split_off(end);
    let (target, forwarded) = match request::parse(&head) {
        Ok(Request::Tunnel(target)) => (target, None),
        Ok(Request::Forward(target, head)) => (target, Some(head)),
        Err(error) => return refuse(&mut client, "400 Bad Request", &error.to_string()).await,
    };
    let mut server = match connect(&target).await {
        Ok(server) => server,
        Err(error @ Refused::Denied(..)) => return refuse(&mut client, "403 Forbidden", &error.to_string()).await,
        Err(error @ Refused::Late) => return refuse(&mut client, "504 Gateway Timeout", &error.to_string()).await,
        Err(error) => return refuse(&mut client, "502 Bad Gateway", &error.to_string()).await,
    };
    match forwarded {
        Some(head) => server.write_all(&head).await?,
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
    }
    server.write_all(&rest).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn refuse(client: &mut TcpStream, status: &str, why: &str) -> io::Result<()> {
    let body = format!("{why}\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await
}

/// Connects to the first address of the target that answers. Every address is checked, and the one that was checked is
/// the one that is connected to; a name with one that is denied is refused whole, for it is made to mislead.
async fn connect(target: &Target) -> Result<TcpStream, Refused> {
    timeout(CONNECT_LIMIT, async {
        let found: Vec<SocketAddr> = match lookup_host((target.host.as_str(), target.port)).await {
            Ok(found) => found.take(ADDRESSES_MAX).collect(),
            Err(_) => return Err(Refused::Unknown),
        };
        for address in &found {
            let own = is_own(address.ip()).await;
            deny::check(address.ip(), |_| own).map_err(|why| Refused::Denied(address.ip(), why))?;
        }
        let mut last = Refused::Unknown;
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    })
    .await
    .unwrap_or(Err(Refused::Late))
}

/// Whether the address is one of this host's, asked anew each time: addresses come and go. Only an own address can be
/// bound to (where `ip_nonlocal_bind` says otherwise, everything is refused: the safe side).
pub(crate) async fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(request: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_is_denied_is_refused_by_name_and_by_address() {
        let (listener, own) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), "127.0.0.1");
        let port = listener.local_addr().unwrap().port();
        for host in [
            own,
            "localhost",
            "[::1]",
            "0.0.0.0",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "2130706433",
        ] {
            for request in [
                format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"),
                format!("GET http://{host}:{port}/ HTTP/1.1\r\n\r\n"),
            ] {
                let answer = String::from_utf8(asked(request.as_bytes()).await).unwrap();
                assert!(
                    answer.starts_with("HTTP/1.1 403 ") || host == "2130706433",
                    "{host}: {answer}"
                );
                assert!(!answer.starts_with("HTTP/1.1 2"), "{host}: {answer}");
            }
        }
        let socks = asked(b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x50").await;
        assert_eq!(socks[3], Reply::NotAllowed as u8);
        assert!(
            timeout(Duration::from_millis(50), listener.accept()).await.is_err(),
            "nobody was connected"
        );
    }

    #[tokio::test]
    async fn what_is_no_request_is_answered() {
        let answer = asked(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "));
        let mut long = b"GET http://example.com/ HTTP/1.1\r\nA: ".to_vec();
        long.resize(HEAD_MAX + 1, b'a');
        assert!(asked(&long).await.starts_with(b"HTTP/1.1 431 "));
    }
}
