//! Ticks once each, whatever happens to process and clock.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::tz::TimeZone;
use sonagi_ports::fake::{FakeMetadataStore, TokioClock};
use tokio::task::JoinSet;

use super::*;
use crate::schedule::{Missed, Timing};

/// A clock that can be set.
#[derive(Debug, Default)]
struct Settable(TokioClock, AtomicI64);

impl Settable {
    fn jump(&self, seconds: i64) {
        self.1.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Settable {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now().as_micros() + self.1.load(Ordering::SeqCst))
    }
}

/// Accepts ticks by their tokens, as the queue of events does.
#[derive(Debug, Default)]
struct Owner {
    accepted: Mutex<BTreeSet<(String, String)>>,
    planned: Mutex<Vec<Timestamp>>,
    over: Mutex<Vec<String>>,
    refuses: AtomicBool,
}

#[async_trait]
impl OnTick for Owner {
    async fn tick(&self, tick: &Tick) -> Result<(), TickError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(TickError("busy".to_owned()));
        }
        let token = tick.token("");
        if self.accepted.lock().insert((token.scope, token.text)) {
            self.planned.lock().push(tick.planned);
        }
        Ok(())
    }

    async fn over(&self, schedule: &str) {
        self.over.lock().push(schedule.to_owned());
    }
}

struct Process {
    clockwork: Arc<Clockwork>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

struct Bed {
    store: Arc<FakeMetadataStore>,
    clock: Arc<Settable>,
    owner: Arc<Owner>,
    start: Timestamp,
}

impl Bed {
    fn new() -> Self {
        let clock = Arc::new(Settable::default());
        Self {
            store: Arc::new(FakeMetadataStore::new()),
            start: clock.now(),
            clock,
            owner: Arc::new(Owner::default()),
        }
    }

    /// A process with one schedule that ticks every so many seconds; it is killed by dropping it.
    async fn run(&self, period: u64, rules: MissedRules) -> Process {
        let records = self.store.load().await.unwrap();
        let clockwork = Arc::new(Clockwork::new(
            &records,
            Arc::clone(&self.store) as _,
            Arc::clone(&self.clock) as _,
        ));
        clockwork.set("s", self.scheduled(self.every(period), rules)).unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&clockwork).run(stop.clone()));
        Process { clockwork, tasks, stop }
    }

    fn every(&self, seconds: u64) -> Plan {
        let period = Duration::from_secs(seconds);
        Plan {
            timing: Timing::Every {
                period,
                first: self.start.plus(period),
            },
            zone: TimeZone::UTC,
            start: None,
            end: None,
        }
    }

    fn scheduled(&self, plan: Plan, rules: MissedRules) -> Scheduled {
        Scheduled {
            plan,
            rules,
            since: self.start,
            owner: Arc::clone(&self.owner) as _,
        }
    }

    /// The planned moments of accepted ticks, in seconds since the start.
    fn seconds(&self) -> Vec<i64> {
        let planned = self.owner.planned.lock();
        planned
            .iter()
            .map(|at| (at.as_micros() - self.start.as_micros()) / 1_000_000)
            .collect()
    }
}

const ALL: MissedRules = MissedRules {
    policy: Missed::All,
    grace: LONGEST_GRACE,
};

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn ticks_come_in_time_and_end_with_the_process() {
    let bed = Bed::new();
    let mut process = bed.run(60, MissedRules::default()).await;
    pass(185).await;
    assert_eq!(bed.seconds(), [60, 120, 180]);
    assert_eq!(
        process.clockwork.next("s"),
        Some(bed.start.plus(Duration::from_secs(240)))
    );
    process.stop.cancel();
    process.tasks.join_next().await.unwrap().unwrap();
    pass(600).await;
    assert_eq!(bed.seconds().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_loses_and_doubles_nothing() {
    let bed = Bed::new();
    for _ in 0..50 {
        let process = bed.run(7, ALL).await;
        // A prime, so that ends fall on every side of ticks; some right at one, before its cursor is stored.
        pass(13).await;
        drop(process);
        pass(8).await;
    }
    let process = bed.run(7, ALL).await;
    pass(1).await;
    drop(process);
    let expected: Vec<i64> = (1..=150).map(|tick| tick * 7).collect();
    assert_eq!(bed.seconds(), expected);
}

#[tokio::test(start_paused = true)]
async fn ticks_whose_cursor_could_not_be_stored_are_known_by_their_tokens() {
    let bed = Bed::new();
    let process = bed.run(60, ALL).await;
    pass(150).await;
    drop(process);
    // As if the process had ended before the cursor was stored.
    let cursor = removal("s");
    bed.store.commit(vec![cursor]).await.unwrap();
    let _process = bed.run(60, ALL).await;
    pass(60).await;
    assert_eq!(bed.seconds(), [60, 120, 180]);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_make_each_tick_come_once() {
    for jump in [1, 3600, 86_400] {
        let bed = Bed::new();
        let _process = bed.run(60, MissedRules::default()).await;
        pass(61).await;
        bed.clock.jump(jump);
        pass(120).await;
        bed.clock.jump(-jump);
        pass(600).await;
        let seen = bed.seconds();
        let unique: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "{jump}: {seen:?}");
        // Everything of the time that was really lived through came, after the clock was right again.
        for tick in 1..=13 {
            let close_to_jump = (2..=3).contains(&tick);
            assert!(
                close_to_jump || unique.contains(&(tick * 60)),
                "{jump}: {tick} of {seen:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_is_refused_is_handed_over_again() {
    let bed = Bed::new();
    bed.owner.refuses.store(true, Ordering::SeqCst);
    let _process = bed.run(60, MissedRules::default()).await;
    pass(70).await;
    assert_eq!(bed.seconds(), Vec::<i64>::new());
    bed.owner.refuses.store(false, Ordering::SeqCst);
    pass(5).await;
    assert_eq!(bed.seconds(), [60]);
}

#[tokio::test(start_paused = true)]
async fn schedules_end_and_go_and_their_cursors_with_them() {
    let bed = Bed::new();
    let process = bed.run(60, MissedRules::default()).await;
    let once = Plan {
        end: Some(bed.start.plus(Duration::from_secs(90))),
        ..bed.every(30)
    };
    process
        .clockwork
        .set("short", bed.scheduled(once, MissedRules::default()))
        .unwrap();
    pass(125).await;
    assert_eq!(*bed.owner.over.lock(), ["short"]);
    assert_eq!(bed.seconds(), [30, 60, 60, 90, 120]);
    process.clockwork.remove("short").await;
    process.clockwork.remove("s").await;
    assert_eq!(bed.store.load().await.unwrap(), []);
    pass(600).await;
    assert_eq!(bed.seconds().len(), 5);
}
