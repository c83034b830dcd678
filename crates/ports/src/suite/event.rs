//! What every [`EventQueue`] does, together with the ledger that keeps its records.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{EventId, Timestamp};

use crate::fake::sample;
use crate::{
    AcceptError, Accepted, Cancelled, DuePage, EventFilter, EventHead, EventQueue, EventState, EventStatus, Lease,
    Postponement, Progress, QueuedEvent, RunStore, Settlement, StoreError, Token,
};

/// All checks, on an empty queue that takes exactly `limit` events (more than 10), and the ledger beside it.
///
/// # Panics
/// When one fails.
pub async fn check(queue: &dyn EventQueue, runs: &dyn RunStore, limit: usize) {
    an_event_waits_until_it_is_leased_and_stays_until_it_is_settled(queue, runs).await;
    due_is_oldest_first_and_next_is_later(queue).await;
    an_attempt_and_its_record_are_kept_together(queue, runs).await;
    an_event_is_settled_once(queue, runs).await;
    a_token_makes_two_sendings_one_event(queue).await;
    events_are_cancelled_before_and_during_an_attempt(queue).await;
    dead_events_are_letters_until_they_are_repeated_or_dropped(queue).await;
    an_end_and_what_it_sends_are_kept_together(queue).await;
    the_bound_holds(queue, limit).await;
    let totals = queue.totals().await.unwrap();
    assert_eq!(totals.pending, 0, "the checks settle what they made");
    assert_eq!((totals.missing(), totals.pending_bytes), (0, 0), "{totals:?}");
    assert_eq!(queue.lanes().await.unwrap(), []);
}

fn later(seconds: u64) -> Timestamp {
    sample::NOW.plus(Duration::from_secs(seconds))
}

const fn over(status: EventStatus) -> Settlement {
    Settlement::new(status, sample::NOW, progress(0))
}

const fn progress(started: u32) -> Progress {
    Progress {
        started,
        failures: started,
        postponed: 0,
    }
}

async fn accept(queue: &dyn EventQueue, event: &QueuedEvent, lease: Lease) {
    let accepted = queue.accept(event.clone(), None, lease).await.unwrap();
    assert_eq!(accepted, Accepted::New(event.id));
}

async fn settle(queue: &dyn EventQueue, id: EventId, status: EventStatus) {
    queue.settle(id, over(status), None, Vec::new()).await.unwrap();
}

async fn an_event_waits_until_it_is_leased_and_stays_until_it_is_settled(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let function = sample::function("exact");
    let (event, taken) = (
        sample::event(&function, sample::NOW),
        sample::event(&function, sample::NOW),
    );
    let lane = event.route.lane();
    accept(queue, &event, Lease::Free).await;
    accept(queue, &taken, Lease::Taken).await;
    let again = queue.accept(event.clone(), None, Lease::Free).await.unwrap();
    assert_eq!(again, Accepted::Known(event.id), "one event accepted twice");
    let waiting = DuePage {
        heads: vec![event.head()],
        next: None,
    };
    for _ in 0..2 {
        assert_eq!(queue.due(&lane, sample::NOW, 10).await.unwrap(), waiting);
    }
    assert_eq!(queue.lanes().await.unwrap(), [(lane.clone(), sample::NOW)]);
    assert_eq!(queue.load(event.id).await.unwrap().as_ref(), Some(&event));
    let unknown = sample::event(&function, sample::NOW).head();
    let old = EventHead {
        progress: progress(1),
        ..event.head()
    };
    assert_eq!(queue.lease(vec![unknown, old]).await.unwrap(), []);
    assert_eq!(queue.lease(vec![event.head(), event.head()]).await.unwrap(), [event.id]);
    assert_eq!(queue.due(&lane, sample::NOW, 10).await.unwrap(), DuePage::default());
    let mut heads = [event.head(), taken.head()];
    heads.sort_by_key(|head| head.id);
    assert_eq!(queue.leased(None, 10).await.unwrap(), heads);
    assert_eq!(queue.leased(Some(heads[0].id), 10).await.unwrap(), heads[1..]);
    let found = queue.find(event.id).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.bytes, found.kept),
        (EventState::Running, event.payload.len() as u64, true)
    );
    assert_eq!(queue.totals().await.unwrap().pending, 2);
    settle(queue, event.id, EventStatus::Succeeded).await;
    settle(queue, taken.id, EventStatus::Succeeded).await;
    assert_eq!(queue.due(&lane, later(1000), 10).await.unwrap(), DuePage::default());
    assert_eq!(queue.load(event.id).await.unwrap(), None);
    assert_eq!(queue.totals().await.unwrap().pending, 0);
    assert_eq!(runs.attempts(event.invocation()).await.unwrap(), []);
}

