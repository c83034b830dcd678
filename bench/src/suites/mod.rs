//! The suites, and what they share.

mod burst;
mod cold;
mod density;
mod deploy;
mod floor;
mod idle;
mod peers;
mod routes;
mod thaw;
mod warm;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use sonagi_testkit::{Platform, Project, Setup};

use crate::load::Target;
use crate::machine::Machine;
use crate::report::{Figure, Report};

/// Names of all suites, in the order in which they run.
pub const ALL: &[&str] = &[
    "warm", "cold", "burst", "peers", "floor", "deploy", "idle", "thaw", "density", "routes",
];

/// Memory of functions under measurement: a whole core by the provider's rule.
const MEMORY_MIB: &str = "1769";

/// The body of requests, 64 bytes of JSON.
const BODY: &str = r#"{"n":1,"text":"................................................"}"#;

/// What every suite gets.
#[derive(Debug)]
pub struct Context {
    /// The checkout.
    pub checkout: PathBuf,
    /// Multiplies numbers of repetitions.
    pub scale: f64,
}

impl Context {
    /// A number of repetitions, scaled, at least one.
    #[must_use]
    pub fn rounds(&self, rounds: u32) -> usize {
        (f64::from(rounds) * self.scale).round().max(1.0) as usize
    }

    /// A time, scaled, at least 50 ms.
    #[must_use]
    pub fn time(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale).max(Duration::from_millis(50))
    }

    /// Runs one suite.
    ///
    /// # Errors
    /// There is no such suite, or something in it failed.
    pub async fn run(&self, suite: &str) -> Result<Report> {
        let machine = Machine::look(&self.checkout)?;
        let findings: Findings = match suite {
            "warm" => warm::run(self).await?.into(),
            "cold" => cold::run(self).await?,
            "burst" => burst::run(self).await?,
            "peers" => peers::run(self).await?,
            "floor" => floor::run(self).await?,
            "thaw" => thaw::run(self).await?,
            "density" => density::run(self).await?,
            "routes" => routes::run(self).await?,
            "deploy" => deploy::run(self).await?.into(),
            "idle" => idle::run(self).await?,
            other => bail!("no suite {other:?}: there are {}", ALL.join(", ")),
        };
        Ok(Report {
            suite: suite.to_owned(),
            machine,
            scale: self.scale,
            notes: findings.notes,
            figures: findings.figures,
        })
    }
}

/// What a suite found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Its figures.
    pub figures: Vec<Figure>,
    /// What one must know to read them: what is pinned, what was left out and why.
    pub notes: Vec<String>,
}

impl From<Vec<Figure>> for Findings {
    fn from(figures: Vec<Figure>) -> Self {
        let notes = Vec::new();
        Self { figures, notes }
    }
}

/// A platform with the settings that figures are made with.
async fn platform() -> Platform {
    Setup::new().start().await
}

/// The echo function in Python.
fn python_echo(name: &str) -> Project {
    Project::python(
        name,
        "def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body', '')}\n",
    )
}

/// The echo function in Node.js.
fn node_echo(name: &str) -> Project {
    let source = "export const handler = async (event) => ({ statusCode: 200, body: event.body ?? '' });\n";
    Project::node(name, source)
}

/// Deploys a project with a public URL and returns where to call it.
async fn deploy(platform: &Platform, project: &Project) -> Result<Target> {
    deploy_with(platform, project, &[]).await
}

/// The same with further arguments of `sonagi deploy`.
async fn deploy_with(platform: &Platform, project: &Project, more: &[&str]) -> Result<Target> {
    let arguments = [&["deploy", project.as_str(), "--memory", MEMORY_MIB], more].concat();
    let deployed = platform.cli().json(&arguments).await;
    let url = deployed["url"]
        .as_str()
        .with_context(|| format!("no URL in {deployed}"))?;
    target(platform, url)
}

/// Where a URL leads on this platform.
/// # Errors
/// It is no plain URL.
pub fn target(platform: &Platform, url: &str) -> Result<Target> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("{url}: not a plain URL"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = format!("127.0.0.1:{}", platform.port());
    Ok(Target {
        address,
        host: host.to_owned(),
        path: format!("/{path}"),
        body: Bytes::from_static(BODY.as_bytes()),
    })
}

/// A small static custom runtime, built once.
fn static_bootstrap(checkout: &Path) -> Result<PathBuf> {
    let folder = checkout.join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("bootstrap");
    let source = checkout.join("bench/reference/static_echo.rs");
    let mut rustc = std::process::Command::new("rustc");
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
        "-C",
        "relocation-model=static",
    ]);
    let built = rustc
        .args(["-C", "strip=symbols"])
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status()?;
    if !built.success() {
        bail!("cannot build {}", source.display());
    }
    Ok(program)
}
