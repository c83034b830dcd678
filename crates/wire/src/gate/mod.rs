//! The gate between a connection and the HTTP library. It reads what comes, lets whole and sound requests through byte for
//! byte, and puts a request of its own in the place of one that is refused, which [`Guarded`] answers: so a refusal has its
//! turn among earlier answers, a status and a reason. After the last answer it closes so that the other side can read it.
//!
//! HTTP/2, which has frames, passes untouched. What a head costs here was not measurable beside the call it belongs to; a
//! head that comes in one piece is not copied.

mod framing;
mod guarded;
mod refusal;

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use self::framing::{Found, Framing, HeadLimits};
pub(crate) use self::guarded::Guarded;
pub(crate) use self::refusal::Refusal;
use crate::HttpLimits;

/// How an HTTP/2 connection with prior knowledge begins. Source: RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The request that stands for a refused one.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Bytes asked for at once while a head is incomplete.
const PIECE: usize = 4096;

/// Most bytes and longest time that are spent on taking what the other side still sends after its last answer: enough for
/// a client that sends a whole oversized archive before it looks.
const LINGER_BYTES: usize = 96 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// How the HTTP library was done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After an answer, or because the other side went away.
    Regular,
    /// By an error, of which it may have told the other side.
    Early,
}

/// What a gate tells those behind it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Whether a part of a head has come.
    receiving: AtomicBool,
    /// Requests that came to the service, refused ones included.
    requests: AtomicUsize,
    /// The number of the request that was refused, from 1; 0: none.
    number: AtomicUsize,
    why: OnceLock<Refusal>,
}

impl Report {
    /// Whether a head is on its way.
    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }

    /// Requests that came to the service.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The number of a request that has come.
    fn next_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn set(&self, number: usize, why: Refusal) {
        let _ = self.why.set(why);
        self.number.store(number, Ordering::Release);
    }

    /// Why this request is refused, if it is.
    fn refusal_of(&self, number: usize) -> Option<Refusal> {
        (self.number.load(Ordering::Acquire) == number)
            .then(|| self.why.get().copied())
            .flatten()
    }
}

/// What becomes of further bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are looked at.
    Watched,
    /// They pass.
    Through,
    /// Nothing passes any more: the last request was refused.
    Shut,
    /// A body was malformed behind what has passed.
    Broken(Refusal),
}

/// A connection behind its gate.
#[derive(Debug)]
pub(crate) struct Gate {
    stream: TcpStream,
    framing: Framing,
    mode: Mode,
    /// Read and not handed on: the beginning of a head, or what waits for room.
    held: BytesMut,
    /// How many bytes of `held` may pass.
    ready: usize,
    /// Whole heads that passed.
    heads: usize,
    report: Arc<Report>,
    /// Longest time for a head, from its first byte (of the connection's first one: from the beginning) to its last.
    patience: Option<Duration>,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Gate {
    pub(crate) fn new(stream: TcpStream, limits: &HttpLimits) -> Self {
        let head = HeadLimits {
            bytes: limits.head_bytes,
            target_bytes: limits.target_bytes,
            headers: limits.headers,
        };
        Self {
            stream,
            framing: Framing::new(head),
            mode: Mode::Watched,
            held: BytesMut::new(),
            ready: 0,
            heads: 0,
            report: Arc::default(),
            patience: limits.head_timeout,
            since: Some(Instant::now()),
            timer: None,
            ended: false,
        }
    }

    /// Where it tells what was refused.
    pub(crate) fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Reads as much as tells which protocol it is; nothing of that is lost. `None`: the other side went away, or said
    /// nothing in time.
    pub(crate) async fn version(&mut self) -> Option<Version> {
        std::future::poll_fn(|cx| self.poll_version(cx)).await
    }

    fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<Option<Version>> {
        loop {
            let come = self.held.len().min(PREFACE.len());
            if self.held[..come] != PREFACE[..come] {
                return Poll::Ready(Some(Version::Http1));
            }
            if come == PREFACE.len() {
                (self.mode, self.ready) = (Mode::Through, self.held.len());
                return Poll::Ready(Some(Version::Http2));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if self.poll_patience(cx).is_ready() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads into what is held.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.held.reserve(PIECE);
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.held))?;
        self.ended |= read == 0;
        Poll::Ready(Ok(read))
    }

    /// Ready when the head that is being read took too long. Between requests nothing is limited here.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(patience), Some(since)) = (self.patience, self.since) else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + patience)));
        timer.as_mut().poll(cx)
    }

