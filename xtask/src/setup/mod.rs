//! Installs what is missing on a fresh Debian 12, as root: Debian packages, Python environments and Node.js releases
//! with the pinned clients. Each thing installed is named; when everything is there it takes some milliseconds.
//!
//! Everything but Debian's packages goes to the checkout's `.cache/`. Pins are the committed files below
//! `tests/conformance/clients/`.

pub mod debian;
mod node;
mod python;
pub mod references;
pub mod stamp;

use anyhow::Result;

use crate::checkout::Checkout;

/// Installs everything that tests, demo and benchmarks use.
///
/// # Errors
/// A package cannot be installed; its client's words are shown.
pub fn run(checkout: &Checkout) -> Result<()> {
    debian::run()?;
    python::run(checkout)?;
    node::run(checkout)
}
