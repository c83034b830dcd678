//! A disk that fails: a flush that is refused, and a log whose end is torn or changed.
//!
//! The flush is refused by `strace`, which lets a call of a child fail: the test's own binary.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sonagi_model::EventId;
use sonagi_ports::fake::sample;
use sonagi_ports::{AcceptError, Lease, QueuedEvent, StoreError};
use sonagi_store::{Options, StateDir, Stores};

const DIRECTORY: &str = "SONAGI_STORE_FAILING_DIRECTORY";
/// Events that the child offers.
const EVENTS: usize = 120;
/// Which flush of a thread fails: beyond those of the start.
const FAILS: u32 = 60;

fn event() -> QueuedEvent {
    QueuedEvent {
        id: EventId::generate(),
        ..sample::event(&sample::function("failing"), sample::NOW)
    }
}

async fn is_there(stores: &Stores, id: EventId) -> bool {
    stores.events.find(id).await.unwrap().is_some()
}

/// Not a test by itself: what the child does. Does nothing unless the parent asked for it.
#[tokio::test]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let dir = StateDir::open(Path::new(&directory)).unwrap();
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    for _ in 0..EVENTS {
        let event = event();
        let id = event.id;
        let line = match stores.events.accept(event, None, Lease::Free).await {
            Ok(_) => format!("said accepted {id}\n"),
            Err(AcceptError::Store(StoreError::Database { .. })) => "said refused\n".to_owned(),
            Err(error) => panic!("{error}"),
        };
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn after_a_flush_that_failed_nothing_is_accepted_until_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
    traced.arg(format!("inject=fsync,fdatasync:error=EIO:when={FAILS}"));
    traced.arg(std::env::current_exe().unwrap());
    traced.args(["--exact", "failing_disk::child", "--nocapture"]);
    let output = traced.env(DIRECTORY, folder.path()).output();
    let output = output.expect("this test needs strace: cargo xtask setup installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("said ").map(|(_, said)| said))
        .collect();
    assert_eq!(
        said.len(),
        EVENTS,
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let first = said.iter().position(|said| *said == "refused").expect("a refusal");
    assert!(first > 0, "nothing was accepted before");
    // The one flush failed once; that it would have succeeded a moment later is not relied on.
    assert!(said[first..].iter().all(|said| *said == "refused"), "{said:?}");
    let dir = StateDir::open(folder.path()).unwrap();
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    for said in &said[..first] {
        let id = said.trim_start_matches("accepted ").parse().unwrap();
        assert!(is_there(&stores, id).await, "{id} is lost");
    }
    stores.events.accept(event(), None, Lease::Free).await.unwrap();
    stores.close().await;
}

/// Copies a state directory as it is, without what belongs to the process that has it open.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn log_of(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs = files.filter(|path| path.to_string_lossy().ends_with("-wal"));
    logs.next().expect("the database has a log")
}

#[tokio::test]
async fn a_torn_or_changed_end_of_the_log_loses_only_what_is_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        let event = event();
        accepted.push(event.id);
        stores.events.accept(event, None, Lease::Free).await.unwrap();
    }
    let copies = tempfile::tempdir().unwrap();
    let length = fs::metadata(log_of(folder.path())).unwrap().len();
    // Steps that share no factor with the size of a frame, so that cuts and changes fall on every part of one.
    let places = (1..).map(|step| step * 2039).take_while(|back| *back < length).take(30);
    for (number, back) in places.enumerate() {
        let at = length - back;
        for (how, damage) in [("torn", None), ("changed", Some(at))] {
            let place = copies.path().join(format!("{how}-{number}"));
            copy(folder.path(), &place);
            let log = log_of(&place);
            match damage {
                None => fs::File::options().write(true).open(&log).unwrap().set_len(at).unwrap(),
                Some(at) => {
                    let mut bytes = fs::read(&log).unwrap();
                    bytes[usize::try_from(at).unwrap()] ^= 0x10;
                    fs::write(&log, bytes).unwrap();
                }
            }
            let kept = kept(&place, &accepted).await;
            let first_lost = kept.iter().position(|there| !there).unwrap_or(kept.len());
            assert!(
                kept[first_lost..].iter().all(|there| !there),
                "{how} at {at} of {length}: {kept:?}"
            );
        }
    }
    stores.close().await;
}

/// Which events are there after a start on this directory; all of those have their content.
async fn kept(folder: &Path, accepted: &[EventId]) -> Vec<bool> {
    let dir = StateDir::open(folder).unwrap();
    let stores = sonagi_store::open(&dir, Options::default()).unwrap();
    let mut kept = Vec::new();
    for id in accepted {
        let there = is_there(&stores, *id).await;
        if there {
            assert!(stores.events.load(*id).await.unwrap().is_some(), "{id}");
        }
        kept.push(there);
    }
    let totals = stores.events.totals().await.unwrap();
    assert_eq!(totals.pending, kept.iter().filter(|there| **there).count() as u64);
    stores.close().await;
    kept
}
