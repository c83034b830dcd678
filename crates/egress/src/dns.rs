//! The resolver of one instance: passes its questions on to the host's name servers and its answers back, unless an
//! answer leads where functions may not go.
//!
//! It is a courtesy and a second wall: a name that leads to a denied address fails at once, with an answer that says so. What
//! holds is the packet filter. Source: RFC 1035 sections 4.1 and 4.2.2 (messages), RFC 3596 (`AAAA`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::deny;
use crate::proxy::is_own;

/// Where the host says which servers it asks.
const SERVERS_FILE: &str = "/etc/resolv.conf";
/// The port of name servers.
pub(crate) const PORT: u16 = 53;
/// Servers that are asked, one after the other. Source: resolv.conf(5), `MAXNS`.
const SERVERS_MAX: usize = 3;
/// Longest wait for one server.
const SERVER_LIMIT: Duration = Duration::from_secs(3);
/// Largest message over UDP, with the extension of RFC 6891 that raises it from 512 bytes.
const DATAGRAM_MAX: usize = 4096;
/// Questions of one instance under way. Further ones are not read until one of them is answered.
const QUESTIONS_MAX: usize = 64;
/// Connections of one instance.
const CONNECTIONS_MAX: usize = 16;
/// Questions of one instance a second, and how many it may have saved up. What is above is refused.
const RATE: f64 = 100.0;
const BURST: f64 = 200.0;
/// How long a connection may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LEN: usize = 12;

/// Answers that are not of a server. Source: RFC 1035 section 4.1.1, RCODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    FormatError = 1,
    ServerFailure = 2,
    Refused = 5,
}

/// Serves until it is dropped; everything under way ends with it.
pub(crate) async fn serve(socket: UdpSocket, listener: TcpListener) {
    let rate = Arc::new(parking_lot::Mutex::new(Rate::new(Instant::now())));
    tokio::join!(datagrams(socket, Arc::clone(&rate)), connections(listener, rate));
}

async fn datagrams(socket: UdpSocket, rate: Arc<parking_lot::Mutex<Rate>>) {
    let (socket, room, mut under_way) = (
        Arc::new(socket),
        Arc::new(Semaphore::new(QUESTIONS_MAX)),
        JoinSet::new(),
    );
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        while under_way.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // An error that belongs to an answer which nobody took.
            tokio::task::yield_now().await;
            continue;
        };
        let (question, socket, rate) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&rate));
        under_way.spawn(async move {
            if let Some(answer) = answer(&question, &rate, Carrier::Datagram).await {
                // Who asked may be gone.
                let _ = socket.send_to(&answer, from).await;
            }
            drop(permit);
        });
    }
}

async fn connections(listener: TcpListener, rate: Arc<parking_lot::Mutex<Rate>>) {
    let (room, mut open) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), JoinSet::new());
    loop {
        while open.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let rate = Arc::clone(&rate);
                open.spawn(async move {
                    // How it ended is between the two.
                    let _ = converse(client, &rate).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a resolver cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut client: TcpStream, rate: &parking_lot::Mutex<Rate>) -> io::Result<()> {
    loop {
        let question = timeout(SILENCE_LIMIT, read_message(&mut client)).await??;
        let Some(answer) = answer(&question, rate, Carrier::Stream).await else {
            return Ok(());
        };
        timeout(SILENCE_LIMIT, write_message(&mut client, &answer)).await??;
    }
}

/// By what a message is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Datagram,
    Stream,
}

/// The answer to a question; `None` for what is none and cannot be answered.
async fn answer(question: &[u8], rate: &parking_lot::Mutex<Rate>, carrier: Carrier) -> Option<Vec<u8>> {
    let end = match question_end(question) {
        Ok(end) => end,
        Err(Malformed::Short) => return None,
        Err(Malformed::Wrong) => return Some(refusal(question, HEADER_LEN, Code::FormatError)),
    };
    if !rate.lock().allows(Instant::now()) {
        return Some(refusal(question, end, Code::Refused));
    }
    for server in servers().await {
        let Ok(Ok(answer)) = timeout(SERVER_LIMIT, ask(server, question, carrier)).await else {
            continue;
        };
        if !belongs(&answer, question, end) {
            continue;
        }
        for address in addresses(&answer) {
            let own = is_own(address).await;
            if deny::check(address, |_| own).is_err() {
                return Some(refusal(question, end, Code::Refused));
            }
        }
        return Some(answer);
    }
    Some(refusal(question, end, Code::ServerFailure))
}

/// The servers that the host asks, read anew each time: they change with its networks.
async fn servers() -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string(SERVERS_FILE).await.unwrap_or_default();
    name_servers(&text)
        .take(SERVERS_MAX)
        .map(|server| SocketAddr::new(server, PORT))
        .collect()
}

