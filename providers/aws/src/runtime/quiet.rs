//! A Unix stream socket whose owner is woken by what comes, not by its peer reading what was sent.
//!
//! A socket that is watched for room reports room whenever its peer has read something: for each event one wake-up of the
//! server, in the middle of the function's work, for nothing. Here room is watched only while there is none.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{Receiver, Sender};

/// See the module.
#[derive(Debug)]
pub(super) struct QuietStream {
    /// What comes from the peer is read here.
    back: Receiver,
    /// What is sent to the peer goes here; `None`: to the same socket.
    forth: Option<OwnedFd>,
}

impl QuietStream {
    /// Takes a non-blocking socket over, for both ways. To be called on a tokio runtime.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            back: watched(stream)?,
            forth: None,
        })
    }

    /// As [`Self::new`], but the peer is given a socket of its own to answer through, along with these first bytes.
    ///
    /// The kernel wakes whoever sleeps on a socket when what was sent through it has been read. A peer that sleeps until
    /// the next bytes come would be woken each time that we read its answer, only to go back to sleep; on two cores that
    /// cost a tenth of a call. It cannot happen where each socket is read by one side only.
    pub(super) fn with_way_back(stream: UnixStream, greeting: &[u8]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = [theirs.as_fd()];
        if !beside.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // The socket is new to both sides: it has room.
        let sent = sendmsg(&stream, &[IoSlice::new(greeting)], &mut beside, SendFlags::NOSIGNAL)?;
        if sent < greeting.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(Self {
            back: watched(ours)?,
            forth: Some(OwnedFd::from(stream)),
        })
    }

    fn out(&self) -> BorrowedFd<'_> {
        self.forth.as_ref().map_or(self.back.as_fd(), |forth| forth.as_fd())
    }

    /// Appends what has come, as far as the buffer has room; 0: the peer has closed. Cancel safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.back.read_buf(buffer).await
    }

    /// Sends both parts, in one call if there is room for them.
    pub(super) async fn write(&self, mut head: &[u8], mut rest: &[u8]) -> io::Result<()> {
        while !(head.is_empty() && rest.is_empty()) {
            match rustix::io::writev(self.out(), &[IoSlice::new(head), IoSlice::new(rest)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    let of_head = sent.min(head.len());
                    (head, rest) = (&head[of_head..], &rest[sent - of_head..]);
                }
                Err(Errno::AGAIN) => self.room().await?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until there is room, through a second descriptor: each can be watched for one thing.
    async fn room(&self) -> io::Result<()> {
        let twin = self.out().try_clone_to_owned()?;
        Sender::from_owned_fd_unchecked(twin)?.writable().await
    }
}

/// What the runtime calls the receiving end of a pipe is any descriptor that it watches for what comes only.
fn watched(stream: UnixStream) -> io::Result<Receiver> {
    Receiver::from_owned_fd_unchecked(OwnedFd::from(stream))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake};

    use super::*;

    fn pair() -> (UnixStream, QuietStream) {
        let (peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (peer, QuietStream::new(ours).unwrap())
    }

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Returns once the runtime has looked for events after this was called.
    async fn events_seen() {
        let (mut peer, mut ours) = pair();
        let mut buffer = BytesMut::with_capacity(1);
        peer.write_all(b"x").unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_peer_that_reads_wakes_nobody_and_one_that_writes_does() {
        let (mut peer, mut ours) = pair();
        ours.write(b"he", b"llo").await.unwrap();
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut buffer = BytesMut::with_capacity(100);
        let mut read = pin!(ours.read(&mut buffer));
        assert!(read.as_mut().poll(&mut context).is_pending());
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        events_seen().await;
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        peer.write_all(b"answer").unwrap();
        events_seen().await;
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(matches!(read.as_mut().poll(&mut context), Poll::Ready(Ok(6))));
    }

    #[tokio::test]
    async fn more_than_the_kernel_holds_goes_through_a_slow_reader() {
        let (mut peer, mut ours) = pair();
        let whole: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
        let expected = whole.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut got = vec![0; expected.len()];
            peer.read_exact(&mut got).unwrap();
            assert!(got == expected, "bytes differ");
            peer.write_all(&got).unwrap();
        });
        ours.write(&whole[..7], &whole[7..]).await.unwrap();
        let mut back = BytesMut::with_capacity(whole.len() + 1);
        while back.len() < whole.len() {
            assert!(ours.read(&mut back).await.unwrap() > 0);
        }
        assert!(back == whole, "bytes differ");
        reading.await.unwrap();
        assert_eq!(ours.read(&mut back).await.unwrap(), 0, "the peer has closed");
        assert!(ours.write(b"x", b"").await.is_err());
    }
}
