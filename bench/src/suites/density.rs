//! Memory of idle instances, as the kernel counts it: shared pages divided among those that share them (PSS), and pages
//! that are a process's own (private dirty).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sonagi_testkit::{Platform, Project, Setup};
use tokio::task::JoinSet;

use super::{Context, Findings, target};
use crate::load::{Connection, Target};
use crate::outside::Code;
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

/// Instances of each language that are looked at.
const FEW: u32 = 20;

/// Python instances that are kept idle at once.
const MANY: u32 = 1000;

/// Longest time of one call: starts queue here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Times that all instances are called for at once.
const WAVES: usize = 12;

/// Memory of all instances together: more than this machine has, so that memory refuses nothing here.
const NODE_MEMORY_MIB: u32 = 10_000_000;

const NODE: &str = "export const handler = async (event) => {\n\
    await new Promise((done) => setTimeout(done, 500));\n  return event.body ?? '';\n};\n";
const PYTHON: &str = "import json, os, re, time\n\
    def handler(event, context):\n    time.sleep(0.5)\n    return event.get('body', '')\n";

pub async fn run(context: &Context) -> Result<Findings> {
    let mut findings = Findings::default();
    let few = context.rounds(FEW).max(3);
    for (language, project, private, shared) in [
        (
            "Python",
            Project::python("density", PYTHON),
            Asked::AtMost(3.0),
            Asked::None,
        ),
        (
            "Node.js",
            Project::node("density", NODE),
            Asked::None,
            Asked::AtMost(30.0),
        ),
    ] {
        eprintln!("bench: density: {few} of {language}");
        let platform = roomy().await;
        let url = live(&platform, &project).await?;
        raise(&url, few).await?;
        let memory = Memory::look(&platform)?;
        let name = format!("idle {language} instance, {few} at once");
        let dirty = memory.samples(|entry| entry.private_dirty_kib);
        let pss = memory.samples(|entry| entry.pss_kib);
        findings
            .figures
            .push(Figure::alone(&format!("{name}: private dirty"), "MiB", &dirty, private));
        findings
            .figures
            .push(Figure::alone(&format!("{name}: PSS"), "MiB", &pss, shared));
    }
    many(context, &mut findings).await?;
    Ok(findings)
}

/// As many idle Python instances as are asked for: how many there are, and what they take together.
async fn many(context: &Context, findings: &mut Findings) -> Result<()> {
    let number = context.rounds(MANY).max(10);
    eprintln!("bench: density: {number} of Python");
    let platform = roomy().await;
    let project = Project::python("density", PYTHON);
    let url = live(&platform, &project).await?;
    // Starts are slower than calls end: each wave calls for more instances than there are, all at once, and those that are
    // there answer first. So the number of instances grows by what can start within a call's time, until none is missing.
    let mut there = 0;
    for _ in 0..WAVES {
        raise(&url, number).await?;
        there = Memory::look(&platform)?.0.len();
        if there >= number {
            break;
        }
    }
    if there < number {
        findings.notes.push(format!(
            "of {number} Python instances {there} were there after {WAVES} waves"
        ));
    }
    let memory = Memory::look(&platform)?;
    let total: f64 = memory.samples(|entry| entry.pss_kib).into_iter().sum();
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let there = memory.0.len() as f64;
    findings.figures.push(Figure::alone(
        &format!("idle Python instances at once, of {number}"),
        "instances",
        &one(there),
        Asked::AtLeast(number as f64),
    ));
    findings
        .figures
        .push(Figure::alone("their PSS together", "MiB", &one(total), Asked::None));
    Ok(())
}

async fn roomy() -> Platform {
    let setup = Setup::new().set("node-memory", NODE_MEMORY_MIB);
    setup.set("account-concurrency", 10_000).start().await
}

async fn live(platform: &Platform, project: &Project) -> Result<Target> {
    let arguments = ["deploy", project.as_str(), "--memory", "128", "--timeout", "60s"];
    let deployed = platform.cli().json(&arguments).await;
    target(platform, deployed["url"].as_str().context("a URL")?)
}

/// Calls a function so many times at once that as many instances are there afterwards.
async fn raise(target: &Target, number: usize) -> Result<()> {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let target = target.clone();
        let mut connection = Connection::open(&target.address).await?;
        calls.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, connection.call(&target)).await;
            connection.close().await;
            answer.map(|answer| answer.map(drop))
        });
    }
    while let Some(call) = calls.join_next().await {
        call?.with_context(|| format!("no answer in {PATIENCE:?}"))??;
    }
    Ok(())
}

/// What the kernel counts for one instance.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    pss_kib: u64,
    private_dirty_kib: u64,
}

/// Every instance, by its mount namespace: all processes of an instance share one.
struct Memory(BTreeMap<String, Entry>);

impl Memory {
    fn look(platform: &Platform) -> Result<Self> {
        let mut found: BTreeMap<String, Entry> = BTreeMap::new();
        for id in Code::look(platform).processes() {
            // A process that has ended since is no idle instance.
            let Ok(namespace) = fs::read_link(format!("/proc/{id}/ns/mnt")) else {
                continue;
            };
            let table = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let entry = found.entry(namespace.to_string_lossy().into_owned()).or_default();
            entry.pss_kib += kib(&table, "Pss:");
            entry.private_dirty_kib += kib(&table, "Private_Dirty:");
        }
        ensure!(!found.is_empty(), "no instance is there");
        Ok(Self(found))
    }

    fn samples(&self, value: impl Fn(&Entry) -> u64) -> Samples {
        self.0.values().map(|entry| value(entry) as f64 / 1024.0).collect()
    }
}

fn kib(table: &str, name: &str) -> u64 {
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_by_name() {
        let table = "55d0-7ffe ---p 00000000 00:00 0  [rollup]\nRss:  100 kB\nPss:   42 kB\nPss_Dirty: 7 kB\n";
        assert_eq!((kib(table, "Pss:"), kib(table, "Private_Dirty:")), (42, 0));
    }
}
