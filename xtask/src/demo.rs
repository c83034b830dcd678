//! `cargo xtask demo`: builds the release and lets the demonstration program (`tests/e2e/src/bin/demo.rs`) drive it.

use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{setup, shell};

/// Installs what is missing, builds and runs the demonstration.
///
/// # Errors
/// Something is missing or failed; the part that did has printed it.
pub fn run(checkout: &Checkout) -> Result<()> {
    setup::run(checkout)?;
    println!("demo: building the release (the first time takes minutes)");
    let mut build = Command::new("cargo");
    build
        .current_dir(checkout.root())
        .args(["build", "--release", "--locked"]);
    shell::run(build.args(["-p", "sonagi", "-p", "sonagi-e2e", "--bins"]))?;
    let mut demo = Command::new(checkout.path("target/release/demo"));
    shell::run(
        demo.current_dir(checkout.root())
            .env("SONAGI_BIN", checkout.path("target/release/sonagi")),
    )
}
