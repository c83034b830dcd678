//! Cold calls end to end, from sending the request to the whole answer, beside the bare start of the same interpreter.
//! Each sample calls a function that was deployed just before, has code of its own and has never run; the harness sees from
//! outside that no process has that code when the request is sent (`outside.rs`).

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sonagi_testkit::{Platform, Project};

use super::warm::interpreter;
use super::{Context, deploy, node_echo, platform, python_echo, static_bootstrap};
use crate::load::Connection;
use crate::process;
use crate::report::{Figure, Target};
use crate::stats::Samples;

/// Samples per figure.
const ROUNDS: u32 = 40;

/// Samples that are thrown away first.
const WARM_UP: usize = 3;

/// One kind of function and what stands beside it.
struct Kind {
    name: &'static str,
    project: fn(&str, &Path) -> Project,
    program: PathBuf,
    arguments: &'static [&'static str],
    beside: &'static str,
    target: Target,
}

pub async fn run(context: &Context) -> Result<Vec<Figure>> {
    let platform = platform().await;
    let bare = tempfile::tempdir()?;
    let bootstrap = static_bootstrap(&context.checkout)?;
    let kinds = [
        Kind {
            name: "Python",
            project: |name, _| python_echo(name),
            program: bare_python(&interpreter(&platform, &python_echo("x")).await?, bare.path()).await?,
            arguments: &["-c", "pass"],
            beside: "the same interpreter, -c pass, empty site-packages",
            target: Target::RatioAtMost(3.0),
        },
        Kind {
            name: "Node.js",
            project: |name, _| node_echo(name),
            program: interpreter(&platform, &node_echo("x")).await?,
            arguments: &["-e", "0"],
            beside: "the same interpreter, -e 0",
            target: Target::RatioAtMost(1.5),
        },
        Kind {
            name: "static binary",
            project: static_project,
            program: "/bin/true".into(),
            arguments: &[],
            beside: "/bin/true",
            target: Target::AtMost(10.0),
        },
    ];
    let mut figures = Vec::new();
    for kind in &kinds {
        eprintln!("bench: cold: {}", kind.name);
        figures.push(measure(context, &platform, kind, &bootstrap).await?);
    }
    Ok(figures)
}

async fn measure(context: &Context, platform: &Platform, kind: &Kind, bootstrap: &Path) -> Result<Figure> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..WARM_UP + context.rounds(ROUNDS) {
        let cold = cold_call(platform, kind, &format!("cold-{}-{round}", slug(kind.name)), bootstrap).await?;
        let bare = process::run_time(&kind.program, kind.arguments).await?;
        if round >= WARM_UP {
            ours.push(cold);
            theirs.push(bare);
        }
    }
    Ok(Figure::beside(
        &format!("cold call, {}", kind.name),
        "ms",
        &ours,
        (kind.beside, &theirs),
        kind.target,
    ))
}

/// Deploys a function and calls it once; returns the time of the call, milliseconds.
async fn cold_call(platform: &Platform, kind: &Kind, name: &str, bootstrap: &Path) -> Result<f64> {
    let project = (kind.project)(name, bootstrap);
    let target = deploy(platform, &project).await?;
    let mut connection = Connection::open(&target.address).await?;
    let begun = tokio::time::Instant::now();
    connection.call(&target).await?;
    let took = begun.elapsed();
    connection.close().await;
    assert_cold(platform, name).await?;
    let _ = platform.cli().run(&["rm", name]).await.expect("rm");
    Ok(took.as_secs_f64() * 1e3)
}

/// The platform's own record must say so too.
async fn assert_cold(platform: &Platform, name: &str) -> Result<()> {
    let runs = platform.cli().json(&["runs", name]).await;
    let text = runs.to_string();
    if !text.contains("\"cold\"") {
        bail!("{name}: not a cold start: {text}");
    }
    Ok(())
}

/// An environment of that interpreter whose site-packages are empty.
async fn bare_python(program: &Path, folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("empty");
    let made = tokio::process::Command::new(program)
        .args(["-m", "venv", "--without-pip"])
        .arg(&folder)
        .status()
        .await?;
    if !made.success() {
        bail!("{}: cannot make an empty environment", program.display());
    }
    Ok(folder.join("bin/python"))
}

fn static_project(name: &str, bootstrap: &Path) -> Project {
    Project::new(name).with_copy(bootstrap, "bootstrap")
}

fn slug(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}
