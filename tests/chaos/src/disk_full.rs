//! A full disk: the disk under the state directory is filled from outside while events stream in. What is asynchronous is
//! refused with an error that says so and may be tried again, calls go on, and with the first free room everything goes on
//! by itself; nothing that was acknowledged is lost.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sonagi_testkit::{Answer, Http, Platform, Setup, until};
use tokio::time::{Instant, sleep};

use crate::NAME;
use crate::checker::check;
use crate::client::{History, payload, send};
use crate::disk::Disk;
use crate::kill::deploy;
use crate::messages;

/// Size of the disk.
const SIZE: &str = "64M";
/// Bytes of one event: large enough that the disk is soon felt, small enough to be kept in the database.
const PADDING: usize = 20_000;
/// Events of each part.
const EVENTS: u64 = 40;
/// As long as the disk is full in each round.
const FULL: Duration = Duration::from_secs(3);
/// Until everything goes on when there is room again.
const RECOVERY: Duration = Duration::from_secs(5);

/// What a campaign found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Findings {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Events and messages that were refused.
    pub refused: usize,
    /// From the first free room until an event was accepted, the longest of all rounds.
    pub recovery: Duration,
}

/// A file that takes all room that there is.
struct Filling(PathBuf);

impl Filling {
    fn new(place: &Path) -> Result<Self> {
        let path = place.join("filling");
        let mut file = File::create(&path)?;
        let filling = Self(path);
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0_u8; size]).is_ok() {}
        }
        // What was promised to the file is on the disk.
        drop(file.sync_all());
        Ok(filling)
    }

    /// Takes what has become free meanwhile.
    fn again(&self) -> Result<()> {
        let mut file = File::options().append(true).open(&self.0)?;
        for size in [4096, 1] {
            while file.write_all(&vec![0_u8; size]).is_ok() {}
        }
        Ok(())
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Runs a campaign.
///
/// # Errors
/// What is violated, or the image cannot be made (needs root).
///
/// # Panics
/// The platform does not come up.
pub async fn run(rounds: u32) -> Result<Findings> {
    let disk = Disk::with_state(SIZE).await?;
    let setup = Setup::new().data(&disk.data()).set("retry-delays", "200ms,400ms");
    let mut platform = setup.variable("SONAGI_INSECURE_DEV", "true").start().await;
    ensure!(deploy(&platform).await, "the function cannot be deployed");
    let mut story = Story::begin(&platform).await?;
    for round in 0..rounds {
        story.accept_all(&platform).await?;
        let filling = Filling::new(disk.place())?;
        story.meet_full_disk(&platform, &filling).await?;
        drop(filling);
        let took = story.recover(&platform).await?;
        story.findings.recovery = story.findings.recovery.max(took);
        story.accept_all(&platform).await?;
        println!("round {}: {:?}", round + 1, story.findings);
    }
    story.findings.acknowledged = story.history.acknowledged.len();
    check(&platform, &story.history).await?;
    platform.stop().await;
    Ok(story.findings)
}

struct Story {
    http: Http,
    token: String,
    queue: String,
    next: u64,
    history: History,
    findings: Findings,
}

impl Story {
    async fn begin(platform: &Platform) -> Result<Self> {
        let http = platform.http();
        let made = messages::call(&http, "CreateQueue", &json!({ "QueueName": "full" })).await;
        let made = made.context("a queue cannot be made")?;
        let token = std::fs::read_to_string(platform.data().join("token"))?;
        Ok(Self {
            queue: made["QueueUrl"].as_str().context("a queue has a URL")?.to_owned(),
            http,
            token: token.trim().to_owned(),
            next: 0,
            history: History::default(),
            findings: Findings::default(),
        })
    }

    /// Sends one more event; whether it was acknowledged.
    async fn send_one(&mut self) -> Result<bool> {
        let number = self.next;
        self.next += 1;
        let text = payload(number, number.is_multiple_of(10), PADDING);
        let invocation = send(&self.http, &self.token, number, text).await;
        let accepted = invocation.is_some();
        self.history.conclude(vec![(number, invocation)])?;
        Ok(accepted)
    }

    /// With room, every event is accepted.
    async fn accept_all(&mut self, platform: &Platform) -> Result<()> {
        for _ in 0..EVENTS {
            ensure!(
                self.send_one().await?,
                "an event is refused although there is room:\n{}",
                platform.log()
            );
        }
        Ok(())
    }

    /// Without room, events and messages are refused in the words of their protocol, and calls go on.
    async fn meet_full_disk(&mut self, platform: &Platform, filling: &Filling) -> Result<()> {
        let begun = Instant::now();
        let mut refused = 0;
        while begun.elapsed() < FULL {
            filling.again()?;
            refused += usize::from(!self.send_one().await?);
            let path = format!("/functions/{NAME}/invoke");
            let called = platform.native_answer("POST", &path, r#"{"n":1}"#).await;
            ensure!(
                called.status.is_success() && called.text() == "1",
                "a call with a full disk: {} {}",
                called.status,
                called.text()
            );
            sleep(Duration::from_millis(20)).await;
        }
        ensure!(refused > 0, "the full disk was never felt");
        self.findings.refused += refused;
        filling.again()?;
        let refused = until("a refused event", Duration::from_secs(10), async || {
            filling.again().ok()?;
            let answer = self.invoke_event().await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        ensure!(
            refused.headers.contains_key("retry-after") && refused.text().contains("disk is full"),
            "an event of the provider with a full disk: {}",
            refused.text()
        );
        let answer = self.send_message().await?;
        ensure!(
            answer.status == 503 && answer.text().contains("ServiceUnavailable"),
            "a message with a full disk: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// An asynchronous invocation in the provider's own words.
    async fn invoke_event(&self) -> Answer {
        let path = format!("/2015-03-31/functions/{NAME}/invocations");
        let body = payload(0, false, PADDING);
        let headers = [("x-amz-invocation-type", "Event")];
        let answer = self.http.send("POST", &path, &headers, body).await;
        answer.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn send_message(&self) -> Result<Answer> {
        let body: Value = json!({ "QueueUrl": self.queue, "MessageBody": "x".repeat(PADDING) });
        messages::answer(&self.http, "SendMessage", &body).await
    }

    /// With room again, events are accepted within the time that is promised.
    async fn recover(&mut self, platform: &Platform) -> Result<Duration> {
        let begun = Instant::now();
        while !self.send_one().await? {
            ensure!(
                begun.elapsed() < RECOVERY,
                "events are still refused {RECOVERY:?} after there was room:\n{}",
                platform.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(begun.elapsed())
    }
}
