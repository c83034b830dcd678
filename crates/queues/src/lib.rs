//! Message queues: which there are, and waiting for messages without asking again and again.
//!
//! [`Queues`] is the only door to a [`MessageStore`](sonagi_ports::MessageStore), so it knows when there can be nothing
//! new: a queue that was found empty is not asked again before something is sent to it, given back, or due. Whoever waits
//! costs no timer but that of his own patience, and no disk.

mod catalog;
mod door;
mod queues;

pub use queues::{ChangeError, Queues, Receive};
