//! In-memory fakes with real behaviour: what a port promises holds here too, and the port's suite checks it. They keep
//! nothing on disk, start no thread, and can be told to fail.

mod archive;
mod artifact;
mod clock;
mod contract;
mod event;
mod fault;
mod log;
mod message;
mod metadata;
mod run;
pub mod sample;
mod sandbox;
mod tokio_clock;

pub use archive::FakeArchive;
pub use artifact::FakeArtifactStore;
pub use clock::{ManualClock, SeededEntropy};
pub use contract::{FakeAct, FakeContract, FakeEnd, FakeInit, FakeSession};
pub use event::FakeEventQueue;
pub use fault::{Fault, Faults};
pub use log::FakeLogSink;
pub use message::FakeMessageStore;
pub use metadata::FakeMetadataStore;
pub use run::FakeRunStore;
pub use sandbox::{FakeInstance, FakeSandbox, FakeStart};
pub use tokio_clock::TokioClock;
