//! Streamed answers.

use std::time::Duration;

use bytes::Bytes;
use sonagi_dispatch::{Answer, Streaming};
use sonagi_model::{Exit, Outcome, RunStatus};
use sonagi_ports::StreamPart;
use sonagi_ports::fake::{FakeAct, FakeEnd};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, error};

const MS: Duration = Duration::from_millis(1);

fn parts(count: usize, size: usize, every: Duration) -> Vec<(Duration, Bytes)> {
    vec![(every, Bytes::from(vec![b'x'; size])); count]
}

async fn streamed(bed: &Bed, act: FakeAct) -> Streaming {
    bed.contract.script_acts([act]);
    match bed.dispatcher.invoke(bed.request()).await.expect("it runs") {
        Answer::Stream(streaming) => streaming,
        Answer::Whole(finished) => panic!("a whole answer: {finished:?}"),
    }
}

/// All data, and the last part if it is none.
async fn read(streaming: &mut Streaming) -> (usize, Option<StreamPart>) {
    let mut bytes = 0;
    while let Some(part) = streaming.parts.recv().await {
        match part {
            StreamPart::Data(data) => bytes += data.len(),
            StreamPart::Failed(_) | StreamPart::End => return (bytes, Some(part)),
        }
    }
    (bytes, None)
}

#[tokio::test(start_paused = true)]
async fn parts_come_as_they_are_sent_and_the_end_after_the_record() {
    let bed = Bed::new().await;
    let begun = Instant::now();
    let mut streaming = streamed(&bed, FakeAct::Stream(parts(3, 10, 100 * MS), FakeEnd::End)).await;
    assert_eq!(streaming.content_type.as_deref(), Some("text/plain"));
    for number in 1..=3 {
        assert!(matches!(streaming.parts.recv().await, Some(StreamPart::Data(_))));
        assert_eq!(begun.elapsed(), 100 * MS * number);
    }
    assert!(matches!(streaming.parts.recv().await, Some(StreamPart::End)));
    let kept = bed.runs.all();
    assert_eq!(
        (kept[0].response_bytes, kept[0].duration_us, kept[0].status),
        (30, 300_000, RunStatus::Success)
    );
    assert!(streaming.parts.recv().await.is_none());
    let finished = streaming.finished.await.unwrap();
    assert_eq!((finished.outcome, finished.body.len()), (Outcome::Success, 0));
    assert_eq!(bed.pool.snapshot().revisions[0].busy, 0);
    bed.until_alive(1).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_at_the_end_keeps_the_instance() {
    let bed = Bed::new().await;
    let mut streaming = streamed(&bed, FakeAct::Stream(parts(1, 5, MS), FakeEnd::Failed(error(b"e")))).await;
    let (bytes, last) = read(&mut streaming).await;
    assert!(matches!(last, Some(StreamPart::Failed(ref failed)) if *failed == error(b"e")));
    let finished = streaming.finished.await.unwrap();
    assert_eq!((bytes, finished.outcome), (5, Outcome::FunctionError(error(b"e"))));
    bed.until_alive(1).await;
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_says_why() {
    let bed = Bed::new().await;
    let broken = || FakeAct::Stream(parts(2, 5, MS), FakeEnd::BreaksOff);
    let mut streaming = streamed(&bed, broken()).await;
    let (bytes, last) = read(&mut streaming).await;
    assert!(bytes == 10 && last.is_none());
    let finished = streaming.finished.await.unwrap();
    assert_eq!(finished.outcome, Outcome::ProtocolViolation("the answer broke off"));
    bed.until_alive(0).await;

    let mut streaming = streamed(&bed, FakeAct::Stream(parts(1, 5, 100 * MS), FakeEnd::Hangs)).await;
    let ((bytes, last), ()) = tokio::join!(read(&mut streaming), async {
        sleep(50 * MS).await;
        bed.sandbox.last().exit(Exit::OutOfMemory);
    });
    assert!(
        bytes == 5 && last.is_none(),
        "what was sent before the end still counts"
    );
    let finished = streaming.finished.await.unwrap();
    assert_eq!(
        (finished.outcome, finished.record.status),
        (Outcome::Exited(Exit::OutOfMemory), RunStatus::OutOfMemory)
    );
    bed.until_alive(0).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_until_the_end_for_slow_functions_and_slow_readers() {
    let bed = Bed::new().await;
    let begun = Instant::now();
    let mut streaming = streamed(&bed, FakeAct::Stream(parts(1, 5, MS), FakeEnd::Hangs)).await;
    let (_, last) = read(&mut streaming).await;
    assert!(last.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    let finished = streaming.finished.await.unwrap();
    assert_eq!((finished.outcome, finished.record.billed_ms), (Outcome::Timeout, 3000));
    bed.until_alive(0).await;

    let streaming = streamed(&bed, FakeAct::Stream(parts(100, 5, MS), FakeEnd::End)).await;
    let finished = streaming.finished.await.unwrap();
    assert_eq!(finished.outcome, Outcome::Timeout, "nobody read");
    assert!(finished.record.response_bytes < 200, "and the function was held back");
    bed.until_alive(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_ends_the_attempt() {
    let bed = Bed::new().await;
    let begun = Instant::now();
    let mut streaming = streamed(&bed, FakeAct::Stream(parts(1, 5, MS), FakeEnd::Hangs)).await;
    assert!(streaming.parts.recv().await.is_some());
    sleep(99 * MS).await;
    drop(streaming.parts);
    let finished = streaming.finished.await.unwrap();
    assert_eq!((finished.outcome, begun.elapsed()), (Outcome::CallerGone, 100 * MS));
    assert_eq!(
        (finished.record.billed_ms, finished.record.status),
        (100, RunStatus::CallerGone)
    );
    bed.until_alive(0).await;
    assert_eq!(bed.dispatcher.running(bed.function.id).function, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_the_limit_is_cut() {
    let bed = Bed::new().await;
    let mut streaming = streamed(&bed, FakeAct::Stream(parts(9, 1000, MS), FakeEnd::End)).await;
    let (bytes, last) = read(&mut streaming).await;
    assert!(bytes == 4000 && last.is_none());
    assert_eq!(
        streaming.finished.await.unwrap().outcome,
        Outcome::ResponseTooLarge(4096)
    );
    bed.until_alive(0).await;
}
