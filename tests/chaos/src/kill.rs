//! The kill campaign: a steady stream of events while the platform is killed (SIGKILL) at random moments, some of them
//! during its start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use sonagi_testkit::{Http, Platform, Project, Setup, until};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::checker::{Findings, check};
use crate::client::{History, payload, send};
use crate::dice::Dice;
use crate::{FUNCTION, NAME};

/// Requests under way at once.
const SENDERS: u64 = 16;

/// Numbers of a campaign.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Events.
    pub events: u64,
    /// Kills.
    pub kills: u32,
    /// Events a second.
    pub rate: u64,
    /// What is random follows from this.
    pub seed: u64,
}

/// Where the platform is now; `None` while it is down.
type Place = watch::Receiver<Option<(Http, String)>>;

struct Stream {
    numbers: Numbers,
    next: AtomicU64,
    begun: Instant,
    history: Mutex<History>,
    stop: AtomicBool,
}

/// Deploys the function that is called; whether that went well.
pub async fn deploy(platform: &Platform) -> bool {
    let project = Project::python(NAME, FUNCTION);
    platform.cli().run(&["deploy", project.as_str()]).await.success
}

/// Runs a campaign.
///
/// # Errors
/// What is violated.
///
/// # Panics
/// The platform does not come up.
pub async fn run(numbers: Numbers) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let mut platform = Setup::new().set("retry-delays", "200ms,400ms").start().await;
    ensure!(deploy(&platform).await, "the function cannot be deployed");
    let (tell, place) = watch::channel(None);
    let stream = Arc::new(Stream {
        numbers,
        next: AtomicU64::new(0),
        begun: Instant::now(),
        history: Mutex::new(History::new(&folder.path().join("history"))?),
        stop: AtomicBool::new(false),
    });
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(stream.clone().keep_sending(place.clone()));
    }
    let mut dice = Dice::new(numbers.seed);
    tell.send_replace(Some(address(&platform)));
    for kill in 0..numbers.kills {
        sleep(dice.between(Duration::from_millis(50), Duration::from_secs(2))).await;
        tell.send_replace(None);
        platform.kill().await;
        if dice.roll(5) == 0 {
            let life = dice.between(Duration::from_millis(1), Duration::from_millis(400));
            platform.start_and_kill(life).await;
        }
        platform.start().await;
        tell.send_replace(Some(address(&platform)));
        println!(
            "kill {}: {} acknowledged",
            kill + 1,
            stream.history.lock().await.acknowledged.len()
        );
    }
    until("all events sent", Duration::from_secs(600), async || {
        let sent = stream.history.lock().await.acknowledged.len() as u64;
        (sent >= numbers.events).then_some(())
    })
    .await;
    stream.stop.store(true, Ordering::SeqCst);
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    let history = stream.history.lock().await;
    let findings = check(&platform, &history).await?;
    let events: usize = findings.ended.values().sum();
    ensure!(
        events as u64 == numbers.events,
        "{} events were sent and {events} accepted: doubles",
        numbers.events
    );
    platform.stop().await;
    Ok(findings)
}

fn address(platform: &Platform) -> (Http, String) {
    let token = std::fs::read_to_string(platform.data().join("token")).expect("a token file");
    (platform.http(), token.trim().to_owned())
}

impl Stream {
    /// Sends one event after the other, each until it is acknowledged, at its planned time or later.
    async fn keep_sending(self: Arc<Self>, mut place: Place) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.numbers.events {
                return Ok(());
            }
            let planned = Duration::from_micros(number * 1_000_000 / self.numbers.rate);
            sleep_until(self.begun + planned).await;
            self.history.lock().await.intend(&[number])?;
            while !self.stop.load(Ordering::SeqCst) {
                let there = place.wait_for(Option::is_some).await?.clone();
                let Some((http, token)) = there else { continue };
                let fails = number.is_multiple_of(50);
                let invocation = send(&http, &token, number, payload(number, fails, 0)).await;
                let known = invocation.is_some();
                self.history.lock().await.conclude(vec![(number, invocation)])?;
                if known {
                    break;
                }
                // A platform that is down or full is asked again shortly.
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
