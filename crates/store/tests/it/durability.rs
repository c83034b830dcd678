//! What a restart brings back, what is refused, what is bounded, what idles.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sonagi_model::{RunRecord, Timestamp};
use sonagi_ports::fake::sample;
use sonagi_ports::{Change, Lease, LedgerError, Record, RunFilter, StoreError, UsageFilter};
use sonagi_store::{Options, StateDir};

use crate::opened::Opened;

#[tokio::test]
async fn a_restart_brings_everything_back() {
    let opened = Opened::new(Options::default());
    let function = sample::function("kept");
    let records = [
        Record::Function(function.clone()),
        Record::Alias(sample::alias(&function, "live")),
    ];
    opened
        .stores
        .metadata
        .commit(records.iter().cloned().map(Change::Put).collect())
        .await
        .unwrap();
    let event = sample::event(&function, sample::NOW);
    opened
        .stores
        .events
        .accept(event.clone(), None, Lease::Free)
        .await
        .unwrap();
    let run = sample::run(&function, sample::NOW);
    opened.stores.runs.append(&run).unwrap();
    let opened = opened.restart(Options::default()).await;
    assert_eq!(opened.stores.metadata.load().await.unwrap(), records);
    assert_eq!(opened.stores.events.load(event.id).await.unwrap(), Some(event));
    assert_eq!(
        opened.stores.runs.attempts(run.invocation).await.unwrap(),
        std::slice::from_ref(&run)
    );
    assert_eq!(
        opened.stores.runs.usage(UsageFilter::default()).await.unwrap()[0].attempts,
        1
    );
}

#[tokio::test]
async fn rings_of_another_number_and_size_are_taken_over() {
    let run = |i| sample::run(&sample::function("rings"), sample::NOW.plus(Duration::from_secs(i)));
    let large = Options {
        ledger_rings: 4,
        ..Options::default()
    };
    let small = Options {
        ledger_rings: 1,
        ledger_ring_bytes: 300_000,
        ..Options::default()
    };
    let mut opened = Opened::new(large.clone());
    for (i, options) in [small.clone(), large, small].into_iter().enumerate() {
        opened.stores.runs.append(&run(i as u64)).unwrap();
        // Closed first, so that the record stays in its ring for the next start.
        opened.stores.close().await;
        opened.stores.runs.append(&run(100 + i as u64)).unwrap();
        opened = opened.restart(options).await;
    }
    assert_eq!(opened.stores.runs.recent(RunFilter::default()).await.unwrap().len(), 6);
    assert!(!opened.dir.path().join("ledger/ring-1").exists());
}

