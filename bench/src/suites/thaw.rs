//! What a call pays for an instance that was frozen: calls right after another, and calls after the freeze, in turn.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sonagi_testkit::{Platform, Setup, until};
use tokio::time::Instant;

use super::{Context, Findings, deploy, python_echo};
use crate::load::{Connection, Target};
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

const ROUNDS: u32 = 200;

/// How far below the platform's groups those of instances are at most.
const DEPTH: usize = 4;

/// Added by the thaw, microseconds.
const ADDED: f64 = 60.0;

pub async fn run(context: &Context) -> Result<Findings> {
    let platform = Setup::new().set("freeze-after", "20ms").start().await;
    let target = deploy(&platform, &python_echo("thaw")).await?;
    let mut connection = Connection::open(&target.address).await?;
    let (mut frozen, mut running) = (Samples::default(), Samples::default());
    eprintln!("bench: thaw");
    for round in 0..context.rounds(ROUNDS) + 3 {
        timed(&mut connection, &target).await?;
        wait_until_frozen(&platform).await?;
        let after_freeze = timed(&mut connection, &target).await?;
        let at_once = timed(&mut connection, &target).await?;
        if round >= 3 {
            frozen.push(after_freeze);
            running.push(at_once);
        }
    }
    connection.close().await;
    let median = running.median().context("samples")?;
    let added = frozen.less(median);
    Ok(vec![
        Figure::alone(
            "added to a call by the thaw, Python",
            "us",
            &added,
            Asked::AtMost(ADDED),
        ),
        Figure::beside(
            "call of a frozen instance, Python",
            "us",
            &frozen,
            ("the call right after it", &running),
            Asked::None,
        ),
    ]
    .into())
}

async fn timed(connection: &mut Connection, target: &Target) -> Result<f64> {
    let begun = Instant::now();
    connection.call(target).await?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// Waits until the kernel says that a group of the platform is frozen.
async fn wait_until_frozen(platform: &Platform) -> Result<()> {
    let groups = platform.leftovers().groups;
    anyhow::ensure!(!groups.is_empty(), "the platform has no control groups");
    until("the freeze", Duration::from_secs(20), async || {
        groups.iter().any(|group| has_frozen(group, DEPTH)).then_some(())
    })
    .await;
    Ok(())
}

/// Whether a group or one below it is frozen: instances have groups of their own below the platform's.
fn has_frozen(group: &Path, depth: usize) -> bool {
    is_frozen(group)
        || depth > 0
            && fs::read_dir(group)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.path().is_dir() && has_frozen(&entry.path(), depth - 1))
}

/// Both versions of control groups say it in a file of their own.
fn is_frozen(group: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    read("freezer.state").trim() == "FROZEN" || read("cgroup.events").lines().any(|line| line == "frozen 1")
}
