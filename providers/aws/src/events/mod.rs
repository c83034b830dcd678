//! Asynchronous invocation: where an accepted event goes, by which rules it is tried again, what its end sends where, and
//! when a chain of calls has become a loop.
//! Source: "Asynchronous invocation", "Destinations" and "Recursive loop detection" of the Lambda developer guide.

mod ends;
mod lineage;
mod targets;

pub use ends::{BUS_ADAPTER, QUEUE_ADAPTER, WEB_ADAPTER};
pub(crate) use ends::{MESSAGE_GROUP, Place as DestinationPlace, place_of};
pub(crate) use lineage::{LOOP_LIMIT, count_of, extended};
pub use targets::LambdaTargets;
