//! Messages with descriptors over a socket that keeps their boundaries.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Largest message in bytes, on both ends.
pub(crate) const MESSAGE_MAX: usize = 256 * 1024;
/// Most descriptors of one message.
pub(crate) const DESCRIPTORS_MAX: usize = 16;

/// A connected pair, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Lets messages of [`MESSAGE_MAX`] bytes leave through this socket.
pub(crate) fn make_room(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // The kernel doubles the number, and refuses messages larger than that.
    rustix::net::sockopt::set_socket_send_buffer_size_force(socket, MESSAGE_MAX)
}

/// Sends one message. Never raises SIGPIPE.
///
/// # Errors
/// `EAGAIN` when it would have to wait and may not, `EPIPE` when nobody will receive it, `EMSGSIZE`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    if bytes.len() > MESSAGE_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE);
    }
    let parts = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut control, flags | SendFlags::NOSIGNAL))
        .map(drop)
}

/// A message that was received; its bytes are in the buffer.
#[derive(Debug)]
pub(crate) struct Received {
    /// 0 at the end of the connection.
    pub(crate) length: usize,
    /// Close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// This process may have no more descriptors: those that came after these are lost.
    pub(crate) lost_descriptors: bool,
}

/// Receives one message into `buffer`.
///
/// # Errors
/// `EAGAIN` when it would have to wait and may not; `EMSGSIZE` when the message has no room.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut *buffer)];
        rustix::net::recvmsg(socket, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC)
    });
    let (length, flags) = match received {
        Ok(received) => (received.bytes, received.flags),
        // The other side ended with a message of ours unread.
        Err(Errno::CONNRESET) => (0, ReturnFlags::empty()),
        Err(errno) => return Err(errno),
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok(Received {
        length,
        descriptors,
        lost_descriptors: flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Borrows each of several descriptors.
pub(crate) fn borrow_all(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_bring_their_descriptors() {
        let (a, b) = pair().unwrap();
        make_room(a.as_fd()).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), b"one", &[writer.as_fd()], SendFlags::empty()).unwrap();
        drop(writer);
        let large = vec![7; MESSAGE_MAX];
        send(a.as_fd(), &large, &[], SendFlags::DONTWAIT).unwrap();
        drop(a);
        let mut buffer = vec![0; MESSAGE_MAX];
        let Received {
            length, descriptors, ..
        } = receive(b.as_fd(), &mut buffer, RecvFlags::empty()).unwrap();
        assert_eq!((&buffer[..length], descriptors.len()), (&b"one"[..], 1));
        rustix::io::write(&descriptors[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 8]).unwrap(), 1);
        assert_eq!(
            receive(b.as_fd(), &mut buffer, RecvFlags::empty()).unwrap().length,
            MESSAGE_MAX
        );
        assert_eq!(
            receive(b.as_fd(), &mut buffer, RecvFlags::empty()).unwrap().length,
            0,
            "the end"
        );
    }

    #[test]
    fn what_has_no_room_is_refused_on_either_side() {
        let (a, b) = pair().unwrap();
        assert_eq!(
            send(a.as_fd(), &vec![0; MESSAGE_MAX + 1], &[], SendFlags::empty()),
            Err(Errno::MSGSIZE)
        );
        let many = vec![a.as_fd(); DESCRIPTORS_MAX + 1];
        assert_eq!(send(a.as_fd(), b"x", &many, SendFlags::empty()), Err(Errno::MSGSIZE));
        send(a.as_fd(), b"12345", &[], SendFlags::empty()).unwrap();
        assert_eq!(
            receive(b.as_fd(), &mut [0; 4], RecvFlags::empty()).map(|got| got.length),
            Err(Errno::MSGSIZE)
        );
        let waiting = receive(b.as_fd(), &mut [0; 4], RecvFlags::DONTWAIT).map(|got| got.length);
        assert_eq!(waiting, Err(Errno::AGAIN));
    }
}
