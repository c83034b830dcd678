//! Descriptors of ours in tokio's reactor.

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the reactor of the current runtime. Calls on it need not block: they can say so
/// themselves (`MSG_DONTWAIT`).
///
/// # Errors
/// As the kernel says.
///
/// # Panics
/// Outside of a runtime.
pub(crate) fn register(descriptor: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, is always the same descriptor, and is closed only when it is dropped, which the
    // `AsyncFd` that owns it does after it has deregistered it; nothing here hands out more than a borrow.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(|error| error.into_parts().1)
}
