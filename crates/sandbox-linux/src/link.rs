//! The server's side of the conversation with the spawner: any number of tasks may have orders under way.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use sonagi_ports::SandboxError;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::channel::{self, Received};
use crate::protocol::{Answer, Delivery, Failure, Order, Reply, Request, words};
use crate::sys::reactor;
use crate::wire::Step;

/// Requests made before this one: configuring.
const FIRST_REQUEST: u64 = 2;

/// The connection. Orders under way are bounded by the cells that may exist.
#[derive(Debug)]
pub(crate) struct Link {
    socket: AsyncFd<OwnedFd>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Delivery>>>,
    next: AtomicU64,
    ended: CancellationToken,
}

/// Forgets a request whose caller does not wait any more.
struct Waiting<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.id);
    }
}

impl Link {
    /// Takes the socket over. Needs a runtime.
    pub(crate) fn new(socket: OwnedFd) -> std::io::Result<Self> {
        Ok(Self {
            socket: reactor::register(socket, Interest::READABLE | Interest::WRITABLE)?,
            waiting: Mutex::default(),
            next: AtomicU64::new(FIRST_REQUEST),
            ended: CancellationToken::new(),
        })
    }

    /// Gives an order and waits for the answer. When this future is dropped the order may have been given, and its
    /// answer is dropped with its descriptors.
    pub(crate) async fn ask(&self, order: Order) -> Result<Delivery, SandboxError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let waiting = Waiting { link: self, id };
        let bytes =
            serde_json::to_vec(&Request { id, order }).map_err(|error| failed("write an order", error.to_string()))?;
        self.send(&bytes).await?;
        let delivery = tokio::select! {
            biased;
            delivery = receiver => delivery.ok(),
            () = self.ended.cancelled() => None,
        };
        drop(waiting);
        delivery.ok_or_else(gone)
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), SandboxError> {
        loop {
            // The common case needs no look at the reactor.
            match channel::send(self.socket.get_ref().as_fd(), bytes, &[], SendFlags::DONTWAIT) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(gone()),
                Err(errno) => return Err(failed("reach the spawner", words(errno))),
            }
            let ready = tokio::select! {
                ready = self.socket.writable() => ready,
                () = self.ended.cancelled() => return Err(gone()),
            };
            let mut ready = ready.map_err(|error| failed("reach the spawner", error.to_string()))?;
            match ready.try_io(|socket| {
                channel::send(socket.get_ref().as_fd(), bytes, &[], SendFlags::DONTWAIT).map_err(Into::into)
            }) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => return Err(failed("reach the spawner", error.to_string())),
                Err(_would_block) => {}
            }
        }
    }

    /// Hands out replies until the spawner is gone. One task runs this.
    pub(crate) async fn listen(&self) {
        let mut buffer = vec![0; channel::MESSAGE_MAX];
        loop {
            let received = self.socket.async_io(Interest::READABLE, |socket| {
                channel::receive(socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT).map_err(Into::into)
            });
            match received.await {
                Ok(Received { length: 0, .. }) => break,
                Ok(received) => self.deliver(
                    &buffer[..received.length],
                    received.descriptors,
                    received.lost_descriptors,
                ),
                Err(error) => {
                    tracing::error!(%error, "cannot hear the spawner");
                    break;
                }
            }
        }
        self.ended.cancel();
        self.waiting.lock().clear();
    }

    fn deliver(&self, bytes: &[u8], descriptors: Vec<OwnedFd>, lost: bool) {
        let reply = match serde_json::from_slice::<Reply>(bytes) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(%error, "the spawner sent something that is no reply");
                return;
            }
        };
        let answer = if lost {
            Answer::Failed(Failure::new(Step::Descriptors, Errno::MFILE, ""))
        } else {
            reply.answer
        };
        // Without a waiter the descriptors are dropped; whoever ordered a cell has it destroyed.
        if let Some(waiter) = self.waiting.lock().remove(&reply.id) {
            drop(waiter.send((answer, descriptors)));
        }
    }

    /// Lets the spawner end.
    pub(crate) fn close(&self) {
        // Closed already is as good.
        let _ = rustix::net::shutdown(self.socket.get_ref(), Shutdown::Both);
    }

    /// Cancelled when the spawner is gone.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

fn failed(action: &'static str, reason: String) -> SandboxError {
    SandboxError::Host { action, reason }
}

fn gone() -> SandboxError {
    failed("reach the spawner", "it has ended".to_owned())
}
