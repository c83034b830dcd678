//! The HTTP server from outside, by raw sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod forms;
mod raw;
