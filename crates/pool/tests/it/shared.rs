//! Instances that work on several events at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{Exit, InvocationId, Revision, Start};
use sonagi_pool::PoolOptions;
use sonagi_ports::Sandbox as _;
use sonagi_ports::fake::FakeStart;
use tokio::time::{advance, sleep};

use crate::bed::{Bed, settle};

const MS: Duration = Duration::from_millis(1);

fn shared(bed: &Bed, places: u32) -> Arc<Revision> {
    let mut revision = Revision::clone(&bed.revision());
    revision.spec.concurrency = NonZeroU32::new(places).expect("places are more than none");
    Arc::new(revision)
}

#[tokio::test(start_paused = true)]
async fn a_burst_shares_as_few_starts_as_hold_it() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = shared(&bed, 3);
    bed.sandbox.script([0, 1].map(|_| FakeStart {
        takes: 100 * MS,
        ..FakeStart::default()
    }));
    let calls = (0..5).map(|_| bed.lease(&revision));
    let leases = futures_util::future::join_all(calls).await;
    assert_eq!(bed.sandbox.instances().len(), 2, "five events, three places in each");
    let cold = leases.iter().filter(|lease| lease.start() == Start::Cold).count();
    assert_eq!(cold, 2, "who shares a start did not cause it");
    let counts = bed.pool.snapshot().counts;
    assert_eq!((counts.cold, counts.warm), (2, 3));
    assert_eq!(bed.pool.snapshot().revisions[0].busy, 2);
    let sixth = bed.lease(&revision).await;
    assert_eq!(sixth.start(), Start::Warm);
    let seventh = bed.lease(&revision).await;
    assert_eq!((seventh.start(), bed.sandbox.instances().len()), (Start::Cold, 3));
}