/// The name servers of a `resolv.conf`. Source: resolv.conf(5).
pub fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    })
}

async fn ask(server: SocketAddr, question: &[u8], carrier: Carrier) -> io::Result<Vec<u8>> {
    match carrier {
        Carrier::Datagram => {
            let any: IpAddr = match server {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // A port of its own for each question, chosen by the kernel: an answer to it is hard to forge.
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(server).await?;
            socket.send(question).await?;
            let mut answer = vec![0; DATAGRAM_MAX];
            let length = socket.recv(&mut answer).await?;
            answer.truncate(length);
            Ok(answer)
        }
        Carrier::Stream => {
            let mut stream = TcpStream::connect(server).await?;
            write_message(&mut stream, question).await?;
            read_message(&mut stream).await
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    stream.write_u16(length).await?;
    stream.write_all(message).await
}

/// A question that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Malformed {
    /// It has no header.
    Short,
    /// It is an answer, or asks nothing or more than one thing.
    Wrong,
}

/// Where the one question of a message ends.
fn question_end(message: &[u8]) -> Result<usize, Malformed> {
    if message.len() < HEADER_LEN {
        return Err(Malformed::Short);
    }
    let is_answer = message[2] & 0x80 != 0;
    let operation = message[2] >> 3 & 0xf;
    if is_answer || operation != 0 || message[4..6] != [0, 1] {
        return Err(Malformed::Wrong);
    }
    let end = name_end(message, HEADER_LEN).map(|end| end + 4);
    end.filter(|end| *end <= message.len()).ok_or(Malformed::Wrong)
}

/// Where a name ends that begins at `at`.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length >> 6 {
            // A pointer to the rest of it, elsewhere.
            3 => return Some(at + 2),
            0 if length == 0 => return Some(at + 1),
            0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// Whether it is an answer to this question.
fn belongs(answer: &[u8], question: &[u8], end: usize) -> bool {
    answer.len() >= end
        && answer[..2] == question[..2]
        && answer[2] & 0x80 != 0
        && answer[4..6] == [0, 1]
        && answer[HEADER_LEN..end].eq_ignore_ascii_case(&question[HEADER_LEN..end])
}

/// The addresses among the answers of a message, as far as it can be read.
fn addresses(message: &[u8]) -> Vec<IpAddr> {
    const ADDRESS: u16 = 1;
    const ADDRESS_V6: u16 = 28;
    let number = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let mut found = Vec::new();
    let mut walk = || {
        let (questions, answers) = (number(4)?, number(6)?);
        let mut at = HEADER_LEN;
        for _ in 0..questions {
            at = name_end(message, at)? + 4;
        }
        for _ in 0..answers {
            at = name_end(message, at)?;
            let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
            let value = message.get(at + 10..at + 10 + length)?;
            match kind {
                ADDRESS => found.extend(<[u8; 4]>::try_from(value).ok().map(IpAddr::from)),
                ADDRESS_V6 => found.extend(<[u8; 16]>::try_from(value).ok().map(IpAddr::from)),
                _ => {}
            }
            at += 10 + length;
        }
        Some(())
    };
    let _ = walk();
    found
}

/// The question sent back with a code.
fn refusal(question: &[u8], end: usize, code: Code) -> Vec<u8> {
    let mut answer = question[..end].to_vec();
    // An answer, that recursion is available, and the code; nothing but the question, if it was understood.
    answer[2] |= 0x80;
    answer[3] = 0x80 | code as u8;
    answer[4..HEADER_LEN].fill(0);
    answer[5] = u8::from(end > HEADER_LEN);
    answer
}

/// How much one instance may ask: so many a second, and some more after a pause.
#[derive(Debug)]
struct Rate {
    saved: f64,
    last: Instant,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            saved: BURST,
            last: now,
        }
    }

    fn allows(&mut self, now: Instant) -> bool {
        self.saved = (self.saved + now.duration_since(self.last).as_secs_f64() * RATE).min(BURST);
        self.last = now;
        let allowed = self.saved >= 1.0;
        if allowed {
            self.saved -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question for the address of `a.test`.
    fn question() -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"\x01a\x04test\0\0\x01\0\x01");
        message
    }

    fn answered(records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question();
        message[2] |= 0x80;
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, value) in records {
            message.extend_from_slice(b"\xc0\x0c");
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 9]);
            message.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            message.extend_from_slice(value);
        }
        message
    }

    #[test]
    fn questions_are_told_from_everything_else() {
        let good = question();
        assert_eq!(question_end(&good), Ok(good.len()));
        assert_eq!(question_end(&good[..11]), Err(Malformed::Short));
        let broken: [fn(&mut Vec<u8>); 6] = [
            |message| message[2] |= 0x80,
            |message| message[2] |= 0x28,
            |message| message[5] = 2,
            |message| message[5] = 0,
            |message| message[12] = 0x80,
            |message| message.truncate(20),
        ];
        for (number, change) in broken.into_iter().enumerate() {
            let mut message = question();
            change(&mut message);
            assert_eq!(question_end(&message), Err(Malformed::Wrong), "{number}");
        }
    }

    #[test]
    fn addresses_of_answers_are_found() {
        let alias = b"\x01b\x04test\0";
        let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let message = answered(&[(5, alias), (1, &[10, 0, 0, 1]), (28, &v6.octets())]);
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), v6.into()];
        assert_eq!(addresses(&message), expected);
        assert_eq!(addresses(&message[..message.len() - 1]), expected[..1]);
        for length in 0..message.len() {
            let _ = addresses(&message[..length]);
        }
        let mut endless = answered(&[]);
        endless[6] = 0xff;
        assert!(addresses(&endless).is_empty());
    }

    #[test]
    fn an_answer_belongs_to_its_question() {
        let (question, answer) = (question(), answered(&[]));
        let end = question.len();
        assert!(belongs(&answer, &question, end));
        for change in [0, 2, 13] {
            let mut other = answer.clone();
            other[change] ^= 0x83;
            assert!(!belongs(&other, &question, end), "{change}");
        }
        assert!(!belongs(&question, &question, end));
        let refused = refusal(&question, end, Code::Refused);
        assert!(belongs(&refused, &question, end) && refused[3] & 0xf == 5);
    }

    #[test]
    fn more_than_the_rate_is_refused() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let allowed = (0..1000).filter(|_| rate.allows(now)).count();
        assert_eq!(allowed, 200);
        now += Duration::from_millis(105);
        assert_eq!((0..1000).filter(|_| rate.allows(now)).count(), 10);
    }

    #[test]
    fn name_servers_are_read() {
        let text = "# nameserver 192.0.2.9\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # near\nnameserver\nsearch x\n\
                    nameserver nonsense\n";
        let found: Vec<String> = name_servers(text).map(|server| server.to_string()).collect();
        assert_eq!(found, ["192.0.2.1", "2001:db8::1"]);
    }
}
