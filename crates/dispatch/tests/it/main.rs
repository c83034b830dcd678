//! The dispatcher on tokio's paused clock: outcomes, records, streams, limits, events.

mod asynchronous;
mod bed;
mod calls;
mod streams;
mod stress;
