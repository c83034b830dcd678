//! The benchmark harness: each figure beside its reference, measured in the same run in alternating rounds.
//!
//! `cargo xtask bench [SUITE]` builds the release and runs `sonagi-bench`. Every loop is bounded in count or time, every
//! server is on a loopback address with a port that the kernel chose, and every process started here is ended here.

pub mod client;
pub mod containers;
pub mod direct;
pub mod functions;
pub mod outside;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod stubs;
pub mod suites;

pub use sonagi_measure::{load, machine, pin, report, stats};
