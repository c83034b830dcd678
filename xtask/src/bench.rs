//! `cargo xtask bench`: builds the release and lets the harness in `bench/` measure it.

use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{setup, shell};

/// Installs what is missing, builds and measures.
///
/// # Errors
/// Something is missing or failed; the part that did has printed it.
pub fn run(checkout: &Checkout, suite: Option<&str>, record: bool, scale: f64) -> Result<()> {
    setup::run(checkout)?;
    setup::references::run(checkout)?;
    println!("bench: building the release (the first time takes minutes)");
    let mut build = Command::new("cargo");
    build
        .current_dir(checkout.root())
        .args(["build", "--release", "--locked"]);
    shell::run(build.args(["-p", "sonagi", "-p", "sonagi-bench", "--bins"]))?;
    let mut bench = Command::new(checkout.path("target/release/sonagi-bench"));
    bench
        .current_dir(checkout.root())
        .env("SONAGI_BIN", checkout.path("target/release/sonagi"));
    bench
        .args(suite)
        .args(record.then_some("--record"))
        .arg(format!("--scale={scale}"));
    shell::run(&mut bench)
}
