//! The runtime side of Lambda against real runtime processes: our own Python and Node bootstraps, AWS's official runtime
//! interface clients, the Rust runtime crate, and raw sockets. The processes run without a sandbox, with the environment
//! of their launch plan, so that these tests need neither root nor the sandbox.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

mod harness;
mod node;
mod official;
mod pace;
mod packages;
mod protocol;
mod python;
mod rust;
