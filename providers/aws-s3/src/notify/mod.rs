//! What buckets tell of their objects: the configuration, the events, and how they are passed on.
//!
//! A change's events are notices of the object store: durable with the change. One task passes them on to [`Targets`],
//! in order, and each under an id of its own, so that passing one on twice (after a crash in between) is once.
//! Source: "Amazon S3 Event Notifications" of the S3 user guide.

mod config;
mod connect;
mod event;
mod pass;

pub(crate) use config::Rules;
pub use connect::{ConnectError, Connection};
pub(crate) use event::{Change, Sequencer, What};
pub(crate) use pass::pass_on;
pub use pass::{Source, Targets, TellError, Telling};
