//! Instances that are kept loaded whether anybody calls or not.

use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{Exit, Revision, Start};
use sonagi_pool::{FloorFailure, FloorStatus, PoolOptions};
use sonagi_ports::InitFailure;
use sonagi_ports::fake::FakeInit;

use crate::bed::{Bed, settle};

fn set(bed: &Bed, revision: &Arc<Revision>, wanted: usize) {
    let floors = bed.pool.set_floors(revision.function, &[(revision.clone(), wanted)]);
    floors.expect("the contract is registered");
}

fn status(bed: &Bed, revision: &Arc<Revision>) -> FloorStatus {
    bed.pool.floor(revision.id).expect("it has a floor")
}

async fn until_ready(bed: &Bed, revision: &Arc<Revision>, ready: usize) {
    bed.until("ready", |_| {
        bed.pool.floor(revision.id).is_some_and(|floor| floor.ready == ready)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn they_are_loaded_before_anybody_calls_and_used_first() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.slow_inits(Duration::from_millis(100), 2);
    set(&bed, &revision, 2);
    settle().await;
    assert_eq!(
        status(&bed, &revision),
        FloorStatus {
            wanted: 2,
            starting: 2,
            ready: 0,
            failure: None
        }
    );
    until_ready(&bed, &revision, 2).await;
    // A third call needs one more, which is not of the floor; whoever comes after gets one of the floor again.
    let (a, b) = (bed.lease(&revision).await, bed.lease(&revision).await);
    assert_eq!((a.start(), b.start()), (Start::Warm, Start::Warm));
    let c = bed.lease(&revision).await;
    assert_eq!(c.start(), Start::Cold);
    let of_floor = [a.id(), b.id()];
    drop((a, b, c));
    settle().await;
    assert!(of_floor.contains(&bed.lease(&revision).await.id()));
    // The one that was started on demand goes, those of the floor stay, frozen.
    tokio::time::sleep(Duration::from_secs(700)).await;
    bed.until("two are left", |pool| pool.instances() == 2).await;
    assert_eq!(bed.pool.snapshot().revisions[0].frozen, 2);
    assert_eq!(status(&bed, &revision).ready, 2);
    bed.drain().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_is_replaced() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    set(&bed, &revision, 1);
    until_ready(&bed, &revision, 1).await;
    let first = bed.sandbox.instances().remove(0);
    first.exit(Exit::Signal(9));
    bed.until_gone(&first).await;
    until_ready(&bed, &revision, 1).await;
    // One that is not used again because of what it did.
    let lease = bed.lease(&revision).await;
    let second = bed.instance(&lease);
    lease.condemn();
    bed.until_gone(&second).await;
    until_ready(&bed, &revision, 1).await;
    // One that has reached the highest age.
    let third = bed.instance(&bed.lease(&revision).await);
    tokio::time::sleep(Duration::from_secs(7300)).await;
    bed.until_gone(&third).await;
    until_ready(&bed, &revision, 1).await;
    assert!(bed.drain().await == 0 && bed.sandbox.instances().iter().all(|instance| instance.is_destroyed()));
}

#[tokio::test(start_paused = true)]
async fn a_lower_floor_and_none() {
    let bed = Bed::new(PoolOptions::default()).await;
    let (revision, other) = (bed.revision(), bed.revision());
    set(&bed, &revision, 3);
    until_ready(&bed, &revision, 3).await;
    set(&bed, &revision, 1);
    bed.until("one is left", |pool| pool.instances() == 1).await;
    // Another revision of the function takes over; the busy instance may answer.
    let lease = bed.lease(&revision).await;
    let other = Arc::new(Revision {
        function: revision.function,
        ..(*other).clone()
    });
    set(&bed, &other, 1);
    until_ready(&bed, &other, 1).await;
    assert_eq!(bed.pool.floor(revision.id), None);
    drop(lease);
    bed.pool.remove_function(revision.function);
    bed.until("nothing is left", |pool| pool.instances() == 0).await;
    assert_eq!(bed.pool.floor(other.id), None);
    bed.drain().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_and_tried_again_ever_later() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let failing = FakeInit {
        takes: Some(Duration::from_millis(1)),
        result: Err(InitFailure::Violation("it said nothing")),
    };
    bed.contract.script_inits(vec![failing; 5]);
    set(&bed, &revision, 1);
    bed.until("failed", |_| status(&bed, &revision).failure.is_some()).await;
    assert!(matches!(status(&bed, &revision).failure, Some(FloorFailure::Start(_))));
    settle().await;
    assert!(bed.sandbox.instances().len() < 5, "it is left alone for a while");
    until_ready(&bed, &revision, 1).await;
    assert_eq!(status(&bed, &revision).failure, None);
    assert_eq!(bed.sandbox.instances().len(), 6);
    bed.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_floor_is_not_evicted_and_waits_for_room() {
    let options = PoolOptions {
        node_memory: sonagi_model::Mebibytes(64),
        first_guess: sonagi_model::Mebibytes(64),
        ..PoolOptions::default()
    };
    let bed = Bed::new(options).await;
    let (kept, other) = (bed.revision(), bed.revision());
    set(&bed, &kept, 1);
    until_ready(&bed, &kept, 1).await;
    assert!(bed.pool.acquire(&other).await.is_err(), "nothing gives way");
    let other = Arc::new(Revision {
        function: sonagi_model::FunctionId::generate(),
        ..(*other).clone()
    });
    set(&bed, &other, 1);
    settle().await;
    assert_eq!(status(&bed, &other).failure, Some(FloorFailure::NoRoom));
    set(&bed, &kept, 0);
    until_ready(&bed, &other, 1).await;
    bed.drain().await;
}
