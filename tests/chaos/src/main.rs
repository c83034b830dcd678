//! Runs one campaign at the numbers given: `cargo xtask chaos` starts this.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sonagi_chaos::crash_points::{self, Outcome};
use sonagi_chaos::{disk_full, kill, power_cut};

/// Destructive tests of the platform.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Debug, Subcommand)]
enum Campaign {
    /// Kill it at random moments under load.
    Kill {
        #[arg(long, default_value_t = 10_000)]
        events: u64,
        #[arg(long, default_value_t = 50)]
        kills: u32,
        #[arg(long, default_value_t = 200)]
        rate: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// End it at every crash point.
    CrashPoints {
        /// Only points whose name contains this.
        filter: Option<String>,
        /// Only the first time that each point is reached.
        #[arg(long)]
        first: bool,
    },
    /// Copy its disk at random moments under load.
    PowerCut {
        #[arg(long, default_value_t = 200)]
        cuts: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Fill its disk, and make room again.
    DiskFull {
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().campaign).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(campaign: Campaign) -> Result<()> {
    match campaign {
        Campaign::Kill {
            events,
            kills,
            rate,
            seed,
        } => {
            let numbers = kill::Numbers {
                events,
                kills,
                rate,
                seed,
            };
            let outcome = kill::run(numbers).await?;
            println!("kill: {events} events, {kills} kills, 0 lost, 0 doubles: {outcome:?}");
        }
        Campaign::CrashPoints { filter, first } => points(filter.as_deref(), first).await?,
        Campaign::PowerCut { cuts, seed } => {
            let findings = power_cut::run(cuts, seed).await?;
            println!("power-cut: 0 missing: {findings:?}");
        }
        Campaign::DiskFull { rounds } => {
            let findings = disk_full::run(rounds).await?;
            println!("disk-full: 0 lost: {findings:?}");
        }
    }
    Ok(())
}

async fn points(filter: Option<&str>, first: bool) -> Result<()> {
    let (mut held, mut passed) = (std::collections::BTreeSet::new(), 0);
    let wanted = crash_points::all().into_iter();
    let wanted =
        wanted.filter(|(point, hit)| filter.is_none_or(|filter| point.contains(filter)) && (!first || *hit == 1));
    for (point, hit) in wanted {
        match crash_points::run(&point, hit).await? {
            Outcome::Held => {
                println!("held         {point}:{hit}");
                held.insert(point);
            }
            Outcome::NotReached => {
                println!("not reached  {point}:{hit}");
                passed += 1;
            }
        }
    }
    println!(
        "crash-points: {} points held, {passed} hits not reached, 0 violations",
        held.len()
    );
    Ok(())
}
