//! What every [`EventQueue`] does, together with the ledger that keeps its records.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::time::Duration;

use sonagi_model::Timestamp;

use crate::fake::sample;
use crate::{EventQueue, EventStatus, QueuedEvent, RunStore, Settlement, StoreError};

/// All checks, on an empty queue that takes exactly `limit` events (more than 10), and the ledger beside it.
///
/// # Panics
/// When one fails.
pub async fn check(queue: &dyn EventQueue, runs: &dyn RunStore, limit: usize) {
    an_event_comes_back_exactly_until_it_is_settled(queue, runs).await;
    due_is_oldest_first_and_next_due_is_later(queue).await;
    an_attempt_and_its_record_are_kept_together(queue, runs).await;
    an_event_is_settled_once(queue, runs).await;
    the_bound_holds(queue, limit).await;
    assert_eq!(queue.pending().await.unwrap(), 0, "the checks settle what they made");
}

fn later(seconds: u64) -> Timestamp {
    sample::NOW.plus(Duration::from_secs(seconds))
}

const fn over(status: EventStatus) -> Settlement {
    Settlement {
        status,
        at: sample::NOW,
    }
}

async fn settle_all(queue: &dyn EventQueue, events: &[QueuedEvent]) {
    for event in events {
        queue
            .settle(event.id, over(EventStatus::Succeeded), None)
            .await
            .unwrap();
    }
}

async fn an_event_comes_back_exactly_until_it_is_settled(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let event = sample::event(&sample::function("exact"), sample::NOW);
    queue.accept(event.clone()).await.unwrap();
    let twice = queue.accept(event.clone()).await;
    assert!(
        matches!(twice, Err(StoreError::Database { .. })),
        "one event accepted twice: {twice:?}"
    );
    for _ in 0..2 {
        let due = queue.due(sample::NOW, 10).await.unwrap();
        assert_eq!(due, std::slice::from_ref(&event), "it stays until it is settled");
    }
    assert_eq!(queue.pending().await.unwrap(), 1);
    queue
        .settle(event.id, over(EventStatus::Succeeded), None)
        .await
        .unwrap();
    assert_eq!(queue.due(later(1000), 10).await.unwrap(), []);
    assert_eq!(queue.pending().await.unwrap(), 0);
    assert_eq!(runs.attempts(event.invocation).await.unwrap(), []);
}

async fn due_is_oldest_first_and_next_due_is_later(queue: &dyn EventQueue) {
    let function = sample::function("due");
    let events: Vec<_> = [5, 1, 3].map(|seconds| sample::event(&function, later(seconds))).into();
    for event in &events {
        queue.accept(event.clone()).await.unwrap();
    }
    assert_eq!(queue.due(sample::NOW, 10).await.unwrap(), []);
    assert_eq!(queue.next_due(sample::NOW).await.unwrap(), Some(later(1)));
    assert_eq!(queue.next_due(later(1)).await.unwrap(), Some(later(3)));
    assert_eq!(queue.next_due(later(5)).await.unwrap(), None);
    assert_eq!(
        queue.due(later(4), 10).await.unwrap(),
        [events[1].clone(), events[2].clone()]
    );
    assert_eq!(queue.due(later(9), 1).await.unwrap(), [events[1].clone()]);
    settle_all(queue, &events).await;
}

async fn an_attempt_and_its_record_are_kept_together(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let function = sample::function("attempts");
    let event = sample::event(&function, sample::NOW);
    queue.accept(event.clone()).await.unwrap();
    let mut first = sample::failed_run(&function, sample::NOW);
    first.invocation = event.invocation;
    queue
        .postpone(event.id, 1, later(60), Some(first.clone()))
        .await
        .unwrap();
    assert_eq!(queue.due(later(59), 10).await.unwrap(), []);
    queue.postpone(event.id, 1, later(90), None).await.unwrap();
    let expected = QueuedEvent {
        attempts: 1,
        due: later(90),
        ..event.clone()
    };
    assert_eq!(queue.due(later(90), 10).await.unwrap(), [expected]);
    let mut second = sample::run(&function, later(90));
    (second.invocation, second.attempt) = (event.invocation, 2);
    queue
        .settle(event.id, over(EventStatus::Succeeded), Some(second.clone()))
        .await
        .unwrap();
    assert_eq!(runs.attempts(event.invocation).await.unwrap(), [first, second]);
}

async fn an_event_is_settled_once(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let function = sample::function("once");
    let event = sample::event(&function, sample::NOW);
    let missing = queue.settle(event.id, over(EventStatus::Expired), None).await;
    assert!(matches!(missing, Err(StoreError::Database { .. })), "{missing:?}");
    queue.accept(event.clone()).await.unwrap();
    queue.settle(event.id, over(EventStatus::Expired), None).await.unwrap();
    let mut record = sample::run(&function, sample::NOW);
    record.invocation = event.invocation;
    let again = queue
        .settle(event.id, over(EventStatus::Succeeded), Some(record.clone()))
        .await;
    assert!(matches!(again, Err(StoreError::Database { .. })), "{again:?}");
    let postponed = queue.postpone(event.id, 1, later(1), Some(record)).await;
    assert!(matches!(postponed, Err(StoreError::Database { .. })), "{postponed:?}");
    assert_eq!(
        runs.attempts(event.invocation).await.unwrap(),
        [],
        "a refused settlement keeps no record"
    );
    let revived = queue.accept(event.clone()).await;
    assert!(
        matches!(revived, Err(StoreError::Database { .. })),
        "a settled event came back: {revived:?}"
    );
}

async fn the_bound_holds(queue: &dyn EventQueue, limit: usize) {
    let function = sample::function("bound");
    let events: Vec<_> = (0..limit).map(|_| sample::event(&function, sample::NOW)).collect();
    for result in super::at_once(events.iter().cloned().map(|event| queue.accept(event))).await {
        result.unwrap();
    }
    let refused = queue.accept(sample::event(&function, sample::NOW)).await;
    assert!(
        matches!(refused, Err(StoreError::Busy { limit: bound, .. }) if bound == limit),
        "{refused:?}"
    );
    assert_eq!(queue.pending().await.unwrap(), limit as u64);
    settle_all(queue, &events[..1]).await;
    let next = sample::event(&function, sample::NOW);
    queue.accept(next.clone()).await.unwrap();
    settle_all(queue, &events[1..]).await;
    settle_all(queue, &[next]).await;
}