async fn due_is_oldest_first_and_next_is_later(queue: &dyn EventQueue) {
    let function = sample::function("due");
    let events: Vec<_> = [5, 1, 3].map(|seconds| sample::event(&function, later(seconds))).into();
    let other = sample::event(&sample::function("other"), later(2));
    for event in events.iter().chain([&other]) {
        accept(queue, event, Lease::Free).await;
    }
    let lane = events[0].route.lane();
    let page = |heads: &[&QueuedEvent], next| DuePage {
        heads: heads.iter().map(|event| event.head()).collect(),
        next,
    };
    let due = async |at, limit| queue.due(&lane, at, limit).await.unwrap();
    assert_eq!(due(sample::NOW, 10).await, page(&[], Some(later(1))));
    assert_eq!(due(later(4), 10).await, page(&[&events[1], &events[2]], Some(later(5))));
    assert_eq!(due(later(9), 1).await, page(&[&events[1]], Some(later(3))));
    assert_eq!(
        due(later(5), 3).await,
        page(&[&events[1], &events[2], &events[0]], None)
    );
    let mut lanes = [(lane.clone(), later(1)), (other.route.lane(), later(2))];
    lanes.sort();
    let mut found = queue.lanes().await.unwrap();
    found.sort();
    assert_eq!(found, lanes);
    for event in events.iter().chain([&other]) {
        settle(queue, event.id, EventStatus::Succeeded).await;
    }
}

async fn an_attempt_and_its_record_are_kept_together(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let function = sample::function("attempts");
    let event = sample::event(&function, sample::NOW);
    let lane = event.route.lane();
    accept(queue, &event, Lease::Taken).await;
    let mut first = sample::failed_run(&function, sample::NOW);
    first.invocation = event.invocation();
    let next = |due| Postponement {
        due,
        progress: progress(1),
    };
    queue
        .postpone(event.id, next(later(60)), Some(first.clone()))
        .await
        .unwrap();
    assert_eq!(queue.due(&lane, later(59), 10).await.unwrap().next, Some(later(60)));
    let waiting = queue.due(&lane, later(60), 10).await.unwrap().heads;
    assert_eq!(queue.lease(waiting).await.unwrap(), [event.id]);
    queue.postpone(event.id, next(later(90)), None).await.unwrap();
    let expected = EventHead {
        due: later(90),
        progress: progress(1),
        ..event.head()
    };
    assert_eq!(queue.due(&lane, later(90), 10).await.unwrap().heads, [expected]);
    let mut second = sample::run(&function, later(90));
    (second.invocation, second.attempt) = (event.invocation(), 2);
    let end = Settlement {
        reason: "because".to_owned(),
        ..Settlement::new(EventStatus::Succeeded, later(91), progress(2))
    };
    queue
        .settle(event.id, end.clone(), Some(second.clone()), Vec::new())
        .await
        .unwrap();
    assert_eq!(runs.attempts(event.invocation()).await.unwrap(), [first, second]);
    let found = queue.find(event.id).await.unwrap().unwrap();
    assert_eq!((found.progress, found.state), (progress(2), EventState::Ended(end)));
}

