//! Sandboxes made of what Linux has: namespaces, control groups, mounts, seccomp.
//!
//! Three kinds of process work together. The *server* ([`LinuxSandbox`], an adapter of [`sonagi_ports::Sandbox`]) decides
//! and waits. The *spawner* ([`spawner`]), the same executable in a single-threaded process of its own, does everything
//! that needs the host's rights. The *init* (`src/init`, a static program without a standard library, embedded) is the
//! first process of each cell.
//!
//! A *cell* is everything of an instance that does not depend on what will run in it: namespaces, root, control groups, a
//! user id, and a *stem*, a process that has given up every right and waits to be told what to execute. It is made ahead
//! of time where it is expected, serves one instance, and is removed with it.
//!
//! ```no_run
//! # use sonagi_sandbox_linux::{LinuxSandbox, Options, launch, spawner};
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // In the spawner process this does not return.
//!     spawner::maybe_run();
//!     // Before there are threads.
//!     let spawner = launch(&Options::new("/var/lib/sonagi"))?;
//!     tokio::runtime::Runtime::new()?.block_on(async {
//!         let sandbox = LinuxSandbox::attach(spawner)?;
//!         # drop(sandbox);
//!         Ok(())
//!     })
//! }
//! ```

mod cell;
pub mod cgroup;
mod channel;
mod instance;
pub mod interpreter;
mod launch;
mod link;
mod netlink;
mod plan;
mod protocol;
mod ready;
mod sandbox;
pub mod seccomp;
pub mod spawner;
mod sys;
mod uids;
#[path = "init/wire.rs"]
mod wire;

/// A program that runs others in one cell; see `init/supervise.rs` for what it is told and tells. Built by `build.rs`.
pub static SUPERVISOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/supervisor"));

pub use launch::{Denied, LaunchError, NatTold, Options, ProcView, Spawner, launch};
pub use sandbox::LinuxSandbox;
pub use sys::landlock::version as landlock_version;
pub use sys::schedule::wait_for_turns;
