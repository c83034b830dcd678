//! What the platform uses when it has many functions and nothing to do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sonagi_testkit::{Platform, Project};
use tokio::time::sleep;

use super::{Context, Findings, platform};
use crate::functions::Many;
use crate::machine;
use crate::process::{self, Usage};
use crate::report::{Figure, Target};
use crate::stats::Samples;

/// Functions that are deployed.
const FUNCTIONS: u32 = 10_000;

/// Functions that are made by one client script, so that each stays within its time.
const BATCH: usize = 1000;

/// How long nothing happens.
const TIME: Duration = Duration::from_secs(30);

/// How long what was left to do may take, before anything is deployed and after: then the platform rests, two minutes after
/// the last start or deployment.
const SETTLE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(130)];

/// Clock ticks a second, the unit of CPU time in `/proc`.
const TICKS: f64 = 100.0;

/// Samples of one more deployment.
const ROUNDS: u32 = 20;

const SOURCE: &str = "def handler(event, context):\n    return event\n";

pub async fn run(context: &Context) -> Result<Findings> {
    let platform = platform().await;
    eprintln!("bench: idle: nothing deployed");
    let empty = measure(&platform, SETTLE[0], context.time(TIME)).await;
    let number = context.rounds(FUNCTIONS);
    eprintln!("bench: idle: deploying {number} functions");
    let mut first = 0;
    while first < number {
        let many = Many {
            prefix: "idle",
            first,
            count: BATCH.min(number - first),
            memory_mib: 128,
            source: SOURCE,
            program: None,
        };
        many.deploy(&platform).await?;
        first += many.count;
    }
    eprintln!("bench: idle: waiting");
    let full = measure(&platform, SETTLE[1], context.time(TIME)).await;
    let more = one_more(context, &platform).await?;
    let mut figures = figures("nothing deployed", &empty, 25.0);
    figures.extend(figures_of(number, &full));
    let disk = machine::fsync(platform.data(), context.rounds(200))?;
    figures.push(Figure::beside(
        &format!("deploy of one more beside {number}, as the command line reports it"),
        "ms",
        &more,
        ("one fsync", &disk),
        Target::AtMost(15.0),
    ));
    Ok(figures.into())
}

fn figures_of(number: usize, idle: &Idle) -> Vec<Figure> {
    figures(&format!("{number} functions"), idle, 150.0)
}

fn figures(what: &str, idle: &Idle, memory: f64) -> Vec<Figure> {
    let figure = |name: &str, unit, value: f64, most| {
        let samples = [value].into_iter().collect::<Samples>();
        Figure::alone(&format!("{what}, idle: {name}"), unit, &samples, Target::AtMost(most))
    };
    vec![
        figure("resident memory", "MiB", idle.resident_mib, memory),
        figure("CPU, share of a core", "%", idle.cpu_percent, 0.1),
        figure("written to disk", "B", idle.written, 0.0),
    ]
}

/// From sending the archive until calls run it, as `sonagi deploy` reports it, with everything else deployed.
async fn one_more(context: &Context, platform: &Platform) -> Result<Samples> {
    let mut samples = Samples::default();
    for round in 0..context.rounds(ROUNDS) {
        let name = format!("more-{round}");
        let project = Project::python(&name, &format!("{SOURCE}# {name}\n"));
        let deployed = platform.cli().json(&["deploy", project.as_str()]).await;
        samples.push(
            deployed["live_ms"]
                .as_f64()
                .context("live_ms in what `sonagi deploy` prints")?,
        );
    }
    Ok(samples)
}

struct Idle {
    resident_mib: f64,
    cpu_percent: f64,
    written: f64,
}

async fn measure(platform: &Platform, settle: Duration, time: Duration) -> Idle {
    sleep(settle).await;
    let before = process::usage(platform.id());
    sleep(time).await;
    let after: Usage = process::usage(platform.id());
    Idle {
        resident_mib: after.resident_kib as f64 / 1024.0,
        cpu_percent: after.ticks.saturating_sub(before.ticks) as f64 / TICKS / time.as_secs_f64() * 100.0,
        written: after.written.saturating_sub(before.written) as f64,
    }
}
