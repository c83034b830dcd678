//! Events that are accepted together, in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sonagi_model::EventId;
use sonagi_ports::fake::sample;
use sonagi_ports::{AcceptError, Accepted, Lease, QueuedEvent, StoreError, Token};
use sonagi_store::Options;
use tokio::task::JoinSet;

use crate::opened::Opened;

fn token(number: usize) -> Token {
    Token {
        scope: "crowd".to_owned(),
        text: number.to_string(),
        window: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_crowd_is_accepted_to_the_bound_and_each_token_once() {
    let options = Options {
        pending_events: 100,
        ..Options::default()
    };
    let opened = Opened::new(options);
    let function = sample::function("crowded");
    let mut crowd = JoinSet::new();
    for number in (0..150).chain(0..150) {
        let queue = Arc::clone(&opened.stores.events);
        let event = QueuedEvent {
            id: EventId::generate(),
            ..sample::event(&function, sample::NOW)
        };
        crowd.spawn(async move { queue.accept(event, Some(token(number)), Lease::Free).await });
    }
    let (mut new, mut known, mut busy) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(accepted) = crowd.join_next().await {
        match accepted.unwrap() {
            Ok(Accepted::New(id)) => assert!(new.insert(id)),
            Ok(Accepted::Known(id)) => assert!(known.insert(id)),
            Err(AcceptError::Store(StoreError::Busy { .. })) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((new.len(), known.len() + busy), (100, 200));
    assert!(known.is_subset(&new), "{known:?}");
    let totals = opened.stores.events.totals().await.unwrap();
    assert_eq!((totals.accepted, totals.pending), (100, 100));
    let mut found = BTreeSet::new();
    for (lane, _) in opened.stores.events.lanes().await.unwrap() {
        let page = opened.stores.events.due(&lane, sample::NOW, 200).await.unwrap();
        found.extend(page.heads.into_iter().map(|head| head.id));
    }
    assert_eq!(found, new);
    opened.stores.close().await;
}
