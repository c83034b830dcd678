//! Synchronous calls with whole answers.

use std::time::Duration;

use bytes::Bytes;
use sonagi_dispatch::{LogTail, Refused, Request, Running};
use sonagi_model::{Exit, Function, Outcome, RunStatus, Start, ThrottleReason};
use sonagi_ports::fake::{FakeAct, FakeInit, FakeStart};
use sonagi_ports::{InitFailure, LedgerError, LogSource, SandboxError, SessionError};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, error, whole};

const MS: Duration = Duration::from_millis(1);

fn answer_after(wait: Duration) -> FakeAct {
    FakeAct::Answer(wait, Ok(Bytes::from_static(b"late")))
}

#[tokio::test(start_paused = true)]
async fn a_cold_and_a_warm_call_leave_their_records() {
    let bed = Bed::new().await;
    bed.contract.script_inits([FakeInit {
        takes: Some(40 * MS),
        result: Ok(()),
    }]);
    bed.contract.script_acts([answer_after(7 * MS)]);
    let cold = bed.call().await;
    assert_eq!((cold.outcome, &cold.body[..]), (Outcome::Success, &b"late"[..]));
    let record = &cold.record;
    assert_eq!(
        (record.start, record.status, record.attempt),
        (Start::Cold, RunStatus::Success, 1)
    );
    assert_eq!(
        (record.init_us, record.duration_us, record.billed_ms),
        (40_000, 7000, 47)
    );
    assert_eq!((record.phases.unwrap().init_us, record.response_bytes), (40_000, 4));
    assert_eq!(record.memory_peak.0, 20);
    let warm = bed.call().await;
    assert_eq!(&warm.body[..], b"event");
    assert_eq!(
        (warm.record.start, warm.record.init_us, warm.record.phases),
        (Start::Warm, 0, None)
    );
    assert_eq!(warm.record.instance, cold.record.instance);
    let kept = bed.runs.all();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&cold.record) && kept.contains(&warm.record));
    let calls = bed.contract.sessions()[0].calls();
    assert_eq!(calls[1].deadline, bed_now(&bed).plus(Duration::from_secs(3)));
}

fn bed_now(bed: &Bed) -> sonagi_model::Timestamp {
    sonagi_ports::Clock::now(bed.clock.as_ref())
}

