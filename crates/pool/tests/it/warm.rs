//! Instances that are there: reuse, freezing, keep-alive, eviction, retirement, the end.

use std::time::Duration;

use sonagi_model::{Exit, InvocationId, Mebibytes, Start, ThrottleReason};
use sonagi_pool::{AcquireError, PoolOptions};
use sonagi_ports::Sandbox;
use sonagi_ports::fake::FakeStart;
use tokio::time::{Instant, advance, sleep};

use crate::bed::{Bed, settle};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn the_instance_used_last_is_used_next() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let first = bed.lease(&revision).await;
    let second = bed.lease(&revision).await;
    assert_eq!((first.start(), second.start()), (Start::Cold, Start::Cold));
    let (first_id, second_id) = (first.id(), second.id());
    drop(second);
    drop(first);
    let again = bed.lease(&revision).await;
    assert_eq!(
        (again.id(), again.start(), again.phases()),
        (first_id, Start::Warm, None)
    );
    assert_eq!(bed.lease(&revision).await.id(), second_id);
    let counts = bed.pool.snapshot().counts;
    assert_eq!((counts.cold, counts.warm), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn idle_is_frozen_after_50_ms_thawed_when_taken_and_reclaimed_after_10_min() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    assert!(instance.is_initialized());
    sleep(1000 * MS).await;
    assert!(!instance.is_frozen(), "a busy instance is never frozen");
    drop(lease);
    sleep(49 * MS).await;
    assert!(!instance.is_frozen());
    sleep(3 * MS).await;
    assert!(instance.is_frozen());
    let lease = bed.lease(&revision).await;
    assert_eq!((lease.start(), instance.is_frozen()), (Start::Warm, false));
    drop(lease);
    sleep(Duration::from_secs(599)).await;
    assert!(instance.is_frozen() && !instance.is_destroyed());
    assert_eq!((instance.freezes(), instance.thaws()), (2, 1));
    sleep(Duration::from_secs(2)).await;
    bed.until_gone(&instance).await;
    bed.until("forgotten", |pool| pool.revisions.is_empty()).await;
    let pool = bed.pool.snapshot();
    assert_eq!(
        (pool.counts.reclaimed, pool.memory, bed.sandbox.alive()),
        (1, Mebibytes(0), 0)
    );
    assert!(bed.contract.sessions()[0].is_closed());
}

#[tokio::test(start_paused = true)]
async fn an_old_instance_is_reclaimed_when_it_is_released() {
    let bed = Bed::new(PoolOptions::default()).await;
    let lease = bed.lease(&bed.revision()).await;
    let instance = bed.instance(&lease);
    advance(Duration::from_secs(7200)).await;
    drop(lease);
    bed.until_gone(&instance).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_be_thawed_is_replaced() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    drop(lease);
    sleep(60 * MS).await;
    instance.refuse_thaw();
    let lease = bed.lease(&revision).await;
    assert_eq!(lease.start(), Start::Cold);
    bed.until_gone(&instance).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_an_open_invocation_is_not_used_again() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let mut lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    lease.begin(InvocationId::generate(), None, Vec::new());
    drop(lease);
    bed.until_gone(&instance).await;
    let mut lease = bed.lease(&revision).await;
    lease.begin(InvocationId::generate(), None, Vec::new());
    assert_eq!(lease.end(Vec::new()), None);
    drop(lease);
    assert_eq!(bed.lease(&revision).await.start(), Start::Warm);
}

