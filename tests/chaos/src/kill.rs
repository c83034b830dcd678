//! The kill campaign: streams of events, of messages and of ticks while the platform is killed (SIGKILL) at random
//! moments, some of them during its start.

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
use crate::messages::{self, Messages};
use crate::ticks::{self, Ticks};
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
    /// Events a second. Each kill has its share of the events, so that there are some to the last one.
    pub rate: u64,
    /// What is random follows from this.
    pub seed: u64,
}

/// Where the platform is now; `None` while it is down.
pub type Place = watch::Receiver<Option<(Http, String)>>;

/// Who says where it is.
type Tell = watch::Sender<Option<(Http, String)>>;

/// Events that may be sent now: from this one until before that one, from this moment on.
#[derive(Debug, Clone, Copy)]
struct Share {
    from: u64,
    until: u64,
    at: Instant,
}

/// What a campaign found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of the events.
    pub events: Findings,
    /// Messages that were acknowledged, and received.
    pub messages: usize,
    /// Ticks that were handed over, each once.
    pub ticks: usize,
}

struct Stream {
    numbers: Numbers,
    next: AtomicU64,
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
pub async fn run(numbers: Numbers) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::new().set("retry-delays", "200ms,400ms");
    let mut platform = setup.variable("SONAGI_INSECURE_DEV", "true").start().await;
    ensure!(deploy(&platform).await, "the function cannot be deployed");
    ticks::begin(&platform).await?;
    let messages = Messages::new(&platform).await?;
    let (tell, place) = watch::channel(None);
    let (share, shares) = watch::channel(Share {
        from: 0,
        until: 0,
        at: Instant::now(),
    });
    let stream = Arc::new(Stream {
        numbers,
        next: AtomicU64::new(0),
        history: Mutex::new(History::new(&folder.path().join("history"))?),
        stop: AtomicBool::new(false),
    });
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(stream.clone().keep_sending(place.clone(), shares.clone()));
    }
    let mut beside = JoinSet::new();
    for group in 0..messages::GROUPS {
        beside.spawn(messages.clone().keep_sending(group, place.clone()));
    }
    beside.spawn(messages.clone().keep_receiving(place));
    let mut ticks = Ticks::default();
    kill_again_and_again(&mut platform, &stream, (&tell, &share), &mut ticks).await?;
    until("all events sent", Duration::from_secs(600), async || {
        let sent = stream.history.lock().await.acknowledged.len() as u64;
        (sent >= numbers.events).then_some(())
    })
    .await;
    stream.stop.store(true, Ordering::SeqCst);
    // There is no place any more, and none will come: whoever sends and receives beside the events ends.
    tell.send_replace(None);
    drop(tell);
    for tasks in [&mut senders, &mut beside] {
        while let Some(task) = tasks.join_next().await {
            task??;
        }
    }
    ticks::end(&platform).await?;
    ticks.look(&platform).await?;
    let history = stream.history.lock().await;
    let events = check(&platform, &history).await?;
    let accepted: usize = events.ended.values().sum();
    ensure!(
        accepted as u64 == numbers.events,
        "{} events were sent and {accepted} accepted: doubles",
        numbers.events
    );
    ensure!(
        events.repeated == 0,
        "{} attempts ran although an earlier one had succeeded",
        events.repeated
    );
    let outcome = Outcome {
        events,
        messages: messages.check(&platform).await?.messages,
        ticks: ticks.check()?,
    };
    platform.stop().await;
    Ok(outcome)
}

async fn kill_again_and_again(
    platform: &mut Platform,
    stream: &Stream,
    (tell, share): (&Tell, &watch::Sender<Share>),
    ticks: &mut Ticks,
) -> Result<()> {
    let Numbers {
        events, kills, seed, ..
    } = stream.numbers;
    let mut dice = Dice::new(seed);
    for kill in 0..=kills {
        let part = |kills_before: u32| events * u64::from(kills_before) / u64::from(kills + 1);
        share.send_replace(Share {
            from: part(kill),
            until: part(kill + 1),
            at: Instant::now(),
        });
        tell.send_replace(Some(address(platform)));
        if kill == kills {
            break;
        }
        sleep(dice.between(Duration::from_millis(50), Duration::from_secs(2))).await;
        tell.send_replace(None);
        platform.kill().await;
        if dice.roll(5) == 0 {
            let life = dice.between(Duration::from_millis(1), Duration::from_millis(400));
            platform.start_and_kill(life).await;
        }
        platform.start().await;
        ticks.look(platform).await?;
        let acknowledged = stream.history.lock().await.acknowledged.len();
        println!("kill {}: {acknowledged} acknowledged", kill + 1);
    }
    Ok(())
}

fn address(platform: &Platform) -> (Http, String) {
    let token = std::fs::read_to_string(platform.data().join("token")).expect("a token file");
    (platform.http(), token.trim().to_owned())
}

impl Stream {
    /// Sends one event after the other, each until it is acknowledged, at its planned time or later.
    async fn keep_sending(self: Arc<Self>, mut place: Place, mut shares: watch::Receiver<Share>) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.numbers.events {
                return Ok(());
            }
            let share = *shares.wait_for(|share| number < share.until).await?;
            let place_in_share = number.saturating_sub(share.from);
            sleep_until(share.at + Duration::from_micros(place_in_share * 1_000_000 / self.numbers.rate)).await;
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