#[tokio::test]
async fn a_newer_store_is_refused() {
    let opened = Opened::new(Options::default());
    let Opened {
        stores,
        dir,
        folder: _folder,
    } = opened;
    stores.close().await;
    let connection = rusqlite::Connection::open(dir.path().join("sonagi.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = sonagi_store::open(&dir, Options::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        error.to_string(),
        format!("open {}", dir.path().join("sonagi.db").display())
    );
    assert_eq!(source, "store has schema version 99, this program knows up to 5");
}

#[tokio::test]
async fn closing_leaves_one_database_file_and_answers_closed() {
    let opened = Opened::new(Options::default());
    let change = vec![Change::Put(Record::Function(sample::function("last")))];
    opened.stores.metadata.commit(change.clone()).await.unwrap();
    opened.stores.close().await;
    assert!(matches!(
        opened.stores.metadata.commit(change).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(opened.stores.metadata.load().await, Err(StoreError::Closed)));
    let log = opened.dir.path().join("sonagi.db-wal");
    assert!(!log.exists() || log.metadata().unwrap().len() == 0);
    opened.stores.close().await;
}

#[tokio::test]
async fn runs_that_come_in_large_batches_are_found_and_bounded_too() {
    for bound in [3_000, 200_000] {
        large_batches(bound).await;
    }
}

async fn large_batches(bound: u64) {
    let opened = Opened::new(Options {
        runs: bound,
        ..Options::default()
    });
    let (common, rare) = (sample::function("common"), sample::function("rare"));
    let start = Timestamp::from_micros(sample::NOW.as_micros() / 3_600_000_000 * 3_600_000_000);
    let run = |i: u64| match i {
        i if i % 1000 == 7 => sample::failed_run(&rare, start.plus(Duration::from_millis(i))),
        i => sample::run(&common, start.plus(Duration::from_millis(i))),
    };
    let runs: Vec<RunRecord> = (0..10_000).map(run).collect();
    for run in &runs {
        if opened.stores.runs.append(run).is_err() {
            opened.stores.runs.append_slow(run.clone()).await.unwrap();
        }
    }
    let store = &opened.stores.runs;
    let recent = async |filter: RunFilter| store.recent(filter).await.unwrap();
    let newest: Vec<_> = runs.iter().rev().take(1000).cloned().collect();
    let limit = RunFilter {
        limit: 1000,
        ..RunFilter::default()
    };
    assert_eq!(recent(limit.clone()).await, newest);
    let of_rare = RunFilter {
        function: Some(rare.id),
        ..limit.clone()
    };
    let found = recent(of_rare).await;
    assert_eq!(found.len() == 10, bound >= 10_000, "{} of 10 are kept", found.len());
    assert!(found.len() >= 3);
    assert!(found.iter().all(|run| run.function == rare.id && runs.contains(run)));
    assert_eq!(
        recent(RunFilter {
            failed: true,
            ..limit.clone()
        })
        .await,
        found
    );
    let since = RunFilter {
        since: Some(start.plus(Duration::from_millis(9_990))),
        ..limit
    };
    assert_eq!(recent(since).await.len(), 10);
    let last = runs.last().unwrap();
    assert_eq!(
        store.attempts(last.invocation).await.unwrap(),
        std::slice::from_ref(last)
    );
    let first = store.attempts(runs[0].invocation).await.unwrap();
    assert_eq!(first.is_empty(), bound < 10_000);
    let usage = async |from: Option<Timestamp>| {
        let filter = UsageFilter {
            from,
            ..UsageFilter::default()
        };
        let rows = store.usage(filter).await.unwrap();
        rows.iter().map(|row| row.attempts).sum::<u64>()
    };
    assert_eq!(usage(None).await, 10_000);
    // Parts of an hour of which records are gone are counted as the whole hour.
    let part = usage(Some(start.plus(Duration::from_millis(9_900)))).await;
    assert_eq!(part, if bound < 10_000 { 10_000 } else { 100 });
    let opened = opened.restart(Options::default()).await;
    assert_eq!(opened.stores.runs.attempts(last.invocation).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_number_of_runs_is_bounded_and_usage_is_not() {
    let opened = Opened::new(Options {
        runs: 100,
        ..Options::default()
    });
    let function = sample::function("bounded");
    let runs: Vec<RunRecord> = (0..350)
        .map(|i| sample::run(&function, sample::NOW.plus(Duration::from_secs(i))))
        .collect();
    for run in &runs {
        opened.stores.runs.append(run).unwrap();
    }
    let kept = opened
        .stores
        .runs
        .recent(RunFilter {
            limit: 1000,
            ..RunFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(kept, runs[250..].iter().rev().cloned().collect::<Vec<_>>());
    let usage = |from: Option<Timestamp>| {
        opened.stores.runs.usage(UsageFilter {
            from,
            ..UsageFilter::default()
        })
    };
    assert_eq!(usage(None).await.unwrap()[0].attempts, 350);
    // Records of this hour are gone, so it is counted as a whole.
    assert_eq!(
        usage(Some(sample::NOW.plus(Duration::from_secs(300)))).await.unwrap()[0].attempts,
        350
    );
}

#[tokio::test]
async fn a_full_ring_says_so_and_empties_itself() {
    let opened = Opened::new(Options {
        ledger_rings: 1,
        ledger_ring_bytes: 1,
        ..Options::default()
    });
    let function = sample::function("full");
    let (mut kept, mut refused) = (0, 0);
    while refused == 0 {
        match opened.stores.runs.append(&sample::run(&function, sample::NOW)) {
            Ok(()) => kept += 1,
            Err(error) => {
                assert_eq!(error, LedgerError::Full);
                refused += 1;
            }
        }
    }
    opened
        .stores
        .runs
        .append_slow(sample::run(&function, sample::NOW))
        .await
        .unwrap();
    assert_eq!(
        opened.stores.runs.usage(UsageFilter::default()).await.unwrap()[0].attempts,
        kept + 1
    );
    opened.stores.runs.append(&sample::run(&function, sample::NOW)).unwrap();
    let huge = RunRecord {
        error_kind: Some("x".repeat(100_000)),
        ..sample::run(&function, sample::NOW)
    };
    assert_eq!(opened.stores.runs.append(&huge), Err(LedgerError::TooLarge));
    opened.stores.runs.append_slow(huge.clone()).await.unwrap();
    assert_eq!(opened.stores.runs.attempts(huge.invocation).await.unwrap(), [huge]);
}

/// On a file system of its own, full to the last block.
#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_reading_goes_on() {
    let disk = SmallDisk::new();
    let dir = StateDir::open(&disk.path().join("state")).unwrap();
    let options = Options {
        ledger_rings: 1,
        ledger_ring_bytes: 1,
        ..Options::default()
    };
    let stores = sonagi_store::open(&dir, options).unwrap();
    let first = Record::Function(sample::function("first"));
    stores.metadata.commit(vec![Change::Put(first.clone())]).await.unwrap();
    let ballast = disk.fill();
    let mut answers = Vec::new();
    for i in 0..200 {
        let function = sample::function(&format!("full-{i}"));
        answers.push((
            function.clone(),
            stores
                .metadata
                .commit(vec![Change::Put(Record::Function(function))])
                .await,
        ));
    }
    assert!(
        answers
            .iter()
            .any(|(_, answer)| matches!(answer, Err(StoreError::Full(_)))),
        "the disk was not full"
    );
    assert!(
        answers
            .iter()
            .all(|(_, answer)| matches!(answer, Ok(()) | Err(StoreError::Full(_)))),
        "{answers:?}"
    );
    let loaded = stores.metadata.load().await.unwrap();
    assert_eq!(
        loaded.len(),
        1 + answers.iter().filter(|(_, answer)| answer.is_ok()).count()
    );
    std::fs::remove_file(ballast).unwrap();
    stores
        .metadata
        .commit(vec![Change::Put(Record::Function(sample::function("again")))])
        .await
        .unwrap();
    stores.close().await;
    drop((stores, dir));
}

/// A tmpfs of a few MiB, unmounted when dropped. Needs root.
#[derive(Debug)]
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        rustix::mount::mount(
            "none",
            folder.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(c"size=3m"),
        )
        .expect("this test mounts a file system and needs root");
        Self(folder)
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    /// Takes the space that is left; the file to remove to get it back.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        let zeros = [0; 4096];
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Left behind only if the test fails while files are open; detached then.
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn idle_stores_do_not_write() {
    let opened = Opened::new(Options::default());
    let function = sample::function("idle");
    opened
        .stores
        .metadata
        .commit(vec![Change::Put(Record::Function(function.clone()))])
        .await
        .unwrap();
    opened.stores.runs.append(&sample::run(&function, sample::NOW)).unwrap();
    opened.stores.runs.recent(RunFilter::default()).await.unwrap();
    let stamp = || {
        ["sonagi.db", "sonagi.db-wal", "ledger/ring-0"].map(|name| {
            let metadata = opened.dir.path().join(name).metadata().unwrap();
            (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
        })
    };
    let before = stamp();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(stamp(), before);
}
