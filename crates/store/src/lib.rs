//! What a node keeps, in one directory: records, events, messages, runs and usage in one SQLite file, artifacts and logs in files.
//!
//! Adapters of the ports `MetadataStore`, `EventQueue`, `MessageStore`, `RunStore`, `Archive`, `ArtifactStore` and `LogSink`. Blocking work runs on
//! threads of this crate, never on a task scheduler's worker, and none of them wakes up while nothing is asked.

mod archive;
mod artifacts;
mod backup;
mod database;
mod durable;
mod keys;
mod ledger;
mod logs;
mod open;
mod state_dir;
mod workers;

pub use backup::{Backup, BackupError, BackupReport, restore};
pub use keys::{KeyError, KeyReport, KeySource, inspect_key, rotate_key};
pub use open::{OpenError, Options, Stores, open};
pub use state_dir::{StateDir, StateDirError};
