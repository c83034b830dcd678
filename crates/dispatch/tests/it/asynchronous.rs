//! Accepted events: retries, throttles, restarts, one end for each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sonagi_dispatch::{Asynchronous, AsynchronousOptions, Routes};
use sonagi_model::{EventId, Function, RunStatus};
use sonagi_ports::fake::{FakeAct, FakeEnd, FakeEventQueue, Fault, sample};
use sonagi_ports::{
    Clock, EventEnd, EventQueue, EventRoute, EventStatus, EventTargets, FollowUp, Lease, NewEvent, QueuedEvent,
    RetryRules, SessionError, Target, Undeliverable,
};
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, error};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Every event goes to the same place, or nowhere.
#[derive(Default)]
struct OneTarget {
    target: Mutex<Option<Target>>,
    follow_ups: Mutex<Vec<FollowUp>>,
    ends: Mutex<Vec<(EventStatus, bool)>>,
}

impl EventTargets for OneTarget {
    fn resolve(&self, _event: &QueuedEvent) -> Result<Target, Undeliverable> {
        self.target.lock().clone().ok_or(Undeliverable::Gone)
    }

    fn follow_ups(&self, _event: &QueuedEvent, end: &EventEnd<'_>) -> Vec<FollowUp> {
        self.ends.lock().push((end.status, end.last.is_some()));
        std::mem::take(&mut *self.follow_ups.lock())
    }
}

struct Events {
    bed: Bed,
    queue: Arc<FakeEventQueue>,
    target: Arc<OneTarget>,
    runner: Asynchronous,
}

impl Events {
    async fn new(options: AsynchronousOptions) -> Self {
        let bed = Bed::new().await;
        let queue = Arc::new(FakeEventQueue::new(bed.runs.clone(), 1000));
        let target = Target {
            function: bed.function.clone(),
            revision: bed.revision.clone(),
            attributes: sonagi_ports::Attributes::default(),
            tenant_concurrency: 1000,
            rules: RetryRules::default(),
        };
        let target = Arc::new(OneTarget {
            target: Mutex::new(Some(target)),
            ..OneTarget::default()
        });
        let runner = Self::runner(&bed, &queue, &target, options).await;
        Self {
            bed,
            queue,
            target,
            runner,
        }
    }

    async fn runner(
        bed: &Bed,
        queue: &Arc<FakeEventQueue>,
        target: &Arc<OneTarget>,
        options: AsynchronousOptions,
    ) -> Asynchronous {
        let routes = Routes::new().functions("test", target.clone());
        let (queue, runs) = (queue.clone(), bed.runs.clone());
        let started = Asynchronous::start(options, queue, runs, routes, bed.dispatcher.clone(), bed.clock.as_ref());
        started.await.expect("the queue answers")
    }

    fn new_event(&self) -> NewEvent {
        let QueuedEvent {
            route,
            namespace,
            name,
            payload,
            ..
        } = sample::event(&self.bed.function, self.bed.clock.now());
        NewEvent::new(route, namespace, name, payload)
    }

    async fn accept(&self) -> EventId {
        let accepted = self.runner.accept(self.new_event()).await;
        accepted.expect("the queue takes it").id()
    }

    /// How and after how long an event ended.
    async fn end_of(&self, id: EventId) -> (EventStatus, Duration) {
        let begun = Instant::now();
        for _ in 0..1_000_000 {
            if let Some(settlement) = self.queue.settlement(id) {
                return (settlement.status, begun.elapsed());
            }
            sleep(MS).await;
        }
        panic!("never settled: {:?}", self.queue.waiting());
    }

    fn records(&self) -> Vec<(u32, RunStatus)> {
        self.bed
            .runs
            .all()
            .iter()
            .map(|run| (run.attempt, run.status))
            .collect()
    }

    fn reserve(&self, reserved: Option<u32>) {
        let mut target = self.target.target.lock();
        let target = target.as_mut().expect("the target exists");
        target.function = Arc::new(Function {
            reserved_concurrency: reserved,
            ..Function::clone(&target.function)
        });
    }
}

fn fails() -> FakeAct {
    FakeAct::Answer(MS, Err(error(b"{}")))
}

