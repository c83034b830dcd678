//! Drives a real `sonagi up` from outside, as a person and as the providers' own clients would: start, stop, kill,
//! command line, HTTP, client scripts, and a count of what is left behind.
//!
//! Nothing here depends on the platform's crates: what a test learns, it learns from the outside.

pub mod clients;
pub mod http;
pub mod leftovers;
pub mod platform;
pub mod project;
pub mod wait;

pub use clients::{Client, Environment};
pub use http::{Answer, Http};
pub use leftovers::Leftovers;
pub use platform::{Cli, Platform, Setup};
pub use project::Project;
pub use wait::until;

use std::path::PathBuf;

/// A path in the checkout.
#[must_use]
pub fn checkout(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

/// A path in the checkout's folder of installed things.
///
/// # Panics
/// It is not there: `cargo xtask setup` installs it.
#[must_use]
pub fn installed(relative: &str) -> PathBuf {
    let path = checkout(".cache").join(relative);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}
