//! `cargo xtask test`: everything that must be green before a change lands, on a debug build, with what each part took.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::checkout::Checkout;
use crate::{setup, shell, tidy};

/// Sets up, checks and runs all tests; with a filter, only the tests whose name contains it, and no checks.
///
/// # Errors
/// Something is not as it must be; the part that found it has printed it.
pub fn run(checkout: &Checkout, filter: Option<&str>) -> Result<()> {
    // Everything is sandboxed for real: without root no test of it could mean anything.
    if shell::read(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("the tests make namespaces, mounts and control groups: run them as root");
    }
    let mut parts = Parts::default();
    parts.run("set-up", || setup::run(checkout))?;
    if filter.is_none() {
        parts.run("tidy", || tidy::run(checkout))?;
        parts.run("format", || {
            shell::run(cargo(checkout).args(["fmt", "--all", "--check"]))
        })?;
        parts.run("clippy", || {
            shell::run(cargo(checkout).args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ]))
        })?;
    }
    parts.run("build", || {
        shell::run(cargo(checkout).args(["build", "--workspace", "--bins", "--locked"]))?;
        shell::run(
            cargo(checkout)
                .args(["build", "--locked", "--manifest-path"])
                .arg(example(checkout))
                .args(["--target-dir", "target/examples"]),
        )
    })?;
    if filter.is_none() {
        parts.run("documentation tests", || {
            shell::run(cargo(checkout).args(["test", "--doc", "--workspace", "--locked"]))
        })?;
    }
    parts.run("tests", || shell::run(&mut tests(checkout, filter)))
}

fn tests(checkout: &Checkout, filter: Option<&str>) -> Command {
    let mut command = cargo(checkout);
    // The binary that the tests start is the one that was built above.
    command.env("SONAGI_BIN", checkout.path("target/debug/sonagi"));
    if shell::succeeds(cargo(checkout).args(["nextest", "--version"])) {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--config-file",
        ]);
        command.arg(checkout.path("xtask/nextest.toml")).args(filter);
    } else {
        command.args([
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--locked",
            "--no-fail-fast",
            "--",
        ]);
        command.args(filter);
    }
    command
}

fn example(checkout: &Checkout) -> std::path::PathBuf {
    checkout.path("examples/rust-hello/Cargo.toml")
}

fn cargo(checkout: &Checkout) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(checkout.root());
    command
}

/// The parts of the run, in order, each announced and timed.
#[derive(Debug, Default)]
struct Parts {
    done: usize,
}

impl Parts {
    fn run(&mut self, name: &str, part: impl FnOnce() -> Result<()>) -> Result<()> {
        self.done += 1;
        println!("==> {}. {name}", self.done);
        let begun = now();
        part()?;
        println!("==> {}. {name}: {}", self.done, in_seconds(begun.elapsed()));
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a chore tells how long it took; nothing is decided by it"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn in_seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
