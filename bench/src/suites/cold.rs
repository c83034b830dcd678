//! Cold calls end to end, from sending the request to the whole answer, beside the bare start of the same interpreter and
//! beside container runtimes that start the same binary. Each sample calls a function that was deployed just before, has
//! code of its own and has never run; the harness sees from outside that no process has that code when the request is sent
//! (`outside.rs`). Before each sample the platform has finished what it does ahead of demand: these are hits of its pools;
//! a miss and a burst are in the suite `burst`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sonagi_testkit::{Platform, Project};

use super::{Context, Findings, deploy_with, platform, static_bootstrap};
use crate::containers::{Containers, Runtime};
use crate::load::Connection;
use crate::outside::{self, Code};
use crate::process;
use crate::report::{Figure, Target};
use crate::stats::Samples;

/// Samples per figure.
const ROUNDS: u32 = 40;

/// Rounds of the references that take long.
const SLOW_ROUNDS: u32 = 5;

/// Samples that are thrown away first.
const WARM_UP: usize = 3;

/// The smallest Python function that does what most do.
const PYTHON: &str = "import json, os, re\n\
    def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body', '')}\n";
const BOTO3: &str = "import boto3\n\
    def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body', '')}\n";
const NODE: &str = "export const handler = async (event) => ({ statusCode: 200, body: event.body ?? '' });\n";
/// As the provider's documentation starts its Python client in a custom runtime.
const AWSLAMBDARIC: &str =
    "#!/bin/sh\ncd /var/task\nexport PYTHONPATH=/var/task\nexec python3 -m awslambdaric \"$_HANDLER\"\n";

/// One kind of function.
struct Kind<'a> {
    name: &'static str,
    make: Box<dyn Fn(&str) -> Project + 'a>,
    arguments: &'static [&'static str],
    target: Target,
    /// The bare program beside it.
    bare: Option<Bare>,
    rounds: u32,
}

/// A program that is started by itself.
struct Bare {
    program: PathBuf,
    arguments: &'static [&'static str],
    name: String,
    target: Target,
}

pub async fn run(context: &Context) -> Result<Findings> {
    let platform = platform().await;
    let empty = tempfile::tempdir()?;
    let bootstrap = static_bootstrap(&context.checkout)?;
    let mut findings = Findings::default();
    findings
        .notes
        .push("pinned: nothing; client and platform share all processors".to_owned());
    containers(context, &platform, &bootstrap, &mut findings).await?;
    for kind in kinds(context, &platform, empty.path(), &mut findings).await? {
        eprintln!("bench: cold: {}", kind.name);
        match measure(context, &platform, &kind).await {
            Ok(figures) => findings.figures.extend(figures),
            Err(error) => findings.notes.push(format!("left out: {}: {error:#}", kind.name)),
        }
    }
    findings.notes.push("left out: youki: not tried yet".to_owned());
    Ok(findings)
}

