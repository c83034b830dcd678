//! What instances print, and to which invocation it belongs.

use std::time::Duration;

use sonagi_model::{FunctionError, InvocationId, LogLimits, Outcome};
use sonagi_pool::PoolOptions;
use sonagi_ports::fake::{FakeInit, FakeStart};
use sonagi_ports::{InitFailure, LogLine, LogSource};

use crate::bed::{Bed, failure};

fn texts(lines: &[LogLine], invocation: Option<InvocationId>) -> Vec<&str> {
    let of = lines.iter().filter(|line| line.invocation == invocation);
    of.map(|line| line.text.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn output_belongs_to_the_invocation_during_which_it_was_written() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.sandbox.script([FakeStart {
        prints: "loading\n".to_owned(),
        ..FakeStart::default()
    }]);
    let mut lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    let (one, two) = (InvocationId::generate(), InvocationId::generate());
    lease.begin(one, Some(1000), vec!["START".to_owned()]);
    instance.print("first\nunfinished");
    lease.settle();
    let tail = lease.end(vec!["END".to_owned()]).unwrap();
    assert_eq!(tail, b"START\nfirst\nunfinished\nEND\n");
    instance.print("between\n");
    lease.settle();
    lease.begin(two, None, Vec::new());
    instance.print("second\n");
    lease.settle();
    assert_eq!(lease.end(Vec::new()), None);
    let lines = bed.logs.all(revision.function);
    assert_eq!(texts(&lines, None), ["INIT 1", "loading", "between"]);
    assert_eq!(texts(&lines, Some(one)), ["START", "first", "unfinished", "END"]);
    assert_eq!(texts(&lines, Some(two)), ["second"]);
    let platform: Vec<_> = lines.iter().filter(|line| line.source == LogSource::Platform).collect();
    assert_eq!(platform.len(), 3, "{platform:?}");
}

#[tokio::test]
async fn output_is_read_while_nobody_settles_and_at_the_end_of_the_process() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let mut lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    let id = InvocationId::generate();
    lease.begin(id, None, Vec::new());
    let mut follower = sonagi_ports::LogSink::follow(bed.logs.as_ref(), revision.function);
    instance.print("running\n");
    let line = tokio::time::timeout(Duration::from_secs(20), follower.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((line.text.as_str(), line.invocation), ("running", Some(id)));
    instance.print("last words");
    instance.exit(sonagi_model::Exit::Code(1));
    let line = tokio::time::timeout(Duration::from_secs(20), follower.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line.text, "last words");
    lease.condemn();
    bed.drain().await;
}

#[tokio::test]
async fn a_flood_is_bounded_and_never_stops_the_function() {
    let logs = LogLimits {
        invocation: 10_000,
        ..LogLimits::default()
    };
    let bed = Bed::new(PoolOptions {
        logs,
        ..PoolOptions::default()
    })
    .await;
    let revision = bed.revision();
    let mut lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    lease.begin(InvocationId::generate(), None, Vec::new());
    let line = format!("{}\n", "x".repeat(99));
    for _ in 0..100 {
        instance.print(&line.repeat(100));
        lease.settle();
    }
    let _tail = lease.end(vec!["END".to_owned()]);
    let lines = bed.logs.all(revision.function);
    let function = lines.iter().filter(|line| line.source == LogSource::Function).count();
    assert_eq!(function, 100, "10 000 bytes in lines of 100");
    assert_eq!(lines.iter().filter(|line| line.truncated).count(), 1);
    assert_eq!(lines.last().unwrap().text, "END");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_says_what_was_printed() {
    let bed = Bed::new(PoolOptions::default()).await;
    bed.sandbox.script([FakeStart {
        prints: "Traceback\n".to_owned(),
        ..FakeStart::default()
    }]);
    bed.contract.script_inits([FakeInit {
        takes: Some(Duration::from_millis(1)),
        result: Err(InitFailure::Reported(FunctionError {
            kind: None,
            body: Vec::new(),
        })),
    }]);
    let failure = failure(bed.pool.acquire(&bed.revision()).await);
    assert!(matches!(failure.outcome, Outcome::InitError(_)));
    assert_eq!(&*failure.output, b"INIT 1\nTraceback\nINIT FAILED error\n");
}
