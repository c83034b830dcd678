//! What every [`MessageStore`] does.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{Document, MessageId, Namespace, QueueId, Timestamp};

use crate::{
    Attributes, Fetch, Message, MessageError, MessageStore, NewMessage, Order, Queue, QueueCounts, QueueSettings,
    Receipt, Redrive, Settled, Shown, StoreError,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// All checks, on an empty store that holds `limit` messages.
///
/// # Panics
/// When one fails.
pub async fn check(store: &dyn MessageStore, limit: usize) {
    queues_come_back_exactly(store).await;
    a_message_is_had_by_one_until_its_time_is_over(store).await;
    receipts_are_fencing_tokens(store).await;
    delays_and_retention_hold(store).await;
    messages_received_too_often_are_moved(store).await;
    groups_keep_their_order(store).await;
    moved_groups_go_on(store).await;
    tokens_make_two_messages_one(store).await;
    purging_takes_what_is_in_flight_too(store).await;
    fetches_are_bounded_by_bytes(store).await;
    the_store_is_bounded(store, limit).await;
    many_at_once_are_all_kept(store).await;
    assert!(
        store.queues().await.unwrap().is_empty(),
        "the checks remove what they made"
    );
    while store.sweep(at(1_000_000_000)).await.unwrap() {}
}

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn queue(name: &str, order: Order) -> Queue {
    Queue {
        id: QueueId::generate(),
        namespace: Namespace::parse("test/a").unwrap(),
        name: name.to_owned(),
        settings: QueueSettings {
            order,
            retention: Duration::from_secs(3600),
            window: Duration::from_secs(300),
            redrive: None,
        },
        created: NOW,
        document: Document(serde_json::json!({ "text": "\u{1f600}" })),
    }
}

async fn made(store: &dyn MessageStore, name: &str, order: Order) -> Queue {
    let queue = queue(name, order);
    store.put_queue(queue.clone()).await.unwrap();
    queue
}

fn message(body: &str) -> NewMessage {
    let mut attributes = Attributes::default();
    attributes.set("k", "v\u{0}");
    NewMessage {
        id: MessageId::generate(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        attributes,
        delay: Duration::ZERO,
        group: String::new(),
        token: None,
    }
}

fn grouped(group: &str, body: &str) -> NewMessage {
    NewMessage {
        group: group.to_owned(),
        ..message(body)
    }
}

fn fetch(queue: &Queue, limit: usize) -> Fetch {
    Fetch {
        queue: queue.id,
        limit,
        bytes: usize::MAX,
        visibility: Duration::from_secs(30),
    }
}

async fn receive(store: &dyn MessageStore, queue: &Queue, limit: usize, now: Timestamp) -> Vec<Message> {
    store.receive(fetch(queue, limit), now).await.unwrap().messages
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| std::str::from_utf8(&message.body).unwrap())
        .collect()
}

fn receipts(messages: &[Message]) -> Vec<Receipt> {
    messages.iter().map(|message| message.receipt).collect()
}

async fn counts(store: &dyn MessageStore, queue: &Queue, now: Timestamp) -> (u64, u64, u64) {
    let QueueCounts {
        visible,
        in_flight,
        delayed,
    } = store.counts(queue.id, now).await.unwrap();
    (visible, in_flight, delayed)
}

async fn queues_come_back_exactly(store: &dyn MessageStore) {
    let mut queue = made(store, "exact", Order::Loose).await;
    assert_eq!(store.queues().await.unwrap(), [queue.clone()]);
    queue.settings.redrive = Some(Redrive {
        target: QueueId::generate(),
        after: 3,
    });
    queue.document = Document(serde_json::json!(null));
    store.put_queue(queue.clone()).await.unwrap();
    assert_eq!(store.queues().await.unwrap(), [queue.clone()]);
    let twin = Queue {
        id: QueueId::generate(),
        ..queue.clone()
    };
    assert!(store.put_queue(twin.clone()).await.is_err(), "two queues of one name");
    assert!(store.remove_queue(queue.id).await.unwrap());
    assert!(!store.remove_queue(queue.id).await.unwrap());
    for result in [
        store.send(queue.id, vec![message("x")], NOW).await.map(drop),
        store.receive(fetch(&queue, 1), NOW).await.map(drop),
        store.purge(queue.id).await,
        store.counts(queue.id, NOW).await.map(drop),
    ] {
        assert!(
            matches!(result, Err(MessageError::NoQueue(id)) if id == queue.id),
            "{result:?}"
        );
    }
}

async fn a_message_is_had_by_one_until_its_time_is_over(store: &dyn MessageStore) {
    let queue = made(store, "one", Order::Loose).await;
    let sent = message("hello");
    let known = store.send(queue.id, vec![sent.clone()], NOW).await.unwrap();
    assert_eq!((known[0].id, known[0].known), (sent.id, false));
    let first = receive(store, &queue, 10, at(1)).await;
    assert_eq!(bodies(&first), ["hello"]);
    let got = &first[0];
    assert_eq!((got.id, &got.attributes, got.sent), (sent.id, &sent.attributes, NOW));
    assert_eq!(
        (got.first_received, got.receipt.lease, got.moved_from),
        (at(1), 1, None)
    );
    let nothing = store.receive(fetch(&queue, 10), at(2)).await.unwrap();
    assert_eq!((nothing.messages.len(), nothing.next), (0, Some(at(31))));
    assert_eq!(counts(store, &queue, at(2)).await, (0, 1, 0));
    let again = receive(store, &queue, 10, at(31)).await;
    assert_eq!((again[0].first_received, again[0].receipt.lease), (at(1), 2));
    assert_eq!(
        store.delete(queue.id, receipts(&again), at(32)).await.unwrap(),
        [Settled::Deleted]
    );
    let empty = store.receive(fetch(&queue, 10), at(100)).await.unwrap();
    assert_eq!((empty.messages.len(), empty.next), (0, None));
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn receipts_are_fencing_tokens(store: &dyn MessageStore) {
    let (queue, other) = (
        made(store, "fence", Order::Loose).await,
        made(store, "other", Order::Loose).await,
    );
    store.send(queue.id, vec![message("x")], NOW).await.unwrap();
    let old = receipts(&receive(store, &queue, 1, NOW).await);
    let change = |receipt: Receipt, seconds: u64| vec![(receipt, Duration::from_secs(seconds))];
    let changed = store
        .change_visibility(queue.id, change(old[0], 60), at(10))
        .await
        .unwrap();
    assert_eq!(changed, [Shown::Changed]);
    assert!(receive(store, &queue, 1, at(69)).await.is_empty());
    let new = receipts(&receive(store, &queue, 1, at(70)).await);
    assert_eq!(
        store.delete(queue.id, old.clone(), at(71)).await.unwrap(),
        [Settled::Stale]
    );
    assert_eq!(
        store.delete(other.id, new.clone(), at(71)).await.unwrap(),
        [Settled::Stale]
    );
    let changed = store
        .change_visibility(queue.id, change(old[0], 1), at(71))
        .await
        .unwrap();
    assert_eq!(changed, [Shown::NotInFlight]);
    // To nothing: visible at once.
    let changed = store
        .change_visibility(queue.id, change(new[0], 0), at(71))
        .await
        .unwrap();
    assert_eq!(changed, [Shown::Changed]);
    let last = receipts(&receive(store, &queue, 1, at(71)).await);
    // Late, but nobody else has it: it is gone all the same.
    assert_eq!(
        store.delete(queue.id, last.clone(), at(500)).await.unwrap(),
        [Settled::Deleted]
    );
    assert_eq!(
        store.delete(queue.id, last.clone(), at(500)).await.unwrap(),
        [Settled::Gone]
    );
    let changed = store
        .change_visibility(queue.id, change(last[0], 1), at(500))
        .await
        .unwrap();
    assert_eq!(changed, [Shown::Gone]);
    for queue in [queue, other] {
        assert!(store.remove_queue(queue.id).await.unwrap());
    }
}

async fn delays_and_retention_hold(store: &dyn MessageStore) {
    let mut queue = made(store, "times", Order::Loose).await;
    let late = NewMessage {
        delay: Duration::from_secs(10),
        ..message("late")
    };
    store.send(queue.id, vec![late, message("soon")], NOW).await.unwrap();
    assert_eq!(counts(store, &queue, NOW).await, (1, 0, 1));
    let fetched = store.receive(fetch(&queue, 10), at(5)).await.unwrap();
    assert_eq!((bodies(&fetched.messages), fetched.next), (vec!["soon"], Some(at(10))));
    assert_eq!(bodies(&receive(store, &queue, 10, at(10)).await), ["late"]);
    queue.settings.retention = Duration::from_secs(60);
    store.put_queue(queue.clone()).await.unwrap();
    let fetched = store.receive(fetch(&queue, 10), at(60)).await.unwrap();
    assert_eq!(
        (fetched.messages.len(), fetched.surplus),
        (0, true),
        "older than the queue keeps them"
    );
    assert_eq!(counts(store, &queue, at(60)).await, (0, 0, 0));
    while store.sweep(at(60)).await.unwrap() {}
    let fetched = store.receive(fetch(&queue, 10), at(60)).await.unwrap();
    assert_eq!((fetched.surplus, fetched.next), (false, None));
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn messages_received_too_often_are_moved(store: &dyn MessageStore) {
    let (mut queue, letters) = (
        made(store, "tried", Order::Loose).await,
        made(store, "letters", Order::Loose).await,
    );
    queue.settings.redrive = Some(Redrive {
        target: letters.id,
        after: 2,
    });
    store.put_queue(queue.clone()).await.unwrap();
    let sent = message("poison");
    store.send(queue.id, vec![sent.clone()], NOW).await.unwrap();
    let mut last = Vec::new();
    for turn in [0, 30] {
        last = receipts(&receive(store, &queue, 10, at(turn)).await);
        assert_eq!(last.len(), 1);
    }
    store.send(queue.id, vec![message("good")], at(60)).await.unwrap();
    let fetched = store.receive(fetch(&queue, 1), at(60)).await.unwrap();
    assert_eq!(
        (bodies(&fetched.messages), fetched.moved_to),
        (vec!["good"], Some(letters.id))
    );
    assert_ne!(store.delete(queue.id, last, at(60)).await.unwrap(), [Settled::Deleted]);
    let moved = receive(store, &letters, 10, at(60)).await;
    assert_eq!(
        (moved[0].id, bodies(&moved), moved[0].moved_from),
        (sent.id, vec!["poison"], Some(queue.id))
    );
    assert_eq!(
        (moved[0].sent, moved[0].receipt.lease, moved[0].first_received),
        (NOW, 1, at(60))
    );
    // Without its target a queue goes on handing out.
    assert!(store.remove_queue(letters.id).await.unwrap());
    for turn in [100, 200, 300] {
        assert_eq!(bodies(&receive(store, &queue, 10, at(turn)).await), ["good"]);
    }
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn groups_keep_their_order(store: &dyn MessageStore) {
    let queue = made(store, "groups", Order::Groups).await;
    let sent = ["a1", "b1", "a2", "a3", "b2"].map(|body| grouped(&body[..1], body));
    store.send(queue.id, sent.to_vec(), NOW).await.unwrap();
    let first = receive(store, &queue, 2, NOW).await;
    assert_eq!(bodies(&first), ["a1", "a2"]);
    assert_eq!(first[0].group, "a");
    let second = receive(store, &queue, 10, NOW).await;
    assert_eq!(
        bodies(&second),
        ["b1", "b2"],
        "while a group is in flight the others go on"
    );
    assert!(receive(store, &queue, 10, NOW).await.is_empty());
    let receipts_of_a = receipts(&first);
    assert_eq!(
        store.delete(queue.id, vec![receipts_of_a[0]], at(1)).await.unwrap(),
        [Settled::Deleted]
    );
    assert!(
        receive(store, &queue, 10, at(1)).await.is_empty(),
        "a2 is in flight still"
    );
    assert_eq!(
        store.delete(queue.id, vec![receipts_of_a[1]], at(1)).await.unwrap(),
        [Settled::Deleted]
    );
    assert_eq!(bodies(&receive(store, &queue, 10, at(1)).await), ["a3"]);
    // Given back: in order again, and late deletions change nothing.
    let changes = second.iter().map(|message| (message.receipt, Duration::ZERO)).collect();
    store.change_visibility(queue.id, changes, at(2)).await.unwrap();
    assert_eq!(
        store.delete(queue.id, receipts(&second), at(2)).await.unwrap(),
        [Settled::Expired; 2]
    );
    assert_eq!(bodies(&receive(store, &queue, 1, at(2)).await), ["b1"]);
    assert!(receive(store, &queue, 1, at(3)).await.is_empty());
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn moved_groups_go_on(store: &dyn MessageStore) {
    let (mut queue, letters) = (
        made(store, "line", Order::Groups).await,
        made(store, "lost", Order::Groups).await,
    );
    queue.settings.redrive = Some(Redrive {
        target: letters.id,
        after: 1,
    });
    store.put_queue(queue.clone()).await.unwrap();
    store
        .send(queue.id, vec![grouped("g", "1"), grouped("g", "2")], NOW)
        .await
        .unwrap();
    assert_eq!(bodies(&receive(store, &queue, 1, NOW).await), ["1"]);
    let fetched = store.receive(fetch(&queue, 1), at(30)).await.unwrap();
    assert_eq!(
        (bodies(&fetched.messages), fetched.moved_to),
        (vec!["2"], Some(letters.id))
    );
    let moved = receive(store, &letters, 10, at(30)).await;
    assert_eq!(
        (bodies(&moved), moved[0].group.as_str(), moved[0].sent),
        (vec!["1"], "g", at(30))
    );
    for queue in [queue, letters] {
        assert!(store.remove_queue(queue.id).await.unwrap());
    }
}

async fn tokens_make_two_messages_one(store: &dyn MessageStore) {
    let queue = made(store, "tokens", Order::Groups).await;
    let with = |body: &str| NewMessage {
        token: Some("t".to_owned()),
        ..grouped("g", body)
    };
    let first = store.send(queue.id, vec![with("1")], NOW).await.unwrap()[0];
    let second = store
        .send(queue.id, vec![with("2"), grouped("g", "3")], at(299))
        .await
        .unwrap();
    assert_eq!(
        (second[0].id, second[0].sequence, second[0].known),
        (first.id, first.sequence, true)
    );
    assert!(!second[1].known && second[1].sequence > first.sequence);
    let got = receive(store, &queue, 10, at(299)).await;
    assert_eq!((bodies(&got), got[0].token.as_deref()), (vec!["1", "3"], Some("t")));
    // Deleted messages are still remembered, until the window is over.
    store.delete(queue.id, receipts(&got), at(299)).await.unwrap();
    assert!(store.send(queue.id, vec![with("4")], at(299)).await.unwrap()[0].known);
    assert!(!store.send(queue.id, vec![with("5")], at(300)).await.unwrap()[0].known);
    assert_eq!(bodies(&receive(store, &queue, 10, at(301)).await), ["5"]);
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn purging_takes_what_is_in_flight_too(store: &dyn MessageStore) {
    for order in [Order::Loose, Order::Groups] {
        let queue = made(store, "purged", order).await;
        store
            .send(queue.id, vec![grouped("g", "1"), grouped("g", "2")], NOW)
            .await
            .unwrap();
        let had = receive(store, &queue, 1, NOW).await;
        store.purge(queue.id).await.unwrap();
        assert_eq!(counts(store, &queue, NOW).await, (0, 0, 0));
        assert_ne!(
            store.delete(queue.id, receipts(&had), NOW).await.unwrap(),
            [Settled::Deleted]
        );
        store.send(queue.id, vec![grouped("g", "3")], at(1)).await.unwrap();
        while store.sweep(at(1)).await.unwrap() {}
        assert_eq!(bodies(&receive(store, &queue, 10, at(60)).await), ["3"]);
        assert!(store.remove_queue(queue.id).await.unwrap());
    }
}

async fn fetches_are_bounded_by_bytes(store: &dyn MessageStore) {
    let queue = made(store, "bytes", Order::Loose).await;
    let sent = ["aaaa", "bbbb", "cccc"].map(message);
    store.send(queue.id, sent.to_vec(), NOW).await.unwrap();
    let bounded = |bytes| Fetch {
        bytes,
        ..fetch(&queue, 10)
    };
    let got = store.receive(bounded(1), NOW).await.unwrap().messages;
    assert_eq!(bodies(&got), ["aaaa"], "one message always");
    let got = store.receive(bounded(8), NOW).await.unwrap().messages;
    assert_eq!(bodies(&got), ["bbbb", "cccc"]);
    let large = NewMessage {
        body: Bytes::from(vec![0; NewMessage::BODY_MAX + 1]),
        ..message("")
    };
    let refused = store.send(queue.id, vec![large], NOW).await;
    assert!(
        matches!(refused, Err(MessageError::TooLarge { what: "body", .. })),
        "{refused:?}"
    );
    let large = NewMessage {
        body: Bytes::from(vec![7; 1 << 20]),
        ..message("")
    };
    store.send(queue.id, vec![large.clone()], NOW).await.unwrap();
    assert_eq!(receive(store, &queue, 1, NOW).await[0].body, large.body);
    assert!(store.remove_queue(queue.id).await.unwrap());
}

async fn the_store_is_bounded(store: &dyn MessageStore, limit: usize) {
    while store.sweep(NOW).await.unwrap() {}
    let queue = made(store, "full", Order::Loose).await;
    store.send(queue.id, vec![message("x"); limit], NOW).await.unwrap();
    let refused = store.send(queue.id, vec![message("y")], NOW).await;
    assert!(
        matches!(refused, Err(MessageError::Store(StoreError::Busy { .. }))),
        "{refused:?}"
    );
    let got = receive(store, &queue, 1, NOW).await;
    store.delete(queue.id, receipts(&got), NOW).await.unwrap();
    store.send(queue.id, vec![message("y")], NOW).await.unwrap();
    assert!(store.remove_queue(queue.id).await.unwrap());
    while store.sweep(NOW).await.unwrap() {}
}

async fn many_at_once_are_all_kept(store: &dyn MessageStore) {
    let queue = made(store, "many", Order::Loose).await;
    let send = |number: usize| store.send(queue.id, vec![message(&number.to_string())], NOW);
    for result in super::at_once((0..15).map(send)).await {
        result.unwrap();
    }
    let receive = |_| store.receive(fetch(&queue, 1), NOW);
    let mut got: Vec<String> = Vec::new();
    for result in super::at_once((0..15).map(receive)).await {
        got.extend(bodies(&result.unwrap().messages).into_iter().map(str::to_owned));
    }
    got.sort_by_key(|body| body.parse::<usize>().unwrap());
    let wanted: Vec<String> = (0..15).map(|number| number.to_string()).collect();
    assert_eq!(got, wanted, "each is handed out once");
    assert!(store.remove_queue(queue.id).await.unwrap());
}