#[tokio::test(start_paused = true)]
async fn a_busy_instance_with_a_place_comes_before_an_idle_one() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = shared(&bed, 2);
    let leases = [
        bed.lease(&revision).await,
        bed.lease(&revision).await,
        bed.lease(&revision).await,
    ];
    let [first, second, other] = &leases;
    assert_eq!(first.id(), second.id());
    assert_ne!(first.id(), other.id());
    let [first, second, other] = leases;
    drop(other);
    drop(second);
    assert_eq!(bed.lease(&revision).await.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn it_is_frozen_only_when_it_works_on_nothing() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = shared(&bed, 8);
    let (one, two) = (bed.lease(&revision).await, bed.lease(&revision).await);
    let instance = bed.instance(&one);
    drop(one);
    sleep(1000 * MS).await;
    assert!(!instance.is_frozen());
    let third = bed.lease(&revision).await;
    drop(two);
    sleep(1000 * MS).await;
    assert!(!instance.is_frozen());
    drop(third);
    sleep(60 * MS).await;
    assert!(instance.is_frozen());
    let (one, two) = (bed.lease(&revision).await, bed.lease(&revision).await);
    assert!(!instance.is_frozen());
    assert_eq!((one.id(), one.id()), (two.id(), instance.plan().instance));
    assert_eq!((instance.freezes(), instance.thaws()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn condemning_for_one_event_cuts_off_no_other() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = shared(&bed, 4);
    let (mut one, mut two, three) = (
        bed.lease(&revision).await,
        bed.lease(&revision).await,
        bed.lease(&revision).await,
    );
    let instance = bed.instance(&one);
    one.begin(InvocationId::generate(), None, Vec::new());
    two.begin(InvocationId::generate(), None, Vec::new());
    one.condemn();
    settle().await;
    assert!(!instance.is_destroyed(), "two others work in it");
    let fresh = bed.lease(&revision).await;
    assert_ne!(fresh.id(), three.id(), "it gets no other event");
    drop(three);
    assert!(!instance.is_destroyed());
    assert_eq!(two.end(Vec::new()), None);
    drop(two);
    bed.until_gone(&instance).await;
    drop(fresh);
    let pool = bed.pool.snapshot();
    assert_eq!((pool.revisions[0].busy, pool.counts.condemned), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_ended_or_is_old_or_retired_gets_no_other_event() {
    let bed = Bed::new(PoolOptions::default()).await;
    for case in ["ended", "old", "retired"] {
        let revision = shared(&bed, 4);
        let (one, two) = (bed.lease(&revision).await, bed.lease(&revision).await);
        let instance = bed.instance(&one);
        match case {
            "ended" => {
                instance.exit(Exit::Code(1));
                settle().await;
            }
            "old" => {
                advance(Duration::from_secs(7200)).await;
                drop(two);
                let fresh = bed.lease(&revision).await;
                assert_ne!(fresh.id(), one.id(), "{case}");
                assert!(!instance.is_destroyed(), "{case}");
                drop(one);
                bed.until_gone(&instance).await;
                continue;
            }
            _ => bed.pool.retire(revision.id),
        }
        assert_ne!(bed.lease(&revision).await.id(), one.id(), "{case}");
        assert!(!instance.is_destroyed(), "{case}");
        drop(one);
        assert!(!instance.is_destroyed(), "{case}");
        drop(two);
        bed.until_gone(&instance).await;
    }
}

#[tokio::test(start_paused = true)]
async fn freed_places_go_to_those_who_wait() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = shared(&bed, 2);
    let (one, two) = (bed.lease(&revision).await, bed.lease(&revision).await);
    let id = one.id();
    bed.sandbox.script([FakeStart {
        takes: Duration::from_secs(100),
        ..FakeStart::default()
    }]);
    let (third, ()) = tokio::join!(bed.lease(&revision), async {
        settle().await;
        drop(one);
    });
    assert_eq!((third.id(), third.start()), (id, Start::Warm));
    drop((two, third));
    assert_eq!(bed.drain().await, 1, "the start that nobody waits for");
}

#[tokio::test(start_paused = true)]
async fn without_room_all_who_would_share_a_start_are_told() {
    let bed = Bed::new(PoolOptions {
        node_memory: sonagi_model::Mebibytes(64),
        ..PoolOptions::default()
    })
    .await;
    let (revision, other) = (shared(&bed, 2), bed.revision());
    let _busy = bed.lease(&other).await;
    let refused = futures_util::future::join_all((0..3).map(|_| bed.pool.acquire(&revision))).await;
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert_eq!(
        bed.pool.snapshot().revisions.iter().map(|of| of.waiting).sum::<usize>(),
        0
    );
}

/// Many tasks take and give back places, some condemning: nothing is lost, and no instance ever has more events than
/// places.
#[tokio::test(start_paused = true)]
async fn counts_hold_under_churn() {
    let bed = Arc::new(Bed::new(PoolOptions::default()).await);
    let revision = shared(&bed, 3);
    let working = Arc::new(parking_lot::Mutex::new(std::collections::HashMap::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20_u32 {
        let (bed, revision, working) = (bed.clone(), revision.clone(), working.clone());
        tasks.spawn(async move {
            for round in 0..50_u32 {
                let lease = bed.lease(&revision).await;
                let id = lease.id();
                {
                    let mut working = working.lock();
                    let events = working.entry(id).or_insert(0);
                    *events += 1;
                    assert!(*events <= 3, "{events} events in one instance");
                }
                sleep(MS * (1 + (task * 7 + round * 3) % 5)).await;
                *working.lock().get_mut(&id).unwrap() -= 1;
                if (task + round) % 17 == 0 {
                    lease.condemn();
                } else {
                    drop(lease);
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let pool = bed.pool.snapshot();
    assert_eq!((pool.revisions[0].busy, pool.revisions[0].waiting), (0, 0));
    assert_eq!(bed.drain().await, 0);
    assert_eq!(bed.sandbox.alive(), 0);
}
