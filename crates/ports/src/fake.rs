//! In-memory fakes with real behaviour: what a port promises holds here too, and the port's suite checks it. They keep
//! nothing on disk, start no thread, and can be told to fail.

mod artifact;
mod clock;
mod event;
mod fault;
mod log;
mod metadata;
mod run;
pub mod sample;

pub use artifact::FakeArtifactStore;
pub use clock::{ManualClock, SeededEntropy};
pub use event::FakeEventQueue;
pub use fault::{Fault, Faults};
pub use log::FakeLogSink;
pub use metadata::FakeMetadataStore;
pub use run::FakeRunStore;
