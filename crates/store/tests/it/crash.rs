//! What was acknowledged survives the sudden end of the process, at whatever moment.
//!
//! The test starts its own binary as a child, which writes in a loop and prints what was acknowledged, kills it with
//! SIGKILL, opens the directory again and looks for everything that was printed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use sonagi_model::{EventId, InvocationId, Mebibytes};
use sonagi_ports::fake::sample;
use sonagi_ports::{Change, EventStatus, Lease, LedgerError, Progress, Record, Settlement, UsageFilter};
use sonagi_store::{Options, StateDir, Stores};

const DIRECTORY: &str = "SONAGI_STORE_CRASH_DIRECTORY";
const KILLS: usize = 6;
/// Threads that append at the same time.
const APPENDERS: usize = 3;

/// Small rings, so that they wrap and fill up many times.
fn options() -> Options {
    Options {
        ledger_rings: 2,
        ledger_ring_bytes: 1,
        ..Options::default()
    }
}

fn say(kind: &str, id: &str) {
    // One write per line: the parent sees a line or none of it, and only what was acknowledged.
    let line = format!("ack {kind} {id}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Not a test by itself: what the child does. Does nothing unless the parent asked for it.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let dir = StateDir::open(Path::new(&directory)).unwrap();
    let stores = sonagi_store::open(&dir, options()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..APPENDERS {
            scope.spawn(|| append_runs(&stores, &stop));
        }
        for _ in 0..2 {
            scope.spawn(|| commit_records(&stores, &stop));
            scope.spawn(|| pass_events(&stores, &stop));
        }
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn append_runs(stores: &Stores, stop: &AtomicBool) {
    let function = sample::function("crashed");
    while !stop.load(Ordering::Relaxed) {
        let run = sample::run(&function, sample::NOW);
        match stores.runs.append(&run) {
            Ok(()) => {}
            Err(LedgerError::Full) => block_on(stores.runs.append_slow(run.clone())).unwrap(),
            Err(error @ LedgerError::TooLarge) => panic!("{error}"),
        }
        say("run", &run.invocation.to_string());
    }
}

fn commit_records(stores: &Stores, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let function = sample::function(&EventId::generate().to_string());
        block_on(stores.metadata.commit(vec![
            Change::Put(Record::Function(function.clone())),
            Change::Put(Record::Revision(sample::revision(&function))),
        ]))
        .unwrap();
        say("function", &function.id.to_string());
    }
}

fn pass_events(stores: &Stores, stop: &AtomicBool) {
    let function = sample::function("events");
    while !stop.load(Ordering::Relaxed) {
        let event = sample::event(&function, sample::NOW);
        block_on(stores.events.accept(event.clone(), None, Lease::Taken)).unwrap();
        say("accepted", &event.id.to_string());
        let mut run = sample::run(&function, sample::NOW);
        run.invocation = event.invocation();
        // Other sizes than those of the appended runs, so that the two are counted apart.
        run.memory = Mebibytes(256);
        let settlement = Settlement::new(EventStatus::Succeeded, sample::NOW, Progress::default());
        block_on(
            stores
                .events
                .settle(event.id, settlement, Some(run.clone()), Vec::new()),
        )
        .unwrap();
        say("settled", &format!("{} {}", event.id, run.invocation));
    }
}

#[derive(Debug, Default)]
struct Acknowledged {
    runs: Vec<InvocationId>,
    functions: Vec<String>,
    accepted: Vec<EventId>,
    settled: Vec<(EventId, InvocationId)>,
}

impl Acknowledged {
    fn take(&mut self, line: &str) {
        let mut words = line.split(' ').skip(1);
        let (kind, id) = (words.next().unwrap(), words.next().unwrap());
        match kind {
            "run" => self.runs.push(id.parse().unwrap()),
            "function" => self.functions.push(id.to_owned()),
            "accepted" => self.accepted.push(id.parse().unwrap()),
            "settled" => self
                .settled
                .push((id.parse().unwrap(), words.next().unwrap().parse().unwrap())),
            other => panic!("{other:?}"),
        }
    }
}

/// Runs the child until it has acknowledged `count` things, kills it, and takes the rest of what it had said.
fn run_and_kill(directory: &Path, count: usize, seen: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut left = count;
    for line in output.split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        // The name of the test stands before the first line.
        let Some(start) = line.find("ack ") else { continue };
        seen.take(&line[start..]);
        left = left.saturating_sub(1);
        if left == 0 {
            // On Unix this is SIGKILL; lines in the pipe are still read.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(left, 0, "the child ended by itself: {status}");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Acknowledged::default();
    for kill in 0..KILLS {
        run_and_kill(folder.path(), 500 + kill * 1777, &mut seen);
    }
    let dir = StateDir::open(folder.path()).unwrap();
    let stores = sonagi_store::open(&dir, options()).unwrap();
    block_on(check(&stores, &seen));
    block_on(stores.close());
}

async fn check(stores: &Stores, seen: &Acknowledged) {
    assert!(
        seen.runs.len() > 1000 && seen.functions.len() > 10 && seen.settled.len() > 10,
        "the child did its work"
    );
    // That none is missing, `counts_agree` says; a look at each would read every pack for each.
    for run in seen.runs.iter().step_by(97) {
        assert_eq!(stores.runs.attempts(*run).await.unwrap().len(), 1, "run {run}");
    }
    let records = stores.metadata.load().await.unwrap();
    let ids: std::collections::HashSet<String> = records
        .iter()
        .filter_map(|record| {
            if let Record::Function(function) = record {
                Some(function.id.to_string())
            } else {
                None
            }
        })
        .collect();
    assert!(seen.functions.iter().all(|id| ids.contains(id)));
    assert_eq!(
        records.len(),
        ids.len() * 2,
        "a function and its revision are there together or not at all"
    );

    let waiting = stores.events.leased(None, 1_000_000).await.unwrap();
    let totals = stores.events.totals().await.unwrap();
    assert_eq!((waiting.len() as u64, totals.missing()), (totals.pending, 0));
    for id in &seen.accepted {
        let settled = seen.settled.iter().find(|(settled, _)| settled == id);
        let pending = waiting.iter().any(|event| event.id == *id);
        assert!(settled.is_none() || !pending, "{id} is settled and pending");
        if let Some((_, invocation)) = settled {
            assert_eq!(stores.runs.attempts(*invocation).await.unwrap().len(), 1);
        }
    }
    counts_agree(stores, seen).await;
}

/// Usage has what the records say: nothing twice, nothing left out.
async fn counts_agree(stores: &Stores, seen: &Acknowledged) {
    let rows = stores.runs.usage(UsageFilter::default()).await.unwrap();
    let attempts = |name: &str| -> u64 {
        rows.iter()
            .filter(|row| row.name.as_str() == name)
            .map(|row| row.attempts)
            .sum()
    };
    let kept = |acknowledged: usize, unseen: usize| acknowledged as u64..=(acknowledged + unseen) as u64;
    // At each kill, each thread may have finished one more than it had said.
    assert!(
        kept(seen.runs.len(), KILLS * APPENDERS).contains(&attempts("crashed")),
        "{rows:?}"
    );
    assert!(
        kept(seen.settled.len(), KILLS * 2).contains(&attempts("events")),
        "{rows:?}"
    );
}