async fn kinds<'a>(
    context: &'a Context,
    platform: &Platform,
    empty: &Path,
    findings: &mut Findings,
) -> Result<Vec<Kind<'a>>> {
    let python = interpreter(platform, &Project::python("which-python", WHICH_PYTHON), &[]).await?;
    // 12 ms against 7.8 ms here: the share that is asked for depends on who built the interpreter.
    let (built, share) = if python.starts_with("/usr/bin") {
        ("Debian's", 1.0 / 7.0)
    } else {
        ("an own build", 1.0 / 10.0)
    };
    let packages = |name: &str| context.checkout.join(".cache/python").join(name);
    let boto3 = boto3_source(platform, packages("boto3-bundle"), findings).await?;
    let mut kinds = vec![
        Kind {
            name: "Python, imports json, os, re",
            make: Box::new(|name| Project::python(name, &format!("{PYTHON}# {name}\n"))),
            arguments: &[],
            target: Target::Within { median: 1.0, p99: 2.5 },
            bare: Some(Bare {
                program: bare_python(&python, empty).await?,
                arguments: &["-c", "pass"],
                name: format!("the same interpreter ({built}), -c pass, empty site-packages"),
                target: Target::RatioAtMost(share),
            }),
            rounds: ROUNDS,
        },
        Kind {
            name: "Python, imports boto3",
            make: Box::new(move |name| boto3(name)),
            arguments: &[],
            target: Target::AtMost(3.0),
            bare: None,
            rounds: SLOW_ROUNDS * 2,
        },
        Kind {
            name: "custom runtime, official awslambdaric",
            make: Box::new(move |name| {
                let project = Project::bootstrap(name, AWSLAMBDARIC).with_copy(&packages("awslambdaric"), "");
                project.with("app.py", format!("{PYTHON}# {name}\n"))
            }),
            arguments: &["--runtime", "provided.al2023", "--handler", "app.handler"],
            target: Target::Within { median: 1.6, p99: 3.5 },
            bare: None,
            rounds: SLOW_ROUNDS * 2,
        },
    ];
    for (name, arguments, share) in [
        ("Node.js 20", &["--runtime", "nodejs20.x"], 1.0 / 25.0),
        ("Node.js 22", &["--runtime", "nodejs22.x"], 1.0 / 8.0),
    ] {
        let which = Project::node("which-node", "export const handler = async () => process.execPath;\n");
        let program = interpreter(platform, &which, arguments).await?;
        kinds.push(Kind {
            name,
            make: Box::new(|name| Project::node(name, &format!("{NODE}// {name}\n"))),
            arguments,
            target: Target::Within { median: 2.0, p99: 4.0 },
            bare: Some(Bare {
                program,
                arguments: &["-e", "0"],
                name: "the same interpreter, -e 0".to_owned(),
                target: Target::RatioAtMost(share),
            }),
            rounds: ROUNDS,
        });
    }
    Ok(kinds)
}

const WHICH_PYTHON: &str =
    "import os, sys\ndef handler(event, context):\n    return os.path.realpath(sys.executable)\n";

/// The resolved interpreter that runs a function: it says so itself.
async fn interpreter(platform: &Platform, project: &Project, arguments: &[&str]) -> Result<PathBuf> {
    deploy_with(platform, project, arguments).await?;
    let name = project
        .path()
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    let answer = platform.cli().run(&["invoke", name, "{}"]).await.expect("invoke");
    let path: String = serde_json::from_str(answer.trim()).with_context(|| format!("{answer:?}"))?;
    Ok(path.into())
}

/// A function that uses the runtime's own boto3, or where the platform brings none, a copy of its own.
async fn boto3_source(
    platform: &Platform,
    copy: PathBuf,
    findings: &mut Findings,
) -> Result<impl Fn(&str) -> Project + use<>> {
    let plain = |name: &str| Project::python(name, &format!("{BOTO3}# {name}\n"));
    let target = deploy_with(platform, &plain("which-boto3"), &[]).await?;
    let brought = Connection::open(&target.address).await?.call(&target).await.is_ok();
    if !brought {
        let note = "the platform was started without a bundle for Python: boto3 is the function's own copy";
        findings.notes.push(note.to_owned());
    }
    Ok(move |name: &str| {
        if brought {
            plain(name)
        } else {
            plain(name).with_copy(&copy, "")
        }
    })
}

/// A kind beside its bare program.
async fn measure(context: &Context, platform: &Platform, kind: &Kind<'_>) -> Result<Vec<Figure>> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..WARM_UP + context.rounds(kind.rounds) {
        let cold = cold_call(platform, &kind.make, kind.arguments, &slug(kind.name, round)).await?;
        let bare = match &kind.bare {
            Some(bare) => Some(process::run_time(&bare.program, bare.arguments).await?),
            None => None,
        };
        if round >= WARM_UP {
            ours.push(cold);
            theirs.extend(bare);
        }
    }
    let name = format!("cold call, {}", kind.name);
    let mut figures = vec![Figure::alone(&name, "ms", &ours, kind.target)];
    if let Some(bare) = &kind.bare {
        figures.push(Figure::beside(&name, "ms", &ours, (&bare.name, &theirs), bare.target));
    }
    Ok(figures)
}

