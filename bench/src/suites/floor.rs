//! What HTTP itself costs here: servers that do nothing, and one hop through a proxy that does nothing, beside the
//! platform's own way to a function that does nothing. The server side is on one processor, the client on the others.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sonagi_testkit::Project;

use super::{BODY, Context, Findings, deploy, platform, static_bootstrap};
use crate::client;
use crate::load::{Target, open::Schedule};
use crate::pin::{Pinned, Shares};
use crate::process::Server;
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

const ROUNDS: u32 = 5;
const TIME: Duration = Duration::from_millis(1500);
const CONNECTIONS: &[usize] = &[1, 16];

/// Arrivals of the open loop: so few that nobody waits for another on any of the servers.
const RATE: f64 = 500.0;

pub async fn run(context: &Context) -> Result<Findings> {
    let shares = Shares::of_this_machine()?;
    let (platform, hello, hop) = {
        let _pinned = Pinned::to(&shares.server)?;
        let this = std::env::current_exe()?;
        let platform = platform().await;
        let hello = Server::start(&this, &["hello"]).await?;
        let backend = hello.port.to_string();
        let words: Vec<&str> = std::iter::once("proxy").chain([backend.as_str(); 16]).collect();
        let hop = Server::start(&this, &words).await?;
        (platform, hello, hop)
    };
    let project = Project::new("floor").with_copy(&static_bootstrap(&context.checkout)?, "bootstrap");
    let ours = deploy(&platform, &project).await?;
    let nginx = Nginx::start(context, &shares, hello.port).await;
    let mut others = vec![
        ("hyper hello", Target::at(hello.port, "/", BODY)),
        (
            "hyper one-hop proxy before hyper hello",
            Target::at(hop.port, "/", BODY),
        ),
    ];
    let mut findings = Findings::default();
    findings.notes.push(format!(
        "pinned: each server and all it starts to processor {:?}, the client to {:?}",
        shares.server, shares.client
    ));
    match &nginx {
        Ok(nginx) => others.extend([
            ("nginx return 200", Target::at(nginx.port, "/hello", BODY)),
            (
                "nginx one-hop proxy before hyper hello",
                Target::at(nginx.port, "/hop", BODY),
            ),
        ]),
        Err(error) => findings.notes.push(format!("left out: nginx: {error:#}")),
    }
    for (name, target) in &others {
        eprintln!("bench: floor: {name}");
        for connections in CONNECTIONS {
            findings
                .figures
                .extend(closed(context, &shares, &ours, (name, target), *connections).await?);
        }
        findings
            .figures
            .push(at_a_rate(context, &shares, &ours, (name, target)).await?);
    }
    hop.end().await?;
    hello.end().await?;
    Ok(findings)
}

async fn closed(
    context: &Context,
    shares: &Shares,
    ours: &Target,
    (name, other): (&str, &Target),
    connections: usize,
) -> Result<[Figure; 2]> {
    let time = context.time(TIME);
    let mut rates = [Samples::default(), Samples::default()];
    let mut times = [Samples::default(), Samples::default()];
    for target in [ours, other] {
        client::closed(&shares.client, target, connections, time / 4).await?;
    }
    for round in 0..context.rounds(ROUNDS) {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let target = if which == 0 { ours } else { other };
            let outcome = client::closed(&shares.client, target, connections, time).await?;
            rates[which].push(outcome.per_second);
            times[which].extend(outcome.latencies_us);
        }
    }
    let what = format!("static function, {connections} connections");
    Ok([
        Figure::beside(&what, "req/s", &rates[0], (name, &rates[1]), Asked::None),
        Figure::beside(
            &format!("{what}: time"),
            "us",
            &times[0],
            (name, &times[1]),
            Asked::None,
        ),
    ])
}

async fn at_a_rate(
    context: &Context,
    shares: &Shares,
    ours: &Target,
    (name, other): (&str, &Target),
) -> Result<Figure> {
    let mut times = [Samples::default(), Samples::default()];
    for round in 0..context.rounds(ROUNDS) {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let target = if which == 0 { ours } else { other };
            let schedule = Schedule::for_time(RATE, context.time(TIME));
            let outcome = client::open(&shares.client, target, schedule, 16).await?;
            times[which].extend(outcome.latencies_us);
        }
    }
    let what = format!("static function, {RATE} arrivals a second (open loop): time");
    Ok(Figure::beside(&what, "us", &times[0], (name, &times[1]), Asked::None))
}

/// nginx with one worker.
struct Nginx {
    _child: tokio::process::Child,
    _folder: tempfile::TempDir,
    port: u16,
}

impl Nginx {
    async fn start(context: &Context, shares: &Shares, backend: u16) -> Result<Self> {
        let program: PathBuf = context.checkout.join(".cache/bench/debian/root").join("usr/sbin/nginx");
        anyhow::ensure!(program.exists(), "it is not there: run `cargo xtask setup --bench`");
        let folder = tempfile::tempdir()?;
        let port = crate::peers::free_port()?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(port, backend))?;
        let mut command = tokio::process::Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "log"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = {
            let _pinned = Pinned::to(&shares.server)?;
            command.spawn().context("cannot start nginx")?
        };
        let address = format!("127.0.0.1:{port}");
        sonagi_testkit::until("nginx", Duration::from_secs(20), async || {
            crate::load::Connection::open(&address).await.ok().map(drop)
        })
        .await;
        Ok(Self {
            _child: child,
            _folder: folder,
            port,
        })
    }
}

/// One process without a master, keep-alive to the backend, no logs.
fn configuration(port: u16, backend: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid pid; error_log log crit;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; keepalive_requests 100000000; tcp_nodelay on;\n{temporary}\
         upstream hello {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port};\n\
         location /hello {{ return 200 'hello'; }}\n\
         location /hop {{ proxy_pass http://hello/; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}\n"
    )
}
