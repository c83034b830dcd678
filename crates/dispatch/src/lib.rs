//! One invocation from admission to outcome.

mod api;

pub use api::{Answer, Finished, LogTail, Refused, Request, Streaming};