/// Deploys a function and calls it once; returns the time of the call, milliseconds.
async fn cold_call(platform: &Platform, make: &dyn Fn(&str) -> Project, arguments: &[&str], name: &str) -> Result<f64> {
    let target = deploy_with(platform, &make(name), arguments).await?;
    outside::settle(platform).await;
    let before = Code::look(platform);
    let mut connection = Connection::open(&target.address).await?;
    let begun = tokio::time::Instant::now();
    connection.call(&target).await?;
    let took = begun.elapsed();
    before.ensure_cold(platform)?;
    connection.close().await;
    let _ = platform.cli().run(&["rm", name]).await.expect("rm");
    Ok(took.as_secs_f64() * 1e3)
}

/// The static binary beside everything that starts it in a sandbox here.
async fn containers(context: &Context, platform: &Platform, bootstrap: &Path, findings: &mut Findings) -> Result<()> {
    let make = |name: &str| {
        Project::new(name)
            .with_copy(bootstrap, "bootstrap")
            .with("name.txt", name)
    };
    let mut runtimes = Containers::new(&context.checkout, bootstrap)
        .inspect_err(|error| findings.notes.push(format!("left out: {error:#}")))
        .ok();
    let beside = [
        (Runtime::Bare, Target::None, ROUNDS),
        (Runtime::Wrapper, Target::None, ROUNDS),
        (Runtime::Bubblewrap, Target::None, ROUNDS),
        (Runtime::Crun, Target::RatioAtMost(1.0 / 6.0), ROUNDS),
        (Runtime::Runc, Target::RatioAtMost(1.0 / 15.0), ROUNDS),
        (Runtime::Podman, Target::None, SLOW_ROUNDS),
    ];
    let mut ours = Samples::default();
    let mut theirs: Vec<_> = beside.iter().map(|_| Ok(Samples::default())).collect();
    eprintln!("bench: cold: static binary");
    for round in 0..WARM_UP + context.rounds(ROUNDS) {
        let cold = cold_call(platform, &make, &[], &slug("static", round)).await?;
        if round >= WARM_UP {
            ours.push(cold);
        }
        let Some(runtimes) = &mut runtimes else { continue };
        for ((runtime, _, rounds), samples) in beside.iter().zip(&mut theirs) {
            if round >= WARM_UP + context.rounds(*rounds) || samples.is_err() {
                continue;
            }
            match runtimes.first_byte(*runtime).await {
                Ok(took) if round >= WARM_UP => samples.iter_mut().for_each(|samples| samples.push(took)),
                Ok(_) => {}
                Err(error) => *samples = Err(error),
            }
        }
    }
    let limits = Target::Within { median: 0.8, p99: 2.0 };
    findings
        .figures
        .push(Figure::alone("cold call, static binary", "ms", &ours, limits));
    let wrapper = overhead(&theirs, runtimes.as_ref().is_some_and(Containers::is_wrapped));
    for ((runtime, target, _), samples) in beside.iter().zip(&theirs) {
        match samples {
            Ok(samples) => {
                let net = if *runtime == Runtime::Crun {
                    samples.less(wrapper)
                } else {
                    samples.clone()
                };
                let reference = (runtime.name(), &net);
                findings.figures.push(Figure::beside(
                    "cold call, static binary",
                    "ms",
                    &ours,
                    reference,
                    *target,
                ));
            }
            Err(error) => findings.notes.push(format!("left out: {}: {error:#}", runtime.name())),
        }
    }
    Ok(())
}

/// What the wrapper alone takes: its median around a bare exec less that of the bare exec.
fn overhead(theirs: &[Result<Samples>], wrapped: bool) -> f64 {
    let median = |at: usize| theirs.get(at).and_then(|samples| samples.as_ref().ok()?.median());
    match (median(0), median(1)) {
        (Some(bare), Some(wrapper)) if wrapped => (wrapper - bare).max(0.0),
        _ => 0.0,
    }
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

fn slug(name: &str, round: usize) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("cold-{}-{round}", letters.to_lowercase())
}
