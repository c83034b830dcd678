//! `cargo xtask attacks`: hostile functions against the platform (debug build), with a table of what came of each.

use std::process::Command;

use anyhow::{Result, bail};

use crate::checkout::Checkout;
use crate::{setup, shell};

/// Installs what is missing, builds, and runs the attacks whose name contains the filter.
///
/// # Errors
/// An attack got through, or something is missing to find out.
pub fn run(checkout: &Checkout, filter: Option<&str>) -> Result<()> {
    if shell::read(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("the platform's full profile needs root: run the attacks as root");
    }
    setup::run(checkout)?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(checkout.root()).args(["build", "--locked"]);
    shell::run(build.args(["--package", "sonagi", "--package", "sonagi-attacks", "--bins"]))?;
    let mut attacks = Command::new(checkout.path("target/debug/attacks"));
    attacks.current_dir(checkout.root()).args(filter);
    shell::run(attacks.env("SONAGI_BIN", checkout.path("target/debug/sonagi")))
}
