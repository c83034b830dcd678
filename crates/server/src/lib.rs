//! The composition root: the only crate that names every adapter. Opens the state, starts the spawner, wires ports to
//! adapters, listens, stops gracefully.
//!
//! Order at start: check the options; lock the state directory; start the spawner, while this process has one thread;
//! start the runtime; load records; bind; say that it is up. Order at stop: no new connections or events; invocations
//! under way finish, up to the drain limit; instances and cells are removed; stores are closed.

mod ahead;
mod assemble;
mod checks;
mod egress;
mod front;
mod health;
pub mod native;
mod options;
mod price;
mod providers;
mod retire;
mod run;
mod token;
mod web;

pub use options::{CpuShare, Egress, Options, OptionsError};
pub use run::{Error, run, run_with};
pub use sonagi_sandbox_linux::ProcView;
pub use sonagi_store::{
    BackupError, BackupReport, KeyError, KeyReport, KeySource, StateDir, StateDirError, inspect_key, restore,
    rotate_key,
};

/// To be called first in `main`, before anything else: if this process was started as the sandbox's spawner, it does that
/// work and never returns.
pub fn before_threads() {
    sonagi_sandbox_linux::spawner::maybe_run();
}