async fn an_event_is_settled_once(queue: &dyn EventQueue, runs: &dyn RunStore) {
    let function = sample::function("once");
    let not_pending = |result: Result<(), StoreError>, id: EventId| {
        assert!(
            matches!(result, Err(StoreError::NotPending(found)) if found == id),
            "{result:?}"
        );
    };
    for first in EventStatus::ALL {
        let event = sample::event(&function, sample::NOW);
        not_pending(queue.settle(event.id, over(first), None, Vec::new()).await, event.id);
        accept(queue, &event, Lease::Taken).await;
        settle(queue, event.id, first).await;
        let mut record = sample::run(&function, sample::NOW);
        record.invocation = event.invocation();
        for second in EventStatus::ALL {
            let follow_up = sample::event(&function, sample::NOW);
            let again = queue
                .settle(event.id, over(second), Some(record.clone()), vec![follow_up])
                .await;
            not_pending(again, event.id);
        }
        let next = Postponement {
            due: later(1),
            progress: progress(1),
        };
        not_pending(queue.postpone(event.id, next, Some(record)).await, event.id);
        let kept = runs.attempts(event.invocation()).await.unwrap();
        assert_eq!(kept, [], "a refused settlement keeps no record");
        let revived = queue.accept(event.clone(), None, Lease::Free).await.unwrap();
        assert_eq!(revived, Accepted::Known(event.id), "a settled event came back");
        let found = queue.find(event.id).await.unwrap().unwrap();
        assert_eq!(found.state, EventState::Ended(over(first)));
        queue.drop_letter(event.id).await.unwrap();
    }
    assert_eq!(
        queue.totals().await.unwrap().pending,
        0,
        "a refused settlement sends nothing"
    );
}

async fn a_token_makes_two_sendings_one_event(queue: &dyn EventQueue) {
    let function = sample::function("token");
    let token = |scope: &str| {
        Some(Token {
            scope: scope.to_owned(),
            text: "order 7".to_owned(),
            window: Duration::from_secs(60),
        })
    };
    let first = sample::event(&function, sample::NOW);
    let second = QueuedEvent {
        id: EventId::generate(),
        ..first.clone()
    };
    let offer = async |event: &QueuedEvent, scope| queue.accept(event.clone(), token(scope), Lease::Free).await;
    assert_eq!(offer(&first, "a").await.unwrap(), Accepted::New(first.id));
    assert_eq!(offer(&second, "a").await.unwrap(), Accepted::Known(first.id));
    let other = QueuedEvent {
        payload: Bytes::from_static(b"other"),
        ..second.clone()
    };
    let refused = offer(&other, "a").await;
    assert!(
        matches!(&refused, Err(AcceptError::TokenReused { known, .. }) if *known == first.id),
        "{refused:?}"
    );
    settle(queue, first.id, EventStatus::Succeeded).await;
    assert_eq!(
        offer(&second, "a").await.unwrap(),
        Accepted::Known(first.id),
        "also after its end"
    );
    assert_eq!(offer(&second, "b").await.unwrap(), Accepted::New(second.id));
    settle(queue, second.id, EventStatus::Succeeded).await;
    let late = QueuedEvent {
        id: EventId::generate(),
        accepted: later(61),
        ..first.clone()
    };
    assert_eq!(offer(&late, "a").await.unwrap(), Accepted::New(late.id));
    settle(queue, late.id, EventStatus::Succeeded).await;
}

async fn events_are_cancelled_before_and_during_an_attempt(queue: &dyn EventQueue) {
    let function = sample::function("cancelled");
    let (waiting, running) = (
        sample::event(&function, later(100)),
        sample::event(&function, sample::NOW),
    );
    accept(queue, &waiting, Lease::Free).await;
    accept(queue, &running, Lease::Taken).await;
    assert_eq!(queue.cancel(waiting.id, later(1)).await.unwrap(), Cancelled::Now);
    let found = queue.find(waiting.id).await.unwrap().unwrap();
    let end = Settlement::new(EventStatus::Cancelled, later(1), progress(0));
    assert_eq!((found.state, found.letter), (EventState::Ended(end), false));
    assert_eq!(queue.cancel(waiting.id, later(2)).await.unwrap(), Cancelled::NotPending);
    assert_eq!(
        queue.cancel(running.id, later(1)).await.unwrap(),
        Cancelled::AfterAttempt
    );
    assert!(
        queue.leased(None, 10).await.unwrap()[0].cancelled,
        "a restart knows of it"
    );
    settle(queue, running.id, EventStatus::Cancelled).await;
}

