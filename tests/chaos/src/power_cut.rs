//! Power cuts: the state directory lies on a file system in an image; while events stream in, the image is copied at one
//! instant, as a disk would be found after a cut, and a platform is started on the copy. Everything that was acknowledged
//! before must be there.
//!
//! The mounts are made in the mount namespace of this process: `cargo xtask chaos` runs it in one of its own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sonagi_testkit::{Platform, Setup};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::checker::{check, check_presence};
use crate::client::{History, payload, send};
use crate::dice::Dice;
use crate::disk::{Disk, Mounted, system, text};
use crate::kill::deploy;

/// Size of the disk.
const SIZE: &str = "96M";
/// After so many cuts the life of every event is looked at; after each one whether all are there.
const WHOLE_EVERY: u32 = 25;
/// Copies that are tried until two of them are the same.
const COPIES_MAX: u32 = 50;

/// What a campaign found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Cuts.
    pub cuts: u32,
    /// Events that were acknowledged before the last of them.
    pub acknowledged: usize,
    /// Attempts that the cuts ended, as far as they were counted.
    pub lost_attempts: usize,
}

/// Copies an image as it is at one instant: the platform is held, and what the kernel still writes back changes a copy,
/// so that two which are the same are of one instant.
fn copy_at_once(image: &Path, to: &Path) -> Result<()> {
    for _ in 0..COPIES_MAX {
        let again = to.with_extension("again");
        system("cp", &["--sparse=always", text(image), text(to)])?;
        system("cp", &["--sparse=always", text(image), text(&again)])?;
        let same = Command::new("cmp").arg("--quiet").arg(to).arg(&again).status()?;
        std::fs::remove_file(&again)?;
        if same.success() {
            return Ok(());
        }
    }
    bail!("the image never stands still")
}

struct Stream {
    history: Mutex<History>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Stream {
    async fn keep_sending(self: Arc<Self>, http: sonagi_testkit::Http, token: String) -> Result<()> {
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let invocation = send(&http, &token, number, payload(number, false, 0)).await;
            self.history.lock().await.conclude(vec![(number, invocation)])?;
            // Under way at every moment, without making more than can be looked at after each cut.
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Runs a campaign.
///
/// # Errors
/// What is violated, or the image cannot be made (needs root).
///
/// # Panics
/// The platform does not come up.
pub async fn run(cuts: u32, seed: u64) -> Result<Findings> {
    let disk = Disk::with_state(SIZE).await?;
    let mut platform = Setup::new().data(&disk.data()).start().await;
    ensure!(deploy(&platform).await, "the function cannot be deployed");
    let findings = cut_again_and_again(&platform, &disk, cuts, seed).await?;
    platform.stop().await;
    Ok(findings)
}

async fn cut_again_and_again(platform: &Platform, disk: &Disk, cuts: u32, seed: u64) -> Result<Findings> {
    let (image, folder) = (disk.image(), disk.folder());
    let token = std::fs::read_to_string(platform.data().join("token"))?;
    let stream = Arc::new(Stream {
        history: Mutex::default(),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(stream.clone().keep_sending(platform.http(), token.trim().to_owned()));
    }
    let (mut dice, mut findings) = (Dice::new(seed), Findings::default());
    for cut in 1..=cuts {
        sleep(dice.between(Duration::from_millis(20), Duration::from_millis(400))).await;
        // What was acknowledged before the process is held was promised.
        let promised = stream.history.lock().await.acknowledged.clone();
        platform.hold();
        let copy = folder.join("copy");
        let copied = tokio::task::spawn_blocking({
            let (image, copy) = (image.clone(), copy.clone());
            move || copy_at_once(&image, &copy)
        });
        let copied = copied.await?;
        // The load pauses while the copy is looked at: two platforms on two cores would only wait for each other.
        copied?;
        let promised = History::of(promised);
        let whole = cut % WHOLE_EVERY == 0 || cut == cuts;
        let lost = look_at(&copy, folder, &promised, whole).await;
        platform.release();
        findings.lost_attempts += lost.with_context(|| format!("cut {cut}"))?;
        findings.cuts = cut;
        findings.acknowledged = promised.acknowledged.len();
        println!("cut {cut}: {} acknowledged, all there", findings.acknowledged);
    }
    stream.stop.store(true, Ordering::SeqCst);
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(findings)
}

/// Starts a platform on a copy and looks for what was promised; if it is to be the whole check, also at the life of every
/// event, when all have ended. How many attempts the cuts ended.
async fn look_at(copy: &Path, folder: &Path, promised: &History, whole: bool) -> Result<usize> {
    let mounted = Mounted::new(copy, folder.join("cut"))?;
    let data = mounted.place.join("data");
    // Two platforms with one identity would take each other's instances for leftovers.
    std::fs::remove_file(data.join("node"))?;
    let mut platform = Setup::new().data(&data).start().await;
    check_presence(&platform, promised).await?;
    let mut lost_attempts = 0;
    if whole {
        lost_attempts = check(&platform, promised).await?.lost_attempts;
    }
    platform.stop().await;
    Ok(lost_attempts)
}