fn small_node(mebibytes: u32) -> PoolOptions {
    PoolOptions {
        node_memory: Mebibytes(mebibytes),
        ..PoolOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn memory_comes_from_the_longest_idle_and_never_from_the_busy() {
    let bed = Bed::new(small_node(3 * 64)).await;
    let (a, b, c, d) = (bed.revision(), bed.revision(), bed.revision(), bed.revision());
    let (busy, old, young) = (bed.lease(&a).await, bed.lease(&b).await, bed.lease(&c).await);
    let [busy_one, old_one, young_one] = [&busy, &old, &young].map(|lease| bed.instance(lease));
    drop(old);
    sleep(5 * MS).await;
    drop(young);
    sleep(5 * MS).await;
    let fourth = bed.lease(&d).await;
    assert!(old_one.is_destroyed(), "gone before the new one started");
    assert!(!busy_one.is_destroyed() && !young_one.is_destroyed());
    let fifth = bed.lease(&b).await;
    assert!(young_one.is_destroyed() && !busy_one.is_destroyed());
    let refused = bed.pool.acquire(&c).await.unwrap_err();
    assert_eq!(refused, AcquireError::Throttled(ThrottleReason::NodeCapacity));
    drop((busy, fourth, fifth));
    bed.lease(&c).await.condemn();
    assert_eq!(bed.pool.snapshot().counts.evicted, 3);
}

#[tokio::test(start_paused = true)]
async fn instances_are_charged_what_they_are_seen_to_use() {
    let bed = Bed::new(small_node(300)).await;
    let revision = bed.revision();
    let lease = bed.lease(&revision).await;
    assert_eq!(bed.pool.snapshot().memory, Mebibytes(64));
    bed.instance(&lease).set_memory_peak(Mebibytes(100));
    assert_eq!(lease.memory_peak(), Mebibytes(100));
    assert_eq!(bed.pool.snapshot().memory, Mebibytes(100));
    let _second = bed.lease(&revision).await;
    assert_eq!(
        bed.pool.snapshot().memory,
        Mebibytes(200),
        "the peak of its revision is expected of each"
    );
    bed.instance(&lease).set_memory_peak(Mebibytes(120));
    let _peak = lease.memory_peak();
    assert!(bed.pool.acquire(&revision).await.is_err());
    lease.condemn();
    bed.until("given back", |pool| pool.memory == Mebibytes(100)).await;
}

#[tokio::test(start_paused = true)]
async fn retired_instances_go_at_once_if_idle_and_when_done_if_busy() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let (busy, idle) = (bed.lease(&revision).await, bed.lease(&revision).await);
    let [busy_one, idle_one] = [&busy, &idle].map(|lease| bed.instance(lease));
    drop(idle);
    bed.pool.retire(revision.id);
    bed.until_gone(&idle_one).await;
    assert!(!busy_one.is_destroyed());
    let fresh = bed.lease(&revision).await;
    assert_eq!(
        fresh.start(),
        Start::Cold,
        "a revision can come back, with new instances"
    );
    drop(busy);
    bed.until_gone(&busy_one).await;
    let fresh_one = bed.instance(&fresh);
    drop(fresh);
    bed.pool.remove_function(revision.function);
    bed.until_gone(&fresh_one).await;
    assert_eq!(bed.pool.snapshot().counts.retired, 3);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_ends_while_idle_is_gone_before_the_next_call() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let lease = bed.lease(&revision).await;
    let instance = bed.instance(&lease);
    drop(lease);
    instance.exit(Exit::Code(1));
    bed.until_gone(&instance).await;
    let lease = bed.lease(&revision).await;
    assert_eq!(lease.start(), Start::Cold);
    let instance = bed.instance(&lease);
    instance.exit(Exit::Signal(9));
    settle().await;
    assert!(
        !instance.is_destroyed(),
        "while it is leased, the holder says what becomes of it"
    );
    drop(lease);
    bed.until_gone(&instance).await;
    assert_eq!(bed.pool.snapshot().counts.exited, 2);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_busy_and_leaves_nothing() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let (busy, idle) = (bed.lease(&revision).await, bed.lease(&revision).await);
    drop(idle);
    let drain = bed.drain();
    tokio::pin!(drain);
    tokio::select! {
        biased;
        _cut = &mut drain => panic!("drained while an instance was busy"),
        () = sleep(Duration::from_secs(1)) => (),
    }
    assert_eq!(bed.pool.acquire(&revision).await.unwrap_err(), AcquireError::Stopping);
    drop(busy);
    assert_eq!(drain.await, 0);
    assert_eq!((bed.sandbox.alive(), bed.pool.snapshot().memory), (0, Mebibytes(0)));
}

#[tokio::test(start_paused = true)]
async fn draining_cuts_what_is_busy_at_the_deadline() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let busy = bed.lease(&revision).await;
    bed.sandbox.script([FakeStart {
        takes: Duration::from_secs(100),
        ..FakeStart::default()
    }]);
    let (waiting, cut) = tokio::join!(bed.pool.acquire(&revision), async {
        settle().await;
        bed.pool.drain(Instant::now() + Duration::from_secs(1)).await
    });
    assert_eq!(waiting.unwrap_err(), AcquireError::Stopping);
    assert_eq!(cut, 3, "a busy one, a start, and who waited for it");
    assert_eq!(busy.exited().await, Exit::Reclaimed);
    assert_eq!((bed.sandbox.alive(), bed.sandbox.under_way()), (0, 0));
    drop(busy);
}