async fn dead_events_are_letters_until_they_are_repeated_or_dropped(queue: &dyn EventQueue) {
    let function = sample::function("letters");
    let dead: Vec<_> = (0..3).map(|_| sample::event(&function, sample::NOW)).collect();
    for event in &dead {
        accept(queue, event, Lease::Taken).await;
        settle(queue, event.id, EventStatus::RetriesExhausted).await;
    }
    let filter = |before| EventFilter {
        name: Some("letters".to_owned()),
        before,
        ..EventFilter::default()
    };
    let ids = async |before| -> Vec<EventId> {
        let letters = queue.letters(filter(before)).await.unwrap();
        letters.iter().map(|letter| letter.id).collect()
    };
    let mut newest_first: Vec<_> = dead.iter().map(|event| event.id).collect();
    newest_first.sort_by(|a, b| b.cmp(a));
    assert_eq!(ids(None).await, newest_first);
    assert_eq!(ids(Some(newest_first[0])).await, newest_first[1..]);
    assert_eq!(
        queue.content(dead[0].id).await.unwrap(),
        Some(dead[0].payload.clone()),
        "the event unchanged"
    );
    let new = EventId::generate();
    let repeated = queue.repeat(dead[0].id, new, later(5)).await.unwrap().unwrap();
    let expected = QueuedEvent {
        id: new,
        origin: Some(dead[0].id),
        accepted: later(5),
        due: later(5),
        ..dead[0].clone()
    };
    assert_eq!(repeated, expected);
    assert_eq!(queue.load(new).await.unwrap(), Some(expected));
    let again = queue.repeat(dead[0].id, EventId::generate(), later(6)).await.unwrap();
    assert_eq!(again, None, "a letter is redriven once");
    assert_eq!(queue.offspring(dead[0].id).await.unwrap()[0].id, new);
    settle(queue, new, EventStatus::Succeeded).await;
    assert!(queue.drop_letter(dead[1].id).await.unwrap());
    assert!(!queue.drop_letter(dead[1].id).await.unwrap());
    assert_eq!(queue.content(dead[1].id).await.unwrap(), None);
    assert_eq!(ids(None).await, [dead[2].id]);
    assert_eq!(queue.totals().await.unwrap().letters, 1);
    let found = queue.find(dead[1].id).await.unwrap().unwrap();
    assert_eq!(
        found.state,
        EventState::Ended(over(EventStatus::RetriesExhausted)),
        "an end never changes"
    );
    assert!(queue.drop_letter(dead[2].id).await.unwrap());
    let shown = queue.recent(filter(None)).await.unwrap();
    assert_eq!((shown.len(), shown[0].id), (4, new));
}

async fn an_end_and_what_it_sends_are_kept_together(queue: &dyn EventQueue) {
    let function = sample::function("sends");
    let event = sample::event(&function, sample::NOW);
    let follow_up = QueuedEvent {
        origin: Some(event.id),
        ..sample::event(&sample::function("follows"), sample::NOW)
    };
    accept(queue, &event, Lease::Taken).await;
    let end = over(EventStatus::Succeeded);
    queue
        .settle(event.id, end, None, vec![follow_up.clone()])
        .await
        .unwrap();
    assert_eq!(queue.load(follow_up.id).await.unwrap().as_ref(), Some(&follow_up));
    assert_eq!(queue.offspring(event.id).await.unwrap()[0].id, follow_up.id);
    settle(queue, follow_up.id, EventStatus::Succeeded).await;
}

async fn the_bound_holds(queue: &dyn EventQueue, limit: usize) {
    let function = sample::function("bound");
    let events: Vec<_> = (0..limit).map(|_| sample::event(&function, sample::NOW)).collect();
    let offers = events
        .iter()
        .cloned()
        .map(|event| queue.accept(event, None, Lease::Free));
    for result in super::at_once(offers).await {
        result.unwrap();
    }
    let next = sample::event(&function, sample::NOW);
    let refused = queue.accept(next.clone(), None, Lease::Free).await;
    assert!(
        matches!(refused, Err(AcceptError::Store(StoreError::Busy { limit: bound, .. })) if bound == limit),
        "{refused:?}"
    );
    assert_eq!(queue.totals().await.unwrap().pending, limit as u64);
    settle(queue, events[0].id, EventStatus::Succeeded).await;
    accept(queue, &next, Lease::Free).await;
    for event in events[1..].iter().chain([&next]) {
        settle(queue, event.id, EventStatus::Succeeded).await;
    }
}
