//! Chores of the checkout: `cargo xtask setup|tidy|test|attacks|guest|demo|bench|chaos|compat`.
//!
//! Each command installs what it needs, says so, and writes only below the checkout (`target/`, `.cache/`) and to
//! temporary directories.

mod attacks;
mod bench;
mod chaos;
mod checkout;
mod compat;
mod demo;
mod guest;
mod setup;
mod shell;
mod suite;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the checkout.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what tests and demo need and is missing.
    Setup {
        /// And what the benchmarks stand beside.
        #[arg(long)]
        bench: bool,
    },
    /// Check crate arrows, licenses, sources, bans and the text of the tree.
    Tidy,
    /// Set up, check and run all tests (debug build).
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Break the platform on purpose, and look for what was promised.
    Chaos {
        #[command(subcommand)]
        campaign: chaos::Campaign,
    },
    /// Run hostile functions on a temporary platform, and print what came of each.
    Attacks {
        /// Only attacks whose name contains this.
        filter: Option<String>,
    },
    /// Run the sandbox's tests on unified control groups, in an emulated machine.
    Guest {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Run the conformance cases, and write the table of what works of each provider.
    Compat {
        /// Run nothing: what the cases declare passes, which the tests hold.
        #[arg(long)]
        declared: bool,
    },
    /// Show the six steps end to end on a temporary platform (release build).
    Demo,
    /// Measure beside the references (release build).
    Bench {
        /// A suite (see bench/README.md); `all`, or none: all of them.
        suite: Option<String>,
        /// Write the results to `bench/results/`.
        #[arg(long)]
        record: bool,
        /// Multiply every number of repetitions by this.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
}

fn main() -> ExitCode {
    let checkout = checkout::Checkout::locate();
    let result = match Arguments::parse().chore {
        Chore::Setup { bench: false } => setup::run(&checkout),
        Chore::Setup { bench: true } => setup::run(&checkout).and_then(|()| setup::references::run(&checkout)),
        Chore::Tidy => tidy::run(&checkout),
        Chore::Test { filter } => suite::run(&checkout, filter.as_deref()),
        Chore::Chaos { campaign } => chaos::run(&checkout, &campaign),
        Chore::Attacks { filter } => attacks::run(&checkout, filter.as_deref()),
        Chore::Guest { filter } => guest::run(&checkout, filter.as_deref()),
        Chore::Compat { declared } => compat::run(&checkout, declared),
        Chore::Demo => demo::run(&checkout),
        Chore::Bench { suite, record, scale } => bench::run(&checkout, suite.as_deref(), record, scale),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
