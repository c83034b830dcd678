//! What every [`RunStore`] does.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::time::Duration;

use sonagi_model::{Function, InvocationId, Mebibytes, Namespace, RunRecord, TenantId, Timestamp};

use crate::fake::sample;
use crate::{RunFilter, RunStore, UsageFilter, UsageRow};

/// All checks, on an empty ledger.
///
/// # Panics
/// When one fails.
pub async fn check(runs: &dyn RunStore) {
    a_record_is_there_at_once(runs).await;
    an_attempt_counts_once(runs).await;
    recent_runs_are_filtered_newest_first(runs).await;
    usage_adds_up_by_function_and_size(runs).await;
    usage_of_a_period_has_exactly_its_attempts(runs).await;
}

fn later(seconds: u64) -> Timestamp {
    sample::NOW.plus(Duration::from_secs(seconds))
}

/// A function of a tenant of its own, so that checks do not see each other's usage.
fn function_of(tenant: &str) -> Function {
    let mut function = sample::function("metered");
    function.tenant = TenantId::parse(tenant).unwrap();
    function.namespace = Namespace::parse(&format!("test/{tenant}")).unwrap();
    function
}

async fn usage(
    runs: &dyn RunStore,
    function: &Function,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Vec<UsageRow> {
    runs.usage(UsageFilter {
        tenant: Some(function.tenant.clone()),
        namespace: None,
        from,
        to,
    })
    .await
    .unwrap()
}

async fn a_record_is_there_at_once(runs: &dyn RunStore) {
    let function = function_of("at-once");
    let (quick, slow) = (
        sample::failed_run(&function, sample::NOW),
        sample::run(&function, sample::NOW),
    );
    runs.append(&quick).unwrap();
    assert_eq!(
        runs.attempts(quick.invocation).await.unwrap(),
        std::slice::from_ref(&quick)
    );
    runs.append_slow(slow.clone()).await.unwrap();
    assert_eq!(runs.attempts(slow.invocation).await.unwrap(), [slow]);
    assert_eq!(runs.attempts(InvocationId::generate()).await.unwrap(), []);
    assert_eq!(usage(runs, &function, None, None).await[0].attempts, 2);
}

async fn an_attempt_counts_once(runs: &dyn RunStore) {
    let function = function_of("counts-once");
    let first = sample::run(&function, sample::NOW);
    let second = RunRecord {
        attempt: 2,
        ..first.clone()
    };
    runs.append(&second).unwrap();
    runs.append(&first).unwrap();
    runs.append(&first).unwrap();
    runs.append_slow(first.clone()).await.unwrap();
    runs.append_slow(RunRecord {
        billed_ms: 999,
        ..second.clone()
    })
    .await
    .unwrap();
    assert_eq!(
        runs.attempts(first.invocation).await.unwrap(),
        [first, second],
        "oldest first, the first one kept"
    );
    let rows = usage(runs, &function, None, None).await;
    assert_eq!((rows[0].attempts, rows[0].billed_ms), (2, 4));
}

async fn recent_runs_are_filtered_newest_first(runs: &dyn RunStore) {
    let (function, other) = (function_of("recent"), function_of("recent"));
    let mine: Vec<_> = (0..6)
        .map(|i| {
            if i % 2 == 0 {
                sample::run(&function, later(i))
            } else {
                sample::failed_run(&function, later(i))
            }
        })
        .collect();
    for run in mine.iter().chain(&[sample::run(&other, later(99))]) {
        runs.append(run).unwrap();
    }
    let of_function = RunFilter {
        function: Some(function.id),
        ..RunFilter::default()
    };
    let ids = |found: Vec<RunRecord>| found.into_iter().map(|run| run.invocation).collect::<Vec<_>>();
    let expect = |indexes: &[usize]| indexes.iter().map(|i| mine[*i].invocation).collect::<Vec<_>>();
    let all = runs.recent(of_function.clone()).await.unwrap();
    assert_eq!(all[1], mine[4], "records come back exactly");
    assert_eq!(ids(all), expect(&[5, 4, 3, 2, 1, 0]));
    let cases = [
        (
            RunFilter {
                limit: 2,
                ..of_function.clone()
            },
            expect(&[5, 4]),
        ),
        (
            RunFilter {
                failed: true,
                ..of_function.clone()
            },
            expect(&[5, 3, 1]),
        ),
        (
            RunFilter {
                since: Some(later(4)),
                ..of_function.clone()
            },
            expect(&[5, 4]),
        ),
        (
            RunFilter {
                failed: true,
                since: Some(later(2)),
                limit: 1,
                ..of_function.clone()
            },
            expect(&[5]),
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(runs.recent(filter.clone()).await.unwrap()), expected, "{filter:?}");
    }
    let namespace = RunFilter {
        namespace: Some(function.namespace.clone()),
        ..RunFilter::default()
    };
    assert_eq!(runs.recent(namespace).await.unwrap().len(), 7);
    let nowhere = RunFilter {
        namespace: Some(Namespace::parse("nowhere").unwrap()),
        ..RunFilter::default()
    };
    assert_eq!(runs.recent(nowhere).await.unwrap(), []);
}

async fn usage_adds_up_by_function_and_size(runs: &dyn RunStore) {
    let function = function_of("adds-up");
    let small = sample::run(&function, sample::NOW);
    let failed = RunRecord {
        billed_ms: 7,
        ..sample::failed_run(&function, later(4000))
    };
    let large = RunRecord {
        memory: Mebibytes(256),
        ..sample::run(&function, sample::NOW)
    };
    for run in [&small, &failed, &large] {
        runs.append(run).unwrap();
    }
    let row = UsageRow {
        tenant: function.tenant.clone(),
        namespace: function.namespace.clone(),
        name: function.name.clone(),
        memory: Mebibytes(128),
        scratch: Mebibytes(512),
        attempts: 2,
        errors: 1,
        cold_starts: 1,
        duration_us: 3000,
        billed_ms: 9,
        response_bytes: 22,
    };
    let of_large = UsageRow {
        memory: Mebibytes(256),
        attempts: 1,
        errors: 0,
        cold_starts: 0,
        duration_us: 1500,
        billed_ms: 2,
        response_bytes: 11,
        ..row.clone()
    };
    assert_eq!(usage(runs, &function, None, None).await, [row, of_large]);
    let elsewhere = UsageFilter {
        tenant: Some(function.tenant.clone()),
        namespace: Some(Namespace::parse("elsewhere").unwrap()),
        ..UsageFilter::default()
    };
    assert_eq!(runs.usage(elsewhere).await.unwrap(), []);
}

async fn usage_of_a_period_has_exactly_its_attempts(runs: &dyn RunStore) {
    let function = function_of("period");
    for seconds in [0, 600, 3599, 3600, 7200, 10_799, 10_800] {
        runs.append(&sample::run(&function, later(seconds))).unwrap();
    }
    let cases = [
        (None, None, 7),
        (Some(0), Some(10_801), 7),
        (Some(0), Some(3600), 3),
        (Some(1), Some(3600), 2),
        (Some(600), Some(600), 0),
        (Some(600), Some(601), 1),
        (Some(3599), Some(10_799), 3),
        (Some(3601), None, 3),
        (None, Some(7200), 4),
        (Some(7200), Some(7201), 1),
        (Some(10_801), None, 0),
    ];
    for (from, to, expected) in cases {
        let rows = usage(runs, &function, from.map(later), to.map(later)).await;
        let attempts: u64 = rows.iter().map(|row| row.attempts).sum();
        assert_eq!(attempts, expected, "from {from:?} to {to:?}");
    }
}
