//! Log files: bounded, complete or marked, there after a restart.

use std::path::Path;
use std::sync::Arc;

use sonagi_model::{Function, LogLimits};
use sonagi_ports::fake::{ManualClock, sample};
use sonagi_ports::{LogLine, LogSource};
use sonagi_store::Options;
use tokio::sync::broadcast::error::RecvError;

use crate::opened::Opened;

fn options(bytes: u64) -> Options {
    let logs = LogLimits {
        function: bytes,
        ..LogLimits::default()
    };
    Options {
        logs,
        clock: Arc::new(ManualClock::default()),
        ..Options::default()
    }
}

fn size(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

fn lines(function: &Function, numbers: std::ops::Range<usize>) -> Vec<LogLine> {
    numbers
        .map(|number| sample::line(function, sample::NOW, &format!("line {number}")))
        .collect()
}

#[tokio::test]
async fn lines_survive_a_restart_without_being_closed() {
    let opened = Opened::new(options(1_000_000));
    let function = sample::function("kept");
    let written = lines(&function, 0..5);
    opened.stores.logs.write(written.clone());
    let opened = opened.restart(options(1_000_000)).await;
    opened.stores.logs.write(lines(&function, 5..6));
    let read = opened.stores.logs.read(function.id, None, None, 100).await.unwrap();
    assert_eq!(read[..5], written);
    assert_eq!(read[5].text, "line 5");
}

#[tokio::test]
async fn a_function_keeps_no_more_than_its_limit() {
    let opened = Opened::new(options(100_000));
    let (function, quiet) = (sample::function("loud"), sample::function("quiet"));
    opened.stores.logs.write(lines(&quiet, 0..1));
    for round in 0..50 {
        opened
            .stores
            .logs
            .write(lines(&function, round * 100..round * 100 + 100));
        opened.stores.logs.read(function.id, None, None, 1).await.unwrap();
    }
    let folder = opened.dir.path().join("logs").join(function.id.to_string());
    assert!((50_000..=100_000).contains(&size(&folder)), "{}", size(&folder));
    let read = opened.stores.logs.read(function.id, None, None, 100_000).await.unwrap();
    assert_eq!(read.last().unwrap().text, "line 4999");
    let first = 5000 - read.len();
    assert_eq!(
        read[0].text,
        format!("line {first}"),
        "nothing is missing in what is kept"
    );
    assert_eq!(opened.stores.logs.read(quiet.id, None, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn more_functions_than_open_files_are_written_all_the_same() {
    let opened = Opened::new(options(1_000_000));
    let functions: Vec<Function> = (0..150).map(|i| sample::function(&format!("f{i}"))).collect();
    for _ in 0..2 {
        functions
            .iter()
            .for_each(|function| opened.stores.logs.write(lines(function, 0..2)));
    }
    for function in &functions {
        assert_eq!(
            opened.stores.logs.read(function.id, None, None, 9).await.unwrap().len(),
            4
        );
    }
}

#[tokio::test]
async fn a_flood_is_kept_or_marked_to_the_last_line() {
    let opened = Opened::new(options(1 << 30));
    let function = sample::function("floods");
    let long = "x".repeat(60_000);
    for _ in 0..600 {
        opened
            .stores
            .logs
            .write(vec![sample::line(&function, sample::NOW, &long)]);
    }
    let read = opened
        .stores
        .logs
        .read(function.id, None, None, usize::MAX)
        .await
        .unwrap();
    let kept = read.iter().filter(|line| line.source == LogSource::Function).count();
    let marked: usize = (read.iter())
        .filter(|line| line.source == LogSource::Platform && line.truncated && line.time == sample::NOW)
        .map(|line| line.text.split(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(kept + marked, 600);
}

#[tokio::test]
async fn a_follower_that_falls_behind_is_told_how_much_it_lost() {
    let opened = Opened::new(options(1 << 30));
    let function = sample::function("followed");
    let mut follower = opened.stores.logs.follow(function.id);
    opened.stores.logs.write(lines(&function, 0..1000));
    assert_eq!(follower.recv().await, Err(RecvError::Lagged(488)));
    assert_eq!(follower.recv().await.unwrap().text, "line 488");
}