#[tokio::test(start_paused = true)]
async fn each_outcome_has_its_status_and_says_whether_the_instance_lives() {
    let bed = Bed::new().await;
    let table = [
        (FakeAct::Echo, Outcome::Success, RunStatus::Success, 1),
        (
            FakeAct::Answer(MS, Err(error(b"{}"))),
            Outcome::FunctionError(error(b"{}")),
            RunStatus::FunctionError,
            1,
        ),
        (
            FakeAct::Answer(MS, Ok(Bytes::from(vec![0; 1025]))),
            Outcome::ResponseTooLarge(1024),
            RunStatus::ResponseTooLarge,
            1,
        ),
        (
            FakeAct::Fails(SessionError::ResponseTooLarge(9)),
            Outcome::ResponseTooLarge(9),
            RunStatus::ResponseTooLarge,
            1,
        ),
        (FakeAct::Hang, Outcome::Timeout, RunStatus::Timeout, 0),
        (
            FakeAct::Fails(SessionError::Violation("spoke twice")),
            Outcome::ProtocolViolation("spoke twice"),
            RunStatus::ProtocolViolation,
            0,
        ),
        (
            FakeAct::Fails(SessionError::Broken(error(b"{}"))),
            Outcome::FunctionError(error(b"{}")),
            RunStatus::FunctionError,
            0,
        ),
        (
            FakeAct::Fails(SessionError::TimedOut),
            Outcome::Timeout,
            RunStatus::Timeout,
            0,
        ),
        (
            FakeAct::Fails(SessionError::InitTimedOut),
            Outcome::InitTimeout,
            RunStatus::Timeout,
            0,
        ),
        (
            FakeAct::Fails(SessionError::HungUp("hung up")),
            Outcome::ProtocolViolation("hung up"),
            RunStatus::ProtocolViolation,
            0,
        ),
        (
            FakeAct::Fails(SessionError::Closed),
            Outcome::Platform("the session was closed".to_owned()),
            RunStatus::Platform,
            0,
        ),
    ];
    for (index, (act, outcome, status, alive)) in table.into_iter().enumerate() {
        bed.contract.script_acts([act]);
        let finished = bed.call().await;
        assert_eq!((&finished.outcome, finished.record.status), (&outcome, status));
        bed.until_alive(alive).await;
        assert_eq!(
            bed.runs.all().len(),
            index + 1,
            "one record for each attempt: {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_billed_in_full_told_in_the_log_and_ends_the_instance() {
    let bed = Bed::new().await;
    bed.contract.script_acts([FakeAct::Hang]);
    let begun = Instant::now();
    let request = Request {
        log_tail: LogTail::Bytes(4096),
        ..bed.request()
    };
    let id = request.invocation;
    let finished = whole(bed.dispatcher.invoke(request).await.unwrap());
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(
        (finished.record.duration_us, finished.record.billed_ms),
        (3_000_000, 3000)
    );
    let tail = String::from_utf8(finished.log_tail.unwrap()).unwrap();
    assert_eq!(tail, format!("START {id}\nTIMED OUT {id} 3000 ms\nEND {id} Timeout\n"));
    bed.until_alive(0).await;
    assert_eq!(bed.call().await.record.start, Start::Cold);
}

#[tokio::test(start_paused = true)]
async fn the_log_tail_has_what_was_printed_before_the_answer() {
    let bed = Bed::new().await;
    bed.call().await;
    bed.contract.script_acts([answer_after(5 * MS)]);
    let request = Request {
        log_tail: LogTail::Bytes(4096),
        ..bed.request()
    };
    let id = request.invocation;
    let (answer, ()) = tokio::join!(bed.dispatcher.invoke(request), async {
        sleep(4 * MS).await;
        bed.sandbox.last().print("hello\n");
    });
    let tail = String::from_utf8(whole(answer.unwrap()).log_tail.unwrap()).unwrap();
    assert_eq!(tail, format!("START {id}\nhello\nEND {id} Success\n"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_is_told_apart_and_an_answer_before_it_wins() {
    let bed = Bed::new().await;
    let ends = async |exit: Exit| {
        sleep(50 * MS).await;
        bed.sandbox.last().exit(exit);
    };
    for exit in [Exit::OutOfMemory, Exit::Code(0), Exit::Code(3), Exit::Signal(9)] {
        bed.contract.script_acts([answer_after(100 * MS)]);
        let (finished, ()) = tokio::join!(bed.call(), ends(exit));
        assert_eq!(
            (&finished.outcome, finished.record.duration_us),
            (&Outcome::Exited(exit), 50_000)
        );
        let status = if exit == Exit::OutOfMemory {
            RunStatus::OutOfMemory
        } else {
            RunStatus::Crash
        };
        assert_eq!(finished.record.status, status);
        bed.until_alive(0).await;
    }
    bed.contract.set_drain(Duration::from_secs(1));
    bed.contract.script_acts([answer_after(100 * MS)]);
    let (finished, ()) = tokio::join!(bed.call(), ends(Exit::Code(1)));
    assert_eq!(finished.outcome, Outcome::Success, "it was on its way");
    bed.until_alive(0).await;
    bed.contract.script_acts([answer_after(1000 * MS)]);
    let (finished, ()) = tokio::join!(bed.call(), ends(Exit::Code(1)));
    assert_eq!(finished.outcome, Outcome::Exited(Exit::Code(1)));
    assert_eq!(
        finished.record.duration_us, 250_000,
        "nobody waits longer for last words"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_not_taken_goes_to_another_instance() {
    let bed = Bed::new().await;
    let not_taken = || FakeAct::Fails(SessionError::NotDelivered);
    bed.contract.script_acts([not_taken(), not_taken()]);
    let finished = bed.call().await;
    assert_eq!(
        (finished.outcome, &finished.body[..]),
        (Outcome::Success, &b"event"[..])
    );
    assert_eq!((bed.contract.sessions().len(), bed.runs.all().len()), (3, 1));
    bed.until_alive(1).await;
    bed.contract.script_acts([not_taken(), not_taken(), not_taken()]);
    let finished = bed.call().await;
    assert!(matches!(finished.outcome, Outcome::Platform(_)));
    assert_eq!(finished.record.billed_ms, 0, "nobody pays for the platform's failures");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_the_attempt_of_the_one_who_caused_it() {
    let bed = Bed::new().await;
    bed.sandbox.script([FakeStart {
        prints: "Traceback\n".to_owned(),
        ..FakeStart::default()
    }]);
    bed.contract.script_inits([FakeInit {
        takes: Some(30 * MS),
        result: Err(InitFailure::Reported(error(b"{\"x\":1}"))),
    }]);
    let request = Request {
        log_tail: LogTail::Bytes(4096),
        ..bed.request()
    };
    let id = request.invocation;
    let finished = whole(bed.dispatcher.invoke(request).await.unwrap());
    assert_eq!(finished.outcome, Outcome::InitError(error(b"{\"x\":1}")));
    let record = &finished.record;
    assert_eq!((record.init_us, record.duration_us, record.billed_ms), (30_000, 0, 30));
    assert_eq!(
        (record.status, record.error_kind.as_deref()),
        (RunStatus::InitError, Some("Oops"))
    );
    assert!(record.instance.is_some());
    let tail = String::from_utf8(finished.log_tail.unwrap()).unwrap();
    assert_eq!(
        tail,
        format!("START {id}\nINIT 1\nTraceback\nINIT FAILED error\nEND {id} InitError\n")
    );
    let lines = bed.logs.all(bed.function.id);
    let of_it = lines
        .iter()
        .filter(|line| line.invocation == Some(id) && line.source == LogSource::Platform);
    assert_eq!(of_it.count(), 2);
    bed.until_alive(0).await;

    bed.sandbox.script([FakeStart {
        fails: Some(SandboxError::Program {
            program: "/code/program".to_owned(),
            reason: "no such file".to_owned(),
        }),
        ..FakeStart::default()
    }]);
    let finished = bed.call().await;
    assert!(matches!(finished.outcome, Outcome::EntryPoint { .. }));
    assert_eq!(
        (finished.record.instance, finished.record.status),
        (None, RunStatus::InitError)
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_stop_the_attempt() {
    let bed = Bed::new().await;
    bed.contract.otherwise(answer_after(100 * MS));
    for (cold, expected) in [(Start::Cold, 1), (Start::Warm, 2)] {
        let left = tokio::time::timeout(10 * MS, bed.dispatcher.invoke(bed.request())).await;
        assert!(left.is_err());
        assert_eq!(
            bed.dispatcher.running(bed.function.id),
            Running { function: 1, tenant: 1 }
        );
        bed.until("recorded", || bed.runs.all().len() == expected).await;
        let runs = bed.runs.all();
        let record = runs.iter().find(|run| run.start == cold).unwrap();
        assert_eq!((record.duration_us, record.status), (100_000, RunStatus::Success));
        bed.until("released", || bed.pool.snapshot().revisions[0].busy == 0)
            .await;
    }
    assert_eq!(bed.sandbox.instances().len(), 1, "the instance was given back");
    assert_eq!(bed.dispatcher.running(bed.function.id), Running::default());
}

#[tokio::test(start_paused = true)]
async fn limits_refuse_at_once_and_name_themselves() {
    let bed = Bed::new().await;
    bed.contract.otherwise(answer_after(100 * MS));
    let with = |reserved| {
        std::sync::Arc::new(Function {
            reserved_concurrency: reserved,
            ..Function::clone(&bed.function)
        })
    };
    let call = async |reserved, tenant_concurrency| {
        let request = Request {
            function: with(reserved),
            tenant_concurrency,
            ..bed.request()
        };
        bed.dispatcher.invoke(request).await
    };
    let begun = Instant::now();
    let function = Refused::Throttled(ThrottleReason::FunctionConcurrency);
    assert_eq!(call(Some(0), 10).await.unwrap_err(), function);
    let (first, second) = tokio::join!(call(Some(1), 10), call(Some(1), 10));
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err(), function);
    let (first, second) = tokio::join!(call(None, 1), call(None, 1));
    assert!(first.is_ok());
    let tenant = Refused::Throttled(ThrottleReason::TenantConcurrency);
    assert_eq!(second.unwrap_err(), tenant);
    assert_eq!(begun.elapsed(), 200 * MS, "nobody waited for a place");
    assert_eq!(bed.runs.all().len(), 2, "what was refused is not metered");
}

#[tokio::test(start_paused = true)]
async fn a_full_ledger_is_no_loss() {
    let bed = Bed::new().await;
    bed.runs.refuse_appends(Some(LedgerError::Full));
    let finished = bed.call().await;
    assert_eq!(bed.runs.all(), [sonagi_model::RunRecord::clone(&finished.record)]);
}

#[tokio::test(start_paused = true)]
async fn stopping_refuses_the_new_and_waits_for_the_old() {
    let bed = Bed::new().await;
    bed.contract.otherwise(answer_after(500 * MS));
    let (finished, ()) = tokio::join!(bed.call(), async {
        sleep(100 * MS).await;
        bed.dispatcher.stop_accepting();
        let refused = bed.dispatcher.invoke(bed.request()).await;
        assert_eq!(refused.unwrap_err(), Refused::Stopping);
        assert!(!bed.dispatcher.drained(Instant::now() + 100 * MS).await);
        assert!(bed.dispatcher.drained(Instant::now() + 1000 * MS).await);
    });
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(bed.pool.drain(Instant::now()).await, 0);
    bed.until_alive(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_runs_on_an_instance_each_and_then_on_those() {
    let bed = Bed::new().await;
    bed.contract.otherwise(answer_after(10 * MS));
    let mut burst = tokio::task::JoinSet::new();
    for round in 0..2 {
        for _ in 0..100 {
            let (dispatcher, request) = (bed.dispatcher.clone(), bed.request());
            burst.spawn(async move { whole(dispatcher.invoke(request).await.unwrap()) });
        }
        let all = std::mem::take(&mut burst).join_all().await;
        assert!(all.iter().all(|one| one.outcome == Outcome::Success));
        assert_eq!(
            (bed.sandbox.instances().len(), bed.runs.all().len()),
            (100, 100 * (round + 1))
        );
    }
}

/// Calls that share an instance: one that is late ends for its caller alone, the other has its answer and its own record.
#[tokio::test(start_paused = true)]
async fn a_timeout_loses_no_answer_of_a_call_that_shares_the_instance() {
    let mut bed = Bed::new().await;
    let mut revision = sonagi_model::Revision::clone(&bed.revision);
    revision.spec.concurrency = std::num::NonZeroU32::new(2).unwrap();
    bed.revision = std::sync::Arc::new(revision);
    bed.contract.script_acts([FakeAct::Hang, answer_after(2500 * MS)]);
    let (late, answered) = tokio::join!(bed.call(), async {
        tokio::time::sleep(1000 * MS).await;
        bed.call().await
    });
    assert_eq!(late.outcome, Outcome::Timeout);
    assert_eq!(answered.outcome, Outcome::Success);
    assert_eq!(late.record.instance, answered.record.instance);
    assert_eq!(
        (late.record.billed_ms, answered.record.billed_ms),
        (3000, 2500),
        "each pays its own time"
    );
    bed.until_alive(0).await;
    assert_eq!(bed.call().await.record.start, Start::Cold);
}
