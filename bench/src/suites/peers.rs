//! The whole job beside other function servers: the echo function over HTTP, 1 and 16 connections. Server and everything
//! that it starts are on one processor, the client on the others; ours with every wall of the sandbox, theirs as they are.

use std::time::Duration;

use anyhow::Result;
use sonagi_testkit::Project;

use super::{BODY, Context, Findings, deploy, node_echo, platform, python_echo};
use crate::client;
use crate::load::Target;
use crate::peers::Peer;
use crate::pin::{Pinned, Shares};
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

/// Rounds per figure; each measures both sides once.
const ROUNDS: u32 = 3;

/// How long one side is measured in a round.
const TIME: Duration = Duration::from_secs(2);

/// Numbers of connections.
const CONNECTIONS: &[usize] = &[1, 16];

pub async fn run(context: &Context) -> Result<Findings> {
    let shares = Shares::of_this_machine()?;
    let platform = {
        let _pinned = Pinned::to(&shares.server)?;
        platform().await
    };
    let mut findings = Findings::default();
    findings.notes.push(format!(
        "pinned: each server and all it starts to processor {:?}, the client to {:?}",
        shares.server, shares.client
    ));
    let languages: [(&str, Project, &[Peer]); 2] = [
        ("Python", python_echo("peer-python"), Peer::PYTHON),
        ("Node.js", node_echo("peer-node"), Peer::NODE),
    ];
    for (language, project, peers) in &languages {
        let ours = deploy(&platform, project).await?;
        for peer in *peers {
            eprintln!("bench: peers: {language} beside {}", peer.name());
            match beside(context, &shares, language, &ours, *peer).await {
                Ok(figures) => findings.figures.extend(figures),
                Err(error) => findings.notes.push(format!("left out: {}: {error:#}", peer.name())),
            }
        }
    }
    Ok(findings)
}

async fn beside(context: &Context, shares: &Shares, language: &str, ours: &Target, peer: Peer) -> Result<Vec<Figure>> {
    let running = peer.start(&context.checkout, &shares.server, BODY.as_bytes()).await?;
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let time = context.time(TIME);
        let mut sides = [Side::default(), Side::default()];
        for target in [ours, &running.target] {
            client::closed(&shares.client, target, *connections, time / 4).await?;
        }
        for round in 0..context.rounds(ROUNDS) {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let target = if which == 0 { ours } else { &running.target };
                let outcome = client::closed(&shares.client, target, *connections, time).await?;
                sides[which].rate.push(outcome.per_second);
                let p99 = outcome.latencies_us.into_iter().collect::<Samples>().summary();
                sides[which].p99.extend(p99.map(|summary| summary.p99));
            }
        }
        let [mine, other] = &sides;
        let name = format!("{language} echo, {connections} connections");
        let reference = peer.name();
        figures.push(Figure::beside(
            &name,
            "req/s",
            &mine.rate,
            (reference, &other.rate),
            Asked::RatioAtLeast(1.0),
        ));
        figures.push(Figure::beside(
            &format!("{name}: p99 of a round"),
            "us",
            &mine.p99,
            (reference, &other.p99),
            Asked::RatioAtMost(1.0),
        ));
    }
    Ok(figures)
}

/// What one side gave, a value per round.
#[derive(Debug, Default)]
struct Side {
    rate: Samples,
    p99: Samples,
}