#[tokio::test(start_paused = true)]
async fn an_event_runs_once_and_is_settled_with_its_record() {
    let events = Events::new(AsynchronousOptions::default()).await;
    let id = events.accept().await;
    let (status, after) = events.end_of(id).await;
    assert_eq!(status, EventStatus::Succeeded);
    assert!(after < 100 * MS, "{after:?}");
    assert_eq!(events.records(), [(1, RunStatus::Success)]);
    sleep(600 * SECOND).await;
    assert_eq!(events.records().len(), 1);
    let calls = events.bed.contract.sessions()[0].calls();
    assert_eq!((calls.len(), calls[0].attempt), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_after_one_and_two_more_minutes() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events.bed.contract.otherwise(fails());
    let id = events.accept().await;
    sleep(59 * SECOND).await;
    assert_eq!(events.records().len(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(events.records().len(), 2);
    sleep(118 * SECOND).await;
    assert_eq!(events.records().len(), 2);
    let (status, _) = events.end_of(id).await;
    assert_eq!(status, EventStatus::RetriesExhausted);
    let runs = events.bed.runs.all();
    let attempts: Vec<_> = runs
        .iter()
        .map(|run| (run.attempt, run.started.since(runs[0].started).as_secs()))
        .collect();
    assert_eq!(attempts, [(1, 0), (2, 60), (3, 180)]);
    assert!(runs.iter().all(|run| run.invocation == runs[0].invocation));

    events.bed.contract.script_acts([fails(), FakeAct::Echo]);
    let id = events.accept().await;
    assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn throttles_count_no_attempt_and_back_off() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events.reserve(Some(0));
    let id = events.accept().await;
    sleep(6500 * MS).await;
    let waiting = events.queue.waiting();
    assert_eq!((waiting[0].progress.started, events.records().len()), (0, 0));
    assert!(
        waiting[0].due.since(waiting[0].accepted) >= 7 * SECOND,
        "1 + 2 + 4 seconds"
    );
    events.reserve(None);
    let (status, after) = events.end_of(id).await;
    assert_eq!(status, EventStatus::Succeeded);
    assert!(after < SECOND, "{after:?}");
    assert_eq!(events.records(), [(1, RunStatus::Success)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_for_too_long_expires() {
    let events = Events::new(AsynchronousOptions::default()).await;
    if let Some(target) = events.target.target.lock().as_mut() {
        target.rules.max_age = 100 * SECOND;
    }
    events.reserve(Some(0));
    let id = events.accept().await;
    let (status, after) = events.end_of(id).await;
    assert_eq!(status, EventStatus::Expired);
    assert!(after <= 100 * SECOND, "{after:?}");
    assert_eq!(events.records(), []);
}

#[tokio::test(start_paused = true)]
async fn the_platforms_failures_use_up_no_retry() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events
        .bed
        .contract
        .script_acts([FakeAct::Fails(SessionError::Closed), fails(), FakeAct::Echo]);
    let id = events.accept().await;
    assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    assert_eq!(
        events.records(),
        [
            (1, RunStatus::Platform),
            (2, RunStatus::FunctionError),
            (3, RunStatus::Success)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_function_is_gone_is_over() {
    let events = Events::new(AsynchronousOptions::default()).await;
    *events.target.target.lock() = None;
    let id = events.accept().await;
    assert_eq!(events.end_of(id).await.0, EventStatus::TargetGone);
}

#[tokio::test(start_paused = true)]
async fn streamed_answers_are_read_to_their_end() {
    let events = Events::new(AsynchronousOptions::default()).await;
    let parts = vec![(MS, Bytes::from_static(b"12345")); 100];
    events.bed.contract.script_acts([FakeAct::Stream(parts, FakeEnd::End)]);
    let id = events.accept().await;
    assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    assert_eq!(events.bed.runs.all()[0].response_bytes, 500);
}

#[tokio::test(start_paused = true)]
async fn work_in_flight_is_bounded_and_all_of_it_gets_done() {
    let mut options = AsynchronousOptions::default();
    // A lane alone gets half of the places.
    options.core.in_flight = 8;
    let events = Events::new(options).await;
    events
        .bed
        .contract
        .otherwise(FakeAct::Answer(100 * MS, Ok(Bytes::new())));
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(events.accept().await);
    }
    sleep(50 * MS).await;
    assert_eq!(events.bed.dispatcher.running(events.bed.function.id).function, 4);
    for id in ids {
        assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    }
    assert_eq!((events.records().len(), events.bed.sandbox.instances().len()), (20, 4));
}

#[tokio::test(start_paused = true)]
async fn a_failing_queue_loses_nothing_and_repeats_nothing() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events
        .bed
        .contract
        .script_acts([FakeAct::Answer(SECOND, Ok(Bytes::new()))]);
    let id = events.accept().await;
    sleep(500 * MS).await;
    events.queue.faults().set(Fault::Full);
    sleep(30 * SECOND).await;
    assert_eq!(events.queue.settlement(id), None);
    events.queue.faults().heal();
    assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    assert_eq!(events.records(), [(1, RunStatus::Success)]);
    let calls: usize = events
        .bed
        .contract
        .sessions()
        .iter()
        .map(|session| session.calls().len())
        .sum();
    assert_eq!(calls, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_pending_runs_after_a_restart() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events.bed.contract.script_acts([fails()]);
    let retried = events.accept().await;
    sleep(SECOND).await;
    events.runner.stop().await;
    let mut left = Vec::new();
    for lease in [Lease::Free, Lease::Taken] {
        let event = sample::event(&events.bed.function, events.bed.clock.now());
        left.push(event.id);
        events.queue.accept(event, None, lease).await.unwrap();
    }
    sleep(300 * SECOND).await;
    assert_eq!(events.records().len(), 1, "nothing runs while nobody is there");
    let options = AsynchronousOptions::default();
    let next = Events::runner(&events.bed, &events.queue, &events.target, options).await;
    for id in [retried, left[0], left[1]] {
        assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    }
    let lost: Vec<_> = events
        .bed
        .runs
        .all()
        .into_iter()
        .filter(|run| run.invocation.as_uuid() == left[1].as_uuid())
        .map(|run| (run.attempt, run.status))
        .collect();
    assert_eq!(lost, [(1, RunStatus::Lost), (2, RunStatus::Success)]);
    assert_eq!(events.records().len(), 5);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_settles_what_is_under_way() {
    let events = Events::new(AsynchronousOptions::default()).await;
    events
        .bed
        .contract
        .script_acts([FakeAct::Answer(SECOND, Ok(Bytes::new()))]);
    let id = events.accept().await;
    sleep(100 * MS).await;
    events.runner.stop().await;
    assert_eq!(events.queue.settlement(id).unwrap().status, EventStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn an_end_sends_what_its_provider_says() {
    let events = Events::new(AsynchronousOptions::default()).await;
    let QueuedEvent { route, .. } = sample::event(&events.bed.function, events.bed.clock.now());
    let to_nobody = EventRoute::Destination {
        adapter: "nobody".to_owned(),
        address: "x".to_owned(),
    };
    let follow_up = |route: EventRoute| FollowUp {
        route,
        name: "follows".to_owned(),
        payload: Bytes::from_static(b"sent"),
        attributes: sonagi_ports::Attributes::default(),
    };
    *events.target.follow_ups.lock() = vec![follow_up(route), follow_up(to_nobody)];
    let id = events.accept().await;
    assert_eq!(events.end_of(id).await.0, EventStatus::Succeeded);
    let sent = events.queue.offspring(id).await.unwrap();
    let mut ends = Vec::new();
    for event in &sent {
        ends.push(events.end_of(event.id).await.0);
    }
    ends.sort();
    assert_eq!(ends, [EventStatus::Succeeded, EventStatus::TargetGone]);
    assert_eq!(events.target.ends.lock()[0], (EventStatus::Succeeded, true));
}

#[tokio::test(start_paused = true)]
async fn one_backlog_starves_no_other() {
    let mut options = AsynchronousOptions::default();
    options.core.in_flight = 16;
    let events = Events::new(options).await;
    let slow = FakeAct::Answer(600 * SECOND, Ok(Bytes::new()));
    events.bed.contract.script_acts(vec![slow; 8]);
    for _ in 0..200 {
        events.accept().await;
    }
    sleep(SECOND).await;
    assert_eq!(events.bed.dispatcher.running(events.bed.function.id).function, 8);
    let other = NewEvent::new(
        sample::event(&sample::function("another"), events.bed.clock.now()).route,
        sample::function("another").namespace,
        "another",
        Bytes::new(),
    );
    let id = events.runner.accept(other).await.unwrap().id();
    let (status, after) = events.end_of(id).await;
    assert_eq!(status, EventStatus::Succeeded);
    assert!(after < SECOND, "{after:?}");
}
