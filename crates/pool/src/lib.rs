//! Instances: started when somebody waits for one, kept warm while they are worth it, frozen when idle, gone when not.
//!
//! [`Pool::acquire`] gives a [`Lease`] on an instance of a revision: the idle one that was used last, or whichever comes
//! first of a freed one and a new one. Decisions are pure functions in [`lifecycle`], `keep_alive`, `scale`, `evict`,
//! `budget` and `backoff`; `start`, `reaper` and `pool` carry them out. What the function says in return is not this
//! crate's business: see the dispatcher.

mod attend;
mod backoff;
mod budget;
mod error;
mod evict;
mod floor;
mod instance;
mod keep_alive;
mod lease;
pub mod lifecycle;
mod options;
mod output;
mod pool;
mod reaper;
mod scale;
mod scribe;
mod snapshot;
mod start;
mod subpool;

pub use backoff::BackOffPolicy;
pub use error::{AcquireError, ProcessRan, StartFailure};
pub use floor::{FloorFailure, FloorStatus};
pub use lease::Lease;
pub use options::PoolOptions;
pub use pool::{Contracts, Pool};
pub use snapshot::{Counts, PoolSnapshot, RevisionSnapshot};
