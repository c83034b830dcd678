//! Runs suites: `sonagi-bench [SUITE] [--record] [--scale N]`. `SONAGI_BIN` names the binary to measure.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use futures_util::FutureExt as _;
use sonagi_bench::proxy;
use sonagi_bench::report::Report;
use sonagi_bench::suites::{ALL, Context};
use tokio::time::Instant;

/// Measures the platform beside its references.
#[derive(Debug, Parser)]
#[command(max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// A suite (see bench/README.md); `all`, or none: all of them.
    suite: Option<String>,
    /// Write the results to `bench/results/`.
    #[arg(long)]
    record: bool,
    /// Multiply every number of repetitions by this (0.01 to 10).
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A server that does nothing, started by the floor suite as a process of its own.
    #[command(hide = true)]
    Hello,
    /// The reference's proxy, started by the warm suite as a process of its own.
    #[command(hide = true)]
    Proxy {
        /// Ports of its backends.
        backends: Vec<u16>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Hello) => return proxy::hello().await,
        Some(Part::Proxy { backends }) => return proxy::serve(&backends).await,
        None => {}
    }
    ensure!(
        (0.01..=10.0).contains(&arguments.scale),
        "--scale {} is not between 0.01 and 10",
        arguments.scale
    );
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let context = Context {
        checkout: checkout.clone(),
        scale: arguments.scale,
    };
    let suites = match arguments.suite.as_deref() {
        None | Some("all") => ALL.to_vec(),
        Some(suite) => vec![suite],
    };
    let folder = checkout.join("bench/results");
    let record = arguments.record.then_some(folder.as_path());
    run(&context, &suites, record).await
}

/// Runs suites one after the other. One that fails is reported and does not keep the others from running.
async fn run(context: &Context, suites: &[&str], record: Option<&Path>) -> Result<()> {
    let (mut missed, mut failed) = (0, Vec::new());
    for suite in suites {
        let begun = Instant::now();
        match attempt(context, suite).await {
            Ok(report) => {
                println!("\n{}({:.0} s)", report.text(), begun.elapsed().as_secs_f64());
                missed += report.missed();
                if let Some(folder) = record {
                    report.record(folder)?;
                }
            }
            Err(error) => {
                eprintln!("error: suite {suite}: {error:#}");
                failed.push(*suite);
            }
        }
    }
    println!("\n{missed} targets missed");
    if !failed.is_empty() {
        bail!("suites that failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs a suite. What drives the platform panics where it does not do what it must: that ends the suite, not the run.
async fn attempt(context: &Context, suite: &str) -> Result<Report> {
    let run = AssertUnwindSafe(context.run(suite)).catch_unwind();
    run.await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        bail!("{}", text.unwrap_or("it panicked"))
    })
}
