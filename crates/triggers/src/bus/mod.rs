//! One bus under all surfaces that have one: events go in as CloudEvents, whoever subscribes takes what it wants.
//!
//! Publishing stores the event, so that it reaches every subscriber whatever happens to the process; an event that nobody
//! wants is not stored. A bus is known by a namespace and a name; which buses exist is their owners' business.

mod broker;
mod cloudevent;
mod http;

pub use broker::{BUS_DESTINATION, Broker, Notice, Subscriber};
pub use cloudevent::{CloudEvent, CloudEventError, EventData};
pub use http::{BATCH_MAX, read_request};
