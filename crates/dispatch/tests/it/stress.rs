//! Everything at once on several threads in real time: calls, callers who leave, crashes, freezing, eviction,
//! retirement. Judged by what must hold afterwards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_dispatch::{Answer, Refused, Request, Running};
use sonagi_model::{Exit, InvocationId, Mebibytes, Revision, RevisionId, RunStatus, ThrottleReason};
use sonagi_pool::PoolOptions;
use sonagi_ports::fake::{FakeAct, FakeEnd};
use sonagi_ports::{Entropy, Sandbox, SessionError};
use tokio::time::{Instant, sleep, timeout};

use crate::bed::{Bed, error};

const CALLERS: usize = 16;
const CALLS: usize = 150;
const REVISIONS: usize = 5;

/// How one caller's calls went.
#[derive(Default)]
struct Tally {
    answered: Vec<InvocationId>,
    left: Vec<InvocationId>,
    throttled: Vec<InvocationId>,
}

fn acts() -> Vec<FakeAct> {
    let parts = || vec![(Duration::from_micros(100), Bytes::from_static(b"part")); 3];
    vec![
        FakeAct::Echo,
        FakeAct::Answer(Duration::from_millis(1), Ok(Bytes::from_static(b"late"))),
        FakeAct::Echo,
        FakeAct::Answer(Duration::from_micros(10), Err(error(b"{}"))),
        FakeAct::Stream(parts(), FakeEnd::End),
        FakeAct::Echo,
        FakeAct::Stream(parts(), FakeEnd::BreaksOff),
        FakeAct::Fails(SessionError::NotDelivered),
        FakeAct::Fails(SessionError::Violation("out of turn")),
        FakeAct::Hang,
        FakeAct::Echo,
    ]
}

async fn one(bed: &Bed, revision: Arc<Revision>, draw: f64, tally: &mut Tally) {
    let request = Request {
        revision,
        ..bed.request()
    };
    let id = request.invocation;
    let patience = if draw < 0.1 {
        Duration::from_micros(200)
    } else {
        Duration::from_secs(60)
    };
    match timeout(patience, bed.dispatcher.invoke(request)).await {
        Err(_left) => tally.left.push(id),
        Ok(Err(Refused::Throttled(ThrottleReason::NodeCapacity))) => tally.throttled.push(id),
        Ok(Err(refused)) => panic!("{refused:?}"),
        Ok(Ok(Answer::Whole(finished))) => {
            assert_eq!(finished.record.invocation, id);
            tally.answered.push(id);
        }
        Ok(Ok(Answer::Stream(mut streaming))) => {
            // Some readers leave in the middle.
            while draw > 0.3 && streaming.parts.recv().await.is_some() {}
            drop(streaming.parts);
            let finished = streaming.finished.await.expect("every stream says how it ended");
            assert_eq!(finished.record.invocation, id);
            tally.answered.push(id);
        }
    }
}

async fn caller(bed: Arc<Bed>, revisions: Arc<Vec<Arc<Revision>>>) -> Tally {
    let entropy = sonagi_ports::SystemEntropy::new();
    let mut tally = Tally::default();
    for number in 0..CALLS {
        let draw = entropy.unit();
        let revision = revisions[number % REVISIONS].clone();
        one(&bed, revision.clone(), draw, &mut tally).await;
        if draw > 0.97 {
            bed.pool.retire(revision.id);
        }
        if draw > 0.9 {
            // Somebody's process ends.
            let alive = bed
                .sandbox
                .instances()
                .into_iter()
                .rev()
                .take(8)
                .find(|one| !one.is_destroyed());
            if let Some(instance) = alive {
                instance.exit(Exit::Code(1));
            }
        }
        if number % 16 == 0 {
            sleep(Duration::from_micros(500)).await;
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_doubled_or_left_behind() {
    let options = PoolOptions {
        freeze_after: Duration::from_millis(1),
        keep_alive: Duration::from_millis(4),
        node_memory: Mebibytes(64 * 12),
        starts_at_once: 4,
        ..PoolOptions::default()
    };
    let bed = Bed::with(options).await;
    let quick = |revision: &Arc<Revision>| {
        let mut revision = Revision {
            id: RevisionId::generate(),
            ..Revision::clone(revision)
        };
        revision.spec.timeout = Duration::from_millis(20);
        Arc::new(revision)
    };
    let revisions: Arc<Vec<_>> = Arc::new((0..REVISIONS).map(|_| quick(&bed.revision)).collect());
    for _ in 0..(CALLERS * CALLS / acts().len()) {
        bed.contract.script_acts(acts());
    }
    let bed = Arc::new(bed);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(bed.clone(), revisions.clone()));
    }
    let tallies = callers.join_all().await;
    bed.dispatcher.stop_accepting();
    assert!(bed.dispatcher.drained(Instant::now() + Duration::from_secs(60)).await);
    assert_eq!(bed.dispatcher.running(bed.function.id), Running::default());
    let snapshot = bed.pool.snapshot();
    assert!(
        snapshot.revisions.iter().all(|of| of.busy == 0 && of.waiting == 0),
        "{snapshot:?}"
    );
    assert_eq!(bed.pool.drain(Instant::now() + Duration::from_secs(60)).await, 0);
    assert_eq!((bed.sandbox.alive(), bed.pool.snapshot().memory), (0, Mebibytes(0)));

    let recorded: std::collections::HashSet<_> = bed.runs.all().iter().map(|run| run.invocation).collect();
    let of = |pick: fn(&Tally) -> &Vec<InvocationId>| tallies.iter().flat_map(pick).copied().collect::<Vec<_>>();
    let (answered, left, throttled) = (of(|t| &t.answered), of(|t| &t.left), of(|t| &t.throttled));
    assert_eq!(answered.len() + left.len() + throttled.len(), CALLERS * CALLS);
    assert!(
        answered.iter().all(|id| recorded.contains(id)),
        "every answer was metered"
    );
    assert!(
        !throttled.iter().any(|id| recorded.contains(id)),
        "nothing that was refused was"
    );
    let metered_of_left = left.iter().filter(|id| recorded.contains(id)).count();
    assert_eq!(recorded.len(), answered.len() + metered_of_left);
    let taken: usize = bed
        .contract
        .sessions()
        .iter()
        .map(|session| session.calls().len())
        .sum();
    assert!(
        taken
            >= recorded.len()
                - bed
                    .runs
                    .all()
                    .iter()
                    .filter(|run| run.status == RunStatus::InitError)
                    .count()
    );
    let frozen: u32 = bed.sandbox.instances().iter().map(|one| one.freezes()).sum();
    assert!(frozen > 0, "the test froze nothing");
}
