//! `cargo xtask chaos`: destructive campaigns at the numbers that are promised. The ordinary tests run the same ones at
//! small numbers.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::checkout::Checkout;
use crate::{setup, shell};

/// A campaign.
#[derive(Debug, Subcommand)]
pub enum Campaign {
    /// Kill the platform at random moments under load (R1, R4, R5, R7).
    Kill {
        /// Events.
        #[arg(long, default_value_t = 10_000)]
        events: u64,
        /// Kills.
        #[arg(long, default_value_t = 50)]
        kills: u32,
        /// What is random follows from this.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// End the platform at every crash point (R2).
    CrashPoints {
        /// Only points whose name contains this.
        filter: Option<String>,
    },
    /// Copy the platform's disk at random moments under load, and start on the copies (R3).
    PowerCut {
        /// Cuts.
        #[arg(long, default_value_t = 200)]
        cuts: u32,
        /// What is random follows from this.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Fill the platform's disk under load, and make room again (R11).
    DiskFull {
        /// Times.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Simulate the core of the event queue with seeds one after the other (R1 to R8).
    Sim {
        /// Seeds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        first: u64,
    },
}

/// Runs a campaign on a debug build: release builds have no crash points.
///
/// # Errors
/// A promise is broken, or something is missing to find out.
pub fn run(checkout: &Checkout, campaign: &Campaign) -> Result<()> {
    let mut arguments = match campaign {
        Campaign::Sim { seeds, first } => return simulate(checkout, *seeds, *first),
        Campaign::Kill { events, kills, seed } => vec![
            "kill".to_owned(),
            format!("--events={events}"),
            format!("--kills={kills}"),
            format!("--seed={seed}"),
        ],
        Campaign::CrashPoints { filter } => std::iter::once("crash-points".to_owned())
            .chain(filter.clone())
            .collect(),
        Campaign::PowerCut { cuts, seed } => vec![
            "power-cut".to_owned(),
            format!("--cuts={cuts}"),
            format!("--seed={seed}"),
        ],
        Campaign::DiskFull { rounds } => vec!["disk-full".to_owned(), format!("--rounds={rounds}")],
    };
    if shell::read(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("the campaigns make sandboxes and mounts: run them as root");
    }
    setup::run(checkout)?;
    shell::run(cargo(checkout).args(["build", "--locked", "--package", "sonagi", "--package", "sonagi-chaos"]))?;
    // Mounts of a campaign are its own, and end with it whatever happens.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command.arg(checkout.path("target/debug/sonagi-chaos"));
    command.args(arguments.drain(..));
    command.env("SONAGI_BIN", checkout.path("target/debug/sonagi"));
    shell::run(&mut command)
}

fn simulate(checkout: &Checkout, seeds: u64, first: u64) -> Result<()> {
    let mut command = cargo(checkout);
    command.args(["test", "--locked", "--package", "sonagi-events", "--test", "it"]);
    command.args(["--", "--nocapture", "every_event_ends_exactly_once"]);
    command.env("SONAGI_SIM_SEEDS", seeds.to_string());
    command.env("SONAGI_SIM_FIRST", first.to_string());
    shell::run(&mut command)
}

fn cargo(checkout: &Checkout) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(checkout.root());
    command
}
