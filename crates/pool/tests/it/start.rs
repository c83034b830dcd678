//! Starts: scaling out, late binding, failures and the time a revision is left alone.

use std::time::Duration;

use sonagi_model::{Exit, FunctionError, Outcome, Start, ThrottleReason};
use sonagi_pool::{AcquireError, PoolOptions, ProcessRan};
use sonagi_ports::fake::{FakeInit, FakeStart};
use sonagi_ports::{ContractError, ContractLimits, InitFailure, Sandbox, SandboxError};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, failure, settle};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_cold_start_says_where_its_time_went() {
    let bed = Bed::new(PoolOptions::default()).await;
    bed.sandbox.script([FakeStart {
        takes: 20 * MS,
        ..FakeStart::default()
    }]);
    bed.slow_inits(30 * MS, 1);
    let lease = bed.lease(&bed.revision()).await;
    let phases = lease.phases().unwrap();
    assert_eq!((phases.process_us, phases.init_us), (20_000, 30_000));
    assert_eq!(phases.total_us(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_get_an_instance_each_within_the_bound_of_starts() {
    let bed = Bed::new(PoolOptions {
        starts_at_once: 3,
        ..PoolOptions::default()
    })
    .await;
    let revision = bed.revision();
    bed.slow_inits(100 * MS, 9);
    let begun = Instant::now();
    let calls = (0..9).map(|_| bed.pool.acquire(&revision));
    let leases: Vec<_> = futures(calls).await;
    assert_eq!(begun.elapsed(), 300 * MS, "three rounds of three");
    let mut ids: Vec<_> = leases.iter().map(|lease| lease.as_ref().unwrap().id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 9);
}

/// All of them at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (future, result) in all.iter_mut().filter(|(_, result)| result.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *result = Some(value);
            }
        }
        if all.iter().all(|(_, result)| result.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all.into_iter().filter_map(|(_, result)| result).collect()
}

#[tokio::test(start_paused = true)]
async fn an_initialization_that_hangs_does_not_keep_others_from_starting() {
    let bed = Bed::new(PoolOptions {
        starts_at_once: 1,
        ..PoolOptions::default()
    })
    .await;
    bed.contract.script_inits([FakeInit {
        takes: None,
        result: Ok(()),
    }]);
    let (slow, fast) = (bed.revision(), bed.revision());
    let begun = Instant::now();
    let (hung, lease) = tokio::join!(bed.pool.acquire(&slow), async {
        settle().await;
        let lease = bed.lease(&fast).await;
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
        lease
    });
    assert_eq!(failure(hung).outcome, Outcome::InitTimeout);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_freed_instance_serves_the_oldest_waiter_and_its_start_becomes_idle() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    let busy = bed.lease(&revision).await;
    let first_id = busy.id();
    bed.slow_inits(100 * MS, 2);
    let freed = async {
        sleep(10 * MS).await;
        drop(busy);
    };
    let begun = Instant::now();
    let (oldest, youngest, ()) = tokio::join!(
        async { (bed.lease(&revision).await, begun.elapsed()) },
        async { (bed.lease(&revision).await, begun.elapsed()) },
        freed
    );
    assert_eq!((oldest.0.id(), oldest.0.start()), (first_id, Start::Warm));
    assert!(oldest.1 < 20 * MS, "{:?}", oldest.1);
    assert_eq!((youngest.0.start(), youngest.1), (Start::Cold, 100 * MS));
    bed.until("idle", |pool| pool.revisions[0].idle == 1).await;
    assert_eq!(bed.sandbox.instances().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_start_survives_the_one_who_asked_and_is_not_doubled_for_the_next() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.slow_inits(100 * MS, 1);
    let asked = tokio::time::timeout(10 * MS, bed.pool.acquire(&revision)).await;
    assert!(asked.is_err());
    assert_eq!(
        bed.pool.snapshot().revisions[0].waiting,
        0,
        "who has gone does not wait"
    );
    assert_eq!(bed.pool.snapshot().revisions[0].starting, 1);
    let lease = bed.lease(&revision).await;
    assert_eq!(lease.start(), Start::Cold);
    assert_eq!(bed.sandbox.instances().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_waiters_is_bounded() {
    let bed = Bed::new(PoolOptions {
        waiters_per_revision: 2,
        ..PoolOptions::default()
    })
    .await;
    let revision = bed.revision();
    bed.slow_inits(10 * MS, 2);
    let (first, second, third) = tokio::join!(
        bed.pool.acquire(&revision),
        bed.pool.acquire(&revision),
        bed.pool.acquire(&revision)
    );
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(
        third.unwrap_err(),
        AcquireError::Throttled(ThrottleReason::NodeCapacity)
    );
}

fn broken() -> FakeInit {
    FakeInit {
        takes: Some(5 * MS),
        result: Err(InitFailure::Reported(FunctionError {
            kind: Some("Import".to_owned()),
            body: b"{}".to_vec(),
        })),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_to_one_caller_each_and_then_backed_off() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.contract.script_inits(vec![broken(); 3]);
    for _ in 0..2 {
        let failure = failure(bed.pool.acquire(&revision).await);
        assert!(matches!(failure.outcome, Outcome::InitError(_)));
        assert_eq!(failure.phases.unwrap().init_us, 5000);
        assert_eq!(failure.process, ProcessRan::Yes);
    }
    let third = failure(bed.pool.acquire(&revision).await);
    let begun = Instant::now();
    let told = failure(bed.pool.acquire(&revision).await);
    assert_eq!(begun.elapsed(), Duration::ZERO, "the last failure is told at once");
    assert_eq!(
        (told.outcome, told.phases, told.instance),
        (third.outcome, None, third.instance)
    );
    assert_eq!(bed.sandbox.instances().len(), 3, "nothing was started for it");
    sleep(101 * MS).await;
    let lease = bed.lease(&revision).await;
    assert_eq!(lease.start(), Start::Cold);
    bed.until("cleaned", |_| bed.sandbox.alive() == 1).await;
    assert_eq!(bed.pool.snapshot().counts.init_failures, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_until_the_revision_is_left_alone_and_then_to_all_who_wait() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.contract.script_inits([broken()]);
    let (first, second) = tokio::join!(bed.pool.acquire(&revision), bed.pool.acquire(&revision));
    assert_eq!(
        first.unwrap().start(),
        Start::Cold,
        "the start that succeeds serves the oldest"
    );
    let _told = failure(second);
    bed.pool.retire(revision.id);
    bed.contract.script_inits(vec![broken(); 8]);
    let all = futures((0..8).map(|_| bed.pool.acquire(&revision))).await;
    assert!(
        all.into_iter()
            .all(|result| matches!(failure(result).outcome, Outcome::InitError(_)))
    );
    bed.until("cleaned", |pool| pool.instances() == 0 && bed.sandbox.alive() == 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_failures_counts_once() {
    let bed = Bed::new(PoolOptions::default()).await;
    let revision = bed.revision();
    bed.contract.script_inits(vec![broken(); 20]);
    let all = futures((0..20).map(|_| bed.pool.acquire(&revision))).await;
    assert!(all.iter().all(Result::is_err));
    let lease = bed.lease(&revision).await;
    assert_eq!(lease.start(), Start::Cold, "it is not left alone yet");
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_is_told_apart() {
    let bed = Bed::new(PoolOptions::default()).await;
    bed.contract.set_limits(ContractLimits {
        init: Duration::from_secs(10),
        response: 10,
        stream: 10,
    });
    let init = |takes, result| bed.contract.script_inits([FakeInit { takes, result }]);
    let fail = async || failure(bed.pool.acquire(&bed.revision()).await).outcome;
    let sandbox = |fails| {
        bed.sandbox.script([FakeStart {
            fails: Some(fails),
            ..FakeStart::default()
        }]);
    };

    init(None, Ok(()));
    let begun = Instant::now();
    assert_eq!(fail().await, Outcome::InitTimeout);
    assert_eq!(begun.elapsed(), Duration::from_secs(10));

    init(Some(MS), Err(InitFailure::Violation("spoke out of turn")));
    assert_eq!(fail().await, Outcome::ProtocolViolation("spoke out of turn"));

    init(None, Ok(()));
    bed.sandbox.script([FakeStart {
        exits: Some(Exit::OutOfMemory),
        ..FakeStart::default()
    }]);
    assert_eq!(fail().await, Outcome::InitExited(Exit::OutOfMemory));

    bed.contract.set_drain(10 * MS);
    init(Some(5 * MS), broken().result);
    bed.sandbox.script([FakeStart {
        exits: Some(Exit::Code(1)),
        ..FakeStart::default()
    }]);
    assert!(
        matches!(fail().await, Outcome::InitError(_)),
        "an error reported before the end says more"
    );

    let missing = ContractError::EntryPoint {
        kind: "Missing".to_owned(),
        message: "no such file".to_owned(),
    };
    bed.contract.script_plan_errors([missing]);
    let (kind, message) = (Some("Missing".to_owned()), "no such file".to_owned());
    assert_eq!(fail().await, Outcome::EntryPoint { kind, message });

    sandbox(SandboxError::Program {
        program: "/code/program".to_owned(),
        reason: "exec format error".to_owned(),
    });
    assert!(matches!(fail().await, Outcome::EntryPoint { kind: None, .. }));

    sandbox(SandboxError::Host {
        action: "mount",
        reason: "no".to_owned(),
    });
    assert_eq!(fail().await, Outcome::Platform("mount: no".to_owned()));

    sandbox(SandboxError::NoRoom("pids".to_owned()));
    let refused = bed.pool.acquire(&bed.revision()).await.unwrap_err();
    assert_eq!(refused, AcquireError::Throttled(ThrottleReason::NodeCapacity));

    let revision = bed.revision();
    bed.artifacts.damage(revision.artifact.digest);
    let damaged = failure(bed.pool.acquire(&revision).await);
    assert!(matches!(damaged.outcome, Outcome::ArtifactDamaged(_)));
    assert_eq!(damaged.process, ProcessRan::No);
    bed.until("cleaned", |pool| bed.sandbox.alive() == 0 && pool.memory.0 == 0)
        .await;
    sleep(Duration::from_secs(120)).await;
    assert!(bed.pool.snapshot().revisions.is_empty(), "failures are forgotten");
}