    /// How many of these bytes may pass. What follows them is the beginning of a head, or was refused.
    fn inspect(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && self.mode == Mode::Watched {
            let rest = &bytes[passed..];
            let result = if self.framing.in_head() {
                match self.framing.head(rest) {
                    Ok(Found::Partial) => break,
                    Ok(Found::Whole(length)) => {
                        self.heads += 1;
                        if self.since.take().is_some() {
                            self.timer = None;
                            self.report.receiving.store(false, Ordering::Relaxed);
                        }
                        Ok(length)
                    }
                    Err(why) => {
                        self.refuse(why);
                        break;
                    }
                }
            } else {
                self.framing.body(rest)
            };
            match result {
                Ok(length) => passed += length,
                Err(why) => self.mode = Mode::Broken(why),
            }
        }
        passed
    }

    fn refuse(&mut self, why: Refusal) {
        tracing::debug!(%why, "a request was refused");
        self.report.set(self.heads + 1, why);
        self.mode = Mode::Shut;
    }

    /// Puts the stand-in where the refused request was.
    fn stand_in(&mut self) {
        self.held.clear();
        self.held.extend_from_slice(STAND_IN);
        self.ready = STAND_IN.len();
    }

    /// Lets what is held and sound pass.
    fn release(&mut self, out: &mut ReadBuf<'_>) {
        let length = self.ready.min(out.remaining());
        out.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.ready -= length;
    }

    /// Looks at what is held; whether something of it may pass now.
    fn look_at_held(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        self.ready = self.inspect(&held);
        self.held = held;
        if self.ready == 0 && self.mode == Mode::Shut {
            self.stand_in();
        } else if self.ready > 0 && self.mode == Mode::Shut {
            self.held.truncate(self.ready);
            self.held.extend_from_slice(STAND_IN);
            self.ready = self.held.len();
        }
        self.ready > 0
    }

    /// Reads straight to where it is wanted, and takes back what may not pass yet.
    fn poll_direct(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        let come = out.filled().len() - before;
        if come == 0 {
            self.ended = true;
            return Poll::Ready(Ok(0));
        }
        let passed = self.inspect(&out.filled()[before..]);
        if passed < come {
            if self.mode == Mode::Shut {
                self.stand_in();
            } else {
                self.held.extend_from_slice(&out.filled()[before + passed..]);
            }
            out.set_filled(before + passed);
        }
        Poll::Ready(Ok(come))
    }

    /// Ends the connection after its last answer. If the other side is still sending, it is heard out for a bounded time
    /// and number of bytes: closing earlier would send it a reset, which takes the answer from it unread.
    pub(crate) async fn close(mut self, how: End) {
        let unread = match self.mode {
            Mode::Through => false,
            Mode::Watched => how == End::Early || !self.framing.in_head(),
            Mode::Shut | Mode::Broken(_) => true,
        };
        let _ = self.stream.shutdown().await;
        if self.ended || !unread {
            return;
        }
        let mut left = LINGER_BYTES;
        let mut piece = vec![0; 16 * 1024];
        let hear_out = async {
            while left > 0 {
                match self.stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIME, hear_out).await;
    }
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.ready > 0 {
                this.release(out);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Through => return Pin::new(&mut this.stream).poll_read(cx, out),
                // The answer that is on its way ends the connection.
                Mode::Shut => return Poll::Pending,
                Mode::Broken(why) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why.to_string())));
                }
                Mode::Watched => {}
            }
            if !this.held.is_empty() && this.look_at_held() {
                continue;
            }
            if this.mode != Mode::Watched {
                continue;
            }
            let before = out.filled().len();
            let read = if this.held.is_empty() {
                this.poll_direct(cx, out)
            } else {
                this.since.get_or_insert_with(Instant::now);
                this.report.receiving.store(true, Ordering::Relaxed);
                this.poll_fill(cx)
            };
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) if out.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.poll_patience(cx));
                    let seconds = this.patience.unwrap_or_default().as_secs();
                    this.refuse(Refusal::TooSlow(seconds));
                    this.stand_in();
                }
            }
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
