//! One invocation from admission to outcome: limits, an instance, the event handed over, the answer relayed under its
//! deadline, one record for each attempt. Asynchronous events are run, retried and settled here too.
//!
//! [`Dispatcher`] is what adapters call; [`Asynchronous`] runs accepted events through it.

mod admission;
mod api;
mod asynchronous;
mod attempt;
mod dispatcher;
mod linger;
mod persist;
mod relay;

pub use admission::Running;
pub use api::{Answer, Finished, LogTail, Refused, Request, Streaming};
pub use asynchronous::{Asynchronous, AsynchronousOptions, Routes};
pub use dispatcher::{DispatchOptions, Dispatcher};
/// What the engine says of instances that are kept loaded.
pub use sonagi_pool::{FloorFailure, FloorStatus};
