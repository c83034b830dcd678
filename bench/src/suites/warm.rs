//! Warm calls through a function's URL, beside the smallest server in the same language behind one hyper hop. Both sides
//! have as many function processes as connections, since an instance works on one event at a time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use sonagi_testkit::{Platform, Project};

use super::{BODY, Context, deploy, node_echo, platform, python_echo};
use crate::load::{self, Target};
use crate::process::Server;
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

/// Rounds per figure; each measures ours and the reference once.
const ROUNDS: u32 = 7;

/// How long one side is measured in a round.
const TIME: Duration = Duration::from_secs(2);

/// Numbers of connections.
const CONNECTIONS: &[usize] = &[1, 16];

/// The share of the reference's requests a second that is asked for.
const SHARE: f64 = 0.5;

pub async fn run(context: &Context) -> Result<Vec<Figure>> {
    let platform = platform().await;
    let mut figures = Vec::new();
    for (language, project, script) in [
        ("Node.js", node_echo("warm-node"), "echo.mjs"),
        ("Python", python_echo("warm-python"), "echo.py"),
    ] {
        let program = interpreter(&platform, &project).await?;
        let target = deploy(&platform, &project).await?;
        for connections in CONNECTIONS {
            let name = format!("{language} echo, {connections} connections");
            eprintln!("bench: warm: {name}");
            let reference = Reference::start(context, &program, script, *connections).await?;
            figures.extend(measure(context, &name, &target, &reference, *connections).await?);
            reference.end().await?;
        }
    }
    Ok(figures)
}

/// The resolved interpreter that runs the function: it says so itself.
pub async fn interpreter(platform: &Platform, like: &Project) -> Result<PathBuf> {
    let (name, project) = if like.path().join("app.py").exists() {
        let source = "import os, sys\ndef handler(event, context):\n    return os.path.realpath(sys.executable)\n";
        ("which-python", Project::python("which-python", source))
    } else {
        let source = "export const handler = async () => process.execPath;\n";
        ("which-node", Project::node("which-node", source))
    };
    let _ = platform.cli().run(&["deploy", project.as_str()]).await.expect("deploy");
    let answer = platform.cli().run(&["invoke", name, "{}"]).await.expect("invoke");
    let path: String = serde_json::from_str(answer.trim()).with_context(|| format!("{answer:?}"))?;
    Ok(path.into())
}

async fn measure(
    context: &Context,
    name: &str,
    target: &Target,
    reference: &Reference,
    connections: usize,
) -> Result<Vec<Figure>> {
    let time = context.time(TIME);
    // One round that does not count: instances start, code is read, connections to backends warm up.
    load::run(target, connections, time / 4).await?;
    load::run(&reference.target, connections, time / 4).await?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let (mut our_times, mut their_times) = (Samples::default(), Samples::default());
    for round in 0..context.rounds(ROUNDS) {
        let first = load::run(
            if round % 2 == 0 { target } else { &reference.target },
            connections,
            time,
        )
        .await?;
        let second = load::run(
            if round % 2 == 0 { &reference.target } else { target },
            connections,
            time,
        )
        .await?;
        let (mine, other) = if round % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        ours.push(mine.per_second);
        our_times.extend(mine.latencies_us);
        theirs.push(other.per_second);
        their_times.extend(other.latencies_us);
    }
    let beside = "the smallest server of that language behind one hyper hop";
    Ok(vec![
        Figure::beside(name, "req/s", &ours, (beside, &theirs), Asked::RatioAtLeast(SHARE)),
        Figure::beside(
            &format!("{name}: time"),
            "us",
            &our_times,
            (beside, &their_times),
            Asked::None,
        ),
    ])
}

/// Backends and the proxy before them, each a process of its own.
struct Reference {
    backends: Vec<Server>,
    proxy: Server,
    target: Target,
}

impl Reference {
    async fn start(context: &Context, program: &std::path::Path, script: &str, number: usize) -> Result<Self> {
        let script = context.checkout.join("bench/reference").join(script);
        let script = script.to_str().context("a path in UTF-8")?;
        let mut backends = Vec::new();
        for _ in 0..number {
            backends.push(Server::start(program, &[script]).await?);
        }
        let ports: Vec<String> = backends.iter().map(|backend| backend.port.to_string()).collect();
        let arguments: Vec<&str> = std::iter::once("proxy")
            .chain(ports.iter().map(String::as_str))
            .collect();
        let proxy = Server::start(std::env::current_exe()?, &arguments).await?;
        let address = format!("127.0.0.1:{}", proxy.port);
        let body = Bytes::from_static(BODY.as_bytes());
        let target = Target {
            host: address.clone(),
            address,
            path: "/".to_owned(),
            body,
        };
        Ok(Self {
            backends,
            proxy,
            target,
        })
    }

    async fn end(self) -> Result<()> {
        self.proxy.end().await?;
        for backend in self.backends {
            backend.end().await?;
        }
        Ok(())
    }
}
