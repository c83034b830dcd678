//! Runs suites: `sonagi-bench [SUITE] [--record] [--scale N]`. `SONAGI_BIN` names the binary to measure.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use sonagi_bench::proxy;
use sonagi_bench::suites::{ALL, Context};

/// Measures the platform beside its references.
#[derive(Debug, Parser)]
#[command(max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// warm, cold, deploy or idle; all of them without.
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
    if let Some(Part::Proxy { backends }) = arguments.part {
        return proxy::serve(&backends).await;
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
    let suites = arguments
        .suite
        .as_deref()
        .map_or_else(|| ALL.to_vec(), |suite| vec![suite]);
    let mut missed = 0;
    for suite in suites {
        let report = context.run(suite).await?;
        report.print();
        missed += report.figures.iter().filter(|figure| figure.met == Some(false)).count();
        if arguments.record {
            report.record(&checkout.join("bench/results"))?;
        }
    }
    println!("\n{missed} targets missed");
    Ok(())
}
