//! Many cold starts at once, many in a row, and one that finds nothing prepared.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sonagi_testkit::{Platform, Project, Setup, until};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Context, Findings, deploy, static_bootstrap};
use crate::functions::Many;
use crate::load::{Connection, Target};
use crate::outside::{self, Code};
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

/// Calls at once.
const BURST: u32 = 200;

/// How long starts follow one another.
const SUSTAINED: Duration = Duration::from_secs(20);

/// Calls under way during that time.
const WORKERS: usize = 16;

/// Functions that they go round.
const FUNCTIONS: usize = 128;

/// Samples of a start that finds nothing prepared.
const MISSES: u32 = 30;

/// Memory of all instances together: more than this machine has, so that memory refuses nothing here.
const NODE_MEMORY_MIB: u32 = 1_000_000;

const ECHO: &str = "import json, os, re\ndef handler(event, context):\n    return event.get('body', '')\n";
const SLOW: &str = "import time\ndef handler(event, context):\n    time.sleep(0.1)\n    return event.get('body', '')\n";

pub async fn run(context: &Context) -> Result<Findings> {
    let mut findings = Findings::default();
    findings
        .notes
        .push("pinned: nothing; client and platform share all processors".to_owned());
    let number = context.rounds(BURST).max(8);
    eprintln!("bench: burst: {number} functions at once");
    let (errors, took) = many_functions(number).await?;
    let name = format!("{number} simultaneous cold calls to {number} Python functions");
    findings.figures.push(Figure::alone(
        &format!("{name}: time of each"),
        "ms",
        &took,
        Asked::MaxAtMost(1000.0),
    ));
    findings.figures.push(Figure::alone(
        &format!("{name}: errors"),
        "calls",
        &one(errors),
        Asked::AtMost(0.0),
    ));
    eprintln!("bench: burst: {number} calls of one function at once");
    let (errors, took) = one_function(number).await?;
    let name = format!("0 to {number} concurrent 100 ms calls of one Python function");
    findings.figures.push(Figure::alone(
        &format!("{name}: time of each"),
        "ms",
        &took,
        Asked::MaxAtMost(600.0),
    ));
    findings.figures.push(Figure::alone(
        &format!("{name}: errors"),
        "calls",
        &one(errors),
        Asked::AtMost(0.0),
    ));
    let bootstrap = static_bootstrap(&context.checkout)?;
    for (language, program, asked) in [
        ("static binary", Some(bootstrap.as_path()), 400.0),
        ("Python", None, 220.0),
    ] {
        eprintln!("bench: burst: sustained, {language}");
        match sustained(context, program).await {
            Ok(rate) => findings.figures.push(Figure::alone(
                &format!("sustained cold starts with teardown, {language}"),
                "per s",
                &one(rate),
                Asked::AtLeast(asked),
            )),
            Err(error) => findings
                .notes
                .push(format!("left out: sustained, {language}: {error:#}")),
        }
    }
    eprintln!("bench: burst: nothing prepared");
    let misses = misses(context).await?;
    let name = "cold call that finds nothing prepared, Python";
    findings
        .figures
        .push(Figure::alone(name, "ms", &misses, Asked::AtMost(5.0)));
    Ok(findings)
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}

async fn roomy() -> Platform {
    Setup::new().set("node-memory", NODE_MEMORY_MIB).start().await
}

async fn many_functions(number: usize) -> Result<(f64, Samples)> {
    let platform = roomy().await;
    let many = Many {
        prefix: "burst",
        first: 0,
        count: number,
        memory_mib: 1769,
        source: ECHO,
        program: None,
    };
    let targets = many.deploy_with_urls(&platform).await?;
    outside::settle(&platform).await;
    let before = Code::look(&platform);
    anyhow::ensure!(
        before.processes().is_empty(),
        "not cold: processes have code before the burst: {before:?}"
    );
    at_once(targets).await
}

async fn one_function(number: usize) -> Result<(f64, Samples)> {
    let platform = roomy().await;
    let target = deploy(&platform, &Project::python("burst", SLOW)).await?;
    outside::settle(&platform).await;
    at_once(vec![target; number]).await
}

/// Sends one request to each target at the same moment, over connections that are open; returns how many failed, and the
/// time of each, milliseconds.
async fn at_once(targets: Vec<Target>) -> Result<(f64, Samples)> {
    let barrier = std::sync::Arc::new(Barrier::new(targets.len()));
    let mut calls = JoinSet::new();
    for target in targets {
        let barrier = std::sync::Arc::clone(&barrier);
        let mut connection = Connection::open(&target.address).await?;
        calls.spawn(async move {
            barrier.wait().await;
            let begun = Instant::now();
            let answer = connection.call(&target).await;
            let took = begun.elapsed();
            connection.close().await;
            answer.map(|_| took)
        });
    }
    let (mut failed, mut samples) = (0, Samples::default());
    while let Some(call) = calls.join_next().await {
        match call? {
            Ok(took) => samples.push(took.as_secs_f64() * 1e3),
            Err(error) => {
                if failed == 0 {
                    eprintln!("bench: burst: {error}");
                }
                failed += 1;
            }
        }
    }
    Ok((f64::from(failed), samples))
}

/// Starts a second over the time, the removal of their instances included: instances are given up right after their
/// answer, workers go round many functions, and the platform's own records say which calls were cold. The time ends when
/// the last instance is gone.
async fn sustained(context: &Context, program: Option<&std::path::Path>) -> Result<f64> {
    let setup = Setup::new().set("keep-alive", "1ms").set("freeze-after", "1h");
    let platform = setup.set("node-memory", NODE_MEMORY_MIB).start().await;
    let many = Many {
        prefix: "sustained",
        first: 0,
        count: FUNCTIONS,
        memory_mib: 1769,
        source: ECHO,
        program,
    };
    let targets = std::sync::Arc::new(many.deploy_with_urls(&platform).await?);
    outside::settle(&platform).await;
    let time = context.time(SUSTAINED);
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let targets = std::sync::Arc::clone(&targets);
        workers.spawn(async move {
            let mut connection = Connection::open(&targets[0].address).await?;
            let mut at = worker;
            while begun.elapsed() < time {
                connection.call(&targets[at % targets.len()]).await?;
                at += WORKERS;
            }
            connection.close().await;
            Ok::<_, sonagi_measure::Error>(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    until("the end of all instances", Duration::from_secs(60), async || {
        Code::look(&platform).processes().is_empty().then_some(())
    })
    .await;
    let took = begun.elapsed();
    Ok(cold_starts(&platform).await? / took.as_secs_f64())
}

/// Cold starts that the platform has recorded.
async fn cold_starts(platform: &Platform) -> Result<f64> {
    let runs = platform.cli().json(&["runs", "--limit", "1000000"]).await;
    let runs = runs["runs"].as_array().context("a list of runs")?;
    Ok(runs.iter().filter(|run| run["start"] == "cold").count() as f64)
}

/// Single cold calls where no cell is prepared.
async fn misses(context: &Context) -> Result<Samples> {
    let platform = Setup::new().set("cells", 0).start().await;
    let number = context.rounds(MISSES);
    let many = Many {
        prefix: "miss",
        first: 0,
        count: number,
        memory_mib: 1769,
        source: ECHO,
        program: None,
    };
    let mut samples = Samples::default();
    for target in many.deploy_with_urls(&platform).await? {
        outside::settle(&platform).await;
        let before = Code::look(&platform);
        let mut connection = Connection::open(&target.address).await?;
        let begun = Instant::now();
        connection.call(&target).await?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
        before.ensure_cold(&platform)?;
        connection.close().await;
    }
    Ok(samples)
}
