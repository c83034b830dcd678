//! How fast events are accepted, beside a bare SQLite loop with the same group commit on the same disk in the same run,
//! and how much memory a long queue takes. `cargo run --release -p sonagi-store --example events [EVENTS] [QUEUED]`
//! The last line has the rates of all rounds, as JSON.
//!
//! Two bare loops, with the same callers, the same group, the same settings of the database: the *least* one stores an id
//! and the payload; the *same* one stores the same bytes as an accepted event is, with its two indexes: by id, without
//! which nothing is accepted once, and by destination and time, without which nothing is found again. Their callers wait
//! for the flush as ours do. Rounds alternate; medians are compared.
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to say")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use sonagi_model::EventId;
use sonagi_ports::fake::sample;
use sonagi_ports::{Lease, QueuedEvent};
use sonagi_store::{Options, StateDir, Stores};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Callers at once: as many as the platform lets store events.
const CALLERS: usize = 512;
/// Commits of the bare loop take as many as ours.
const GROUP: usize = 256;
/// Rounds of each.
const ROUNDS: usize = 5;
/// Bytes of a payload.
const PAYLOAD: usize = 256;

/// What a bare loop stores.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    Least,
    Same,
}

struct Job {
    id: EventId,
    lane: String,
    head: String,
    payload: Bytes,
    done: oneshot::Sender<()>,
}

fn event(function: &sonagi_model::Function) -> QueuedEvent {
    QueuedEvent {
        id: EventId::generate(),
        payload: Bytes::from(vec![b'x'; PAYLOAD]),
        ..sample::event(function, sample::NOW)
    }
}

/// Events a second that the store accepts.
async fn ours(stores: &Arc<Stores>, events: usize) -> f64 {
    let function = Arc::new(sample::function("measured"));
    let (begun, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..CALLERS {
        let (stores, function) = (stores.clone(), function.clone());
        callers.spawn(async move {
            for _ in 0..events / CALLERS {
                stores.events.accept(event(&function), None, Lease::Free).await.unwrap();
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    (events / CALLERS * CALLERS) as f64 / begun.elapsed().as_secs_f64()
}

/// The loop that everything is compared with: `BEGIN`, inserts, `COMMIT` with one flush, answers.
fn bare_writer(path: &std::path::Path, rows: Rows, mut jobs: mpsc::Receiver<Job>) {
    let connection = Connection::open(path).unwrap();
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;
                    CREATE TABLE IF NOT EXISTS least (id BLOB PRIMARY KEY, payload BLOB NOT NULL) STRICT, WITHOUT ROWID;
                    CREATE TABLE IF NOT EXISTS same (
                        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, lane TEXT NOT NULL, due INTEGER NOT NULL,
                        accepted INTEGER NOT NULL, head TEXT NOT NULL, payload BLOB NOT NULL) STRICT;
                    CREATE INDEX IF NOT EXISTS same_due ON same (lane, due);";
    connection.execute_batch(settings).unwrap();
    let mut group = Vec::new();
    while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut insert = match rows {
            Rows::Least => connection.prepare_cached("INSERT INTO least VALUES (?1, ?2)"),
            Rows::Same => connection.prepare_cached("INSERT INTO same VALUES (NULL, ?1, ?3, ?4, ?4, ?5, ?2)"),
        }
        .unwrap();
        for job in &group {
            let (id, payload) = (job.id.as_uuid().as_bytes(), job.payload.as_ref());
            match rows {
                Rows::Least => insert.execute((id, payload)),
                Rows::Same => insert.execute((id, payload, &job.lane, sample::NOW.as_micros(), &job.head)),
            }
            .unwrap();
        }
        drop(insert);
        connection.execute_batch("COMMIT").unwrap();
        for job in group.drain(..) {
            job.done.send(()).unwrap();
        }
    }
}

async fn bare(folder: &std::path::Path, rows: Rows, events: usize) -> f64 {
    let (sender, jobs) = mpsc::channel::<Job>(1024);
    let path = folder.join("bare.db");
    let writer = std::thread::spawn(move || bare_writer(&path, rows, jobs));
    let function = Arc::new(sample::function("measured"));
    let (begun, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..CALLERS {
        let (sender, function) = (sender.clone(), function.clone());
        callers.spawn(async move {
            for _ in 0..events / CALLERS {
                let (done, answer) = oneshot::channel();
                let event = event(&function);
                // What the store keeps beside the payload, in the same form.
                let head = serde_json::json!({
                    "route": event.route,
                    "namespace": event.namespace,
                    "name": event.name,
                    "attributes": event.attributes,
                });
                let job = Job {
                    id: event.id,
                    lane: event.route.lane().as_str().to_owned(),
                    head: head.to_string(),
                    payload: event.payload,
                    done,
                };
                sender.send(job).await.unwrap();
                answer.await.unwrap();
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let rate = (events / CALLERS * CALLERS) as f64 / begun.elapsed().as_secs_f64();
    drop(sender);
    writer.join().unwrap();
    rate
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

#[tokio::main]
async fn main() {
    let number = |place: usize, default: usize| {
        std::env::args()
            .nth(place)
            .map_or(default, |text| text.parse().unwrap())
    };
    let (events, queued) = (number(1, 50_000), number(2, 1_000_000));
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(&folder.path().join("data")).unwrap();
    let options = Options {
        pending_events: (events * ROUNDS + queued + CALLERS) as u64,
        ..Options::default()
    };
    let stores = Arc::new(sonagi_store::open(&dir, options).unwrap());
    let (mut mine, mut least, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least.push(bare(folder.path(), Rows::Least, events).await);
        same.push(bare(folder.path(), Rows::Same, events).await);
        mine.push(ours(&stores, events).await);
    }
    let figures = serde_json::json!({ "ours": mine, "same": same, "least": least });
    let (mine, least, same) = (median(mine), median(least), median(same));
    println!(
        "accepted: {mine:.0} events/s; bare loop of the same bytes: {same:.0} ({:.0} %), of id and payload: {least:.0} ({:.0} %)",
        100.0 * mine / same,
        100.0 * mine / least
    );
    let begun = Instant::now();
    ours(&stores, queued.saturating_sub(events * ROUNDS)).await;
    let totals = stores.events.totals().await.unwrap();
    println!(
        "queued: {} events in {:.0} s more; resident memory {:.0} MiB",
        totals.pending,
        begun.elapsed().as_secs_f64(),
        resident_mib()
    );
    let begun = Instant::now();
    let lanes = stores.events.lanes().await.unwrap();
    let lane = &lanes[0].0;
    let page = stores
        .events
        .due(lane, sample::NOW.plus(Duration::from_secs(1)), 32)
        .await
        .unwrap();
    println!(
        "{} heads of them are found in {:.1} ms",
        page.heads.len(),
        begun.elapsed().as_secs_f64() * 1e3
    );
    stores.close().await;
    // For whoever reads it by program.
    println!("{figures}");
}
