//! Queues over a store in memory, with time that tests move.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{Document, MessageId, Namespace, QueueId, Timestamp};
use sonagi_ports::fake::{FakeMessageStore, Fault, TokioClock};
use sonagi_ports::{
    Attributes, Fetch, Message, MessageError, NewMessage, Order, Queue, QueueSettings, Redrive, StoreError,
};
use sonagi_queues::{ChangeError, Queues, Receive};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Bed {
    queues: Queues,
    store: Arc<FakeMessageStore>,
    stop: CancellationToken,
}

async fn bed() -> Bed {
    let store = Arc::new(FakeMessageStore::new(1000));
    let clock = Arc::new(TokioClock::new());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let queues = Queues::open(store.clone(), clock, tasks.clone(), stop.clone())
        .await
        .unwrap();
    // The first sweep is over.
    tasks.close();
    tasks.wait().await;
    Bed { queues, store, stop }
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
        created: Timestamp::from_millis(0),
        document: Document::default(),
    }
}

fn message(body: &'static str) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        body: Bytes::from_static(body.as_bytes()),
        attributes: Attributes::default(),
        delay: Duration::ZERO,
        group: "g".to_owned(),
        token: None,
    }
}

fn receive(queue: &Queue, wait: u64) -> Receive {
    Receive {
        fetch: Fetch {
            queue: queue.id,
            limit: 10,
            bytes: usize::MAX,
            visibility: Duration::from_secs(30),
        },
        wait: Duration::from_secs(wait),
    }
}

fn bodies(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().map(|message| message.body.as_ref()).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_what_is_sent() {
    let Bed { queues, .. } = bed().await;
    let queue = queues.create(queue("q", Order::Loose)).await.unwrap();
    let begun = Instant::now();
    let (got, sent) = tokio::join!(queues.receive(receive(&queue, 20)), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        queues.send(queue.id, vec![message("x")]).await
    });
    assert_eq!((bodies(&got.unwrap()), sent.unwrap().len()), (vec![b"x".as_slice()], 1));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    // In flight: it comes again when its time is over, to whoever waits that long.
    assert!(queues.receive(receive(&queue, 10)).await.unwrap().is_empty());
    assert_eq!(begun.elapsed(), Duration::from_secs(13));
    assert_eq!(queues.receive(receive(&queue, 60)).await.unwrap().len(), 1);
    assert_eq!(begun.elapsed(), Duration::from_secs(33));
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_not_asked_again() {
    let Bed { queues, store, .. } = bed().await;
    let queue = queues.create(queue("q", Order::Loose)).await.unwrap();
    assert!(queues.receive(receive(&queue, 0)).await.unwrap().is_empty());
    store.faults().set(Fault::Closed);
    for wait in [0, 0, 20] {
        assert!(queues.receive(receive(&queue, wait)).await.unwrap().is_empty());
    }
    store.faults().heal();
    queues.send(queue.id, vec![message("x")]).await.unwrap();
    assert_eq!(queues.receive(receive(&queue, 0)).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_when_its_messages_are_deleted() {
    let Bed { queues, .. } = bed().await;
    let queue = queues.create(queue("q", Order::Groups)).await.unwrap();
    queues.send(queue.id, vec![message("1")]).await.unwrap();
    let first = queues.receive(receive(&queue, 0)).await.unwrap();
    queues.send(queue.id, vec![message("2")]).await.unwrap();
    let begun = Instant::now();
    let (got, _) = tokio::join!(queues.receive(receive(&queue, 20)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        queues.delete(queue.id, vec![first[0].receipt]).await.unwrap()
    });
    assert_eq!(
        (bodies(&got.unwrap()), begun.elapsed()),
        (vec![b"2".as_slice()], Duration::from_secs(2))
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_dead_letter_queue_gets_what_is_moved_there() {
    let Bed { queues, .. } = bed().await;
    let letters = queues.create(queue("letters", Order::Loose)).await.unwrap();
    let mut made = queue("q", Order::Loose);
    made.settings.redrive = Some(Redrive {
        target: letters.id,
        after: 1,
    });
    let made = queues.create(made).await.unwrap();
    queues.send(made.id, vec![message("x")]).await.unwrap();
    queues.receive(receive(&made, 0)).await.unwrap();
    let begun = Instant::now();
    let (got, nothing) = tokio::join!(
        queues.receive(receive(&letters, 60)),
        queues.receive(receive(&made, 50))
    );
    assert_eq!(
        (bodies(&got.unwrap()), nothing.unwrap().len()),
        (vec![b"x".as_slice()], 0)
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(50));
}

#[tokio::test(start_paused = true)]
async fn queues_are_found_by_name_and_survive_a_restart() {
    let Bed { queues, store, stop } = bed().await;
    let (a, b) = (queue("a", Order::Loose), queue("b", Order::Loose));
    for queue in [&b, &a] {
        queues.create(queue.clone()).await.unwrap();
    }
    let twin = queues.create(queue("a", Order::Loose)).await;
    assert!(matches!(twin, Err(ChangeError::Exists(known)) if known.id == a.id));
    let change = |queue: &mut Queue| queue.settings.retention = Duration::from_secs(60);
    queues.alter(a.id, change).await.unwrap();
    assert!(matches!(
        queues.alter(QueueId::generate(), change).await,
        Err(ChangeError::Missing(_))
    ));
    store.faults().next(1, Fault::Full);
    let refused = queues.create(queue("c", Order::Loose)).await;
    assert!(matches!(refused, Err(ChangeError::Store(StoreError::Full(_)))));
    let clock = Arc::new(TokioClock::new());
    let again = Queues::open(store, clock, TaskTracker::new(), stop).await.unwrap();
    for queues in [&queues, &again] {
        let names: Vec<String> = queues
            .list(&a.namespace)
            .iter()
            .map(|queue| queue.name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let found = queues.find(&a.namespace, "a").unwrap();
        assert_eq!(found.settings.retention, Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_queue_and_with_the_platform() {
    let Bed { queues, stop, .. } = bed().await;
    let made = queues.create(queue("q", Order::Loose)).await.unwrap();
    let (gone, removed) = tokio::join!(queues.receive(receive(&made, 20)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        queues.remove(made.id).await
    });
    removed.unwrap();
    assert!(matches!(gone, Err(MessageError::NoQueue(_))));
    assert!(queues.send(made.id, vec![message("x")]).await.is_err());
    let made = queues.create(queue("q", Order::Loose)).await.unwrap();
    let begun = Instant::now();
    let (nothing, ()) = tokio::join!(queues.receive(receive(&made, 20)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    assert_eq!((nothing.unwrap().len(), begun.elapsed()), (0, Duration::from_secs(1)));
}
