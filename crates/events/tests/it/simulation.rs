//! The machine in a world of its own: messages are late and out of order, the store fails and forgets what was not
//! flushed, functions fail, limits are met, the process crashes, the clock jumps between its lives. After every step the
//! invariants hold; at the end everything is healed, and all events must end.
//!
//! `SONAGI_SIM_SEEDS` says how many seeds are tried (default 300), `SONAGI_SIM_FIRST` from which one. A failure names
//! its seed: `SONAGI_SIM_FIRST=SEED SONAGI_SIM_SEEDS=1 cargo test -p sonagi-events --test it` repeats it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use sonagi_events::{Command, Core, CoreOptions, Ended, Input, Verdict, is_expired};
use sonagi_model::{EventId, Timestamp};
use sonagi_ports::fake::sample::NOW;
use sonagi_ports::{EventHead, EventStatus, Lane, Progress, RetryRules};

use crate::store::{Disk, Write};

/// Longest run of one seed, steps. Far more than any needs: reaching it means that something goes round for ever.
const STEPS_MAX: usize = 200_000;

/// SplitMix64: the seed is the whole of the randomness.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Something that will happen.
#[derive(Debug, Clone)]
enum Message {
    /// A client sends an event.
    Send,
    /// A client wants an event to end.
    Cancel(EventId),
    /// The machine is told.
    Tell(Input),
    /// Writes that wait reach the disk together.
    Flush,
    /// The writer's answer for a write that is on disk, or that failed.
    Written(Write, Vec<EventId>, bool),
    /// The process ends; everything but the disk is gone.
    Crash,
    /// From now on nothing fails.
    Heal,
}

struct World {
    dice: Dice,
    now: Timestamp,
    /// By time, then by the order in which they were made.
    future: BTreeMap<(Timestamp, u64), Message>,
    made: u64,
    core: Core,
    disk: Disk,
    /// Not on disk yet.
    waiting: Vec<Write>,
    flushing: bool,
    /// Answered with success to a client.
    accepted: BTreeSet<EventId>,
    cancelled: BTreeSet<EventId>,
    /// Attempts that run now, with the numbers under which they began.
    running: HashMap<EventId, u32>,
    /// How often the function saw each event.
    executions: BTreeMap<EventId, u32>,
    /// What the last attempt of each event was, until it is kept.
    outcomes: HashMap<EventId, Ended>,
    lanes: Vec<Lane>,
    /// Events that a lane may run at once.
    limits: Vec<usize>,
    healed: bool,
    crashes: u32,
    options: CoreOptions,
}

fn rules() -> RetryRules {
    RetryRules {
        max_age: Duration::from_secs(200),
        ..RetryRules::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let options = CoreOptions {
            in_flight: 2 + dice.roll(10) as usize,
            window: 1 + dice.roll(6) as usize,
        };
        let lanes: Vec<_> = (0..1 + dice.roll(4))
            .map(|lane| Lane::from_text(&format!("lane {lane}")))
            .collect();
        let limits = lanes.iter().map(|_| dice.roll(6) as usize).collect();
        Self {
            core: Core::new(options),
            options,
            dice,
            now: NOW,
            future: BTreeMap::new(),
            made: 0,
            disk: Disk::default(),
            waiting: Vec::new(),
            flushing: false,
            accepted: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            running: HashMap::new(),
            executions: BTreeMap::new(),
            outcomes: HashMap::new(),
            lanes,
            limits,
            healed: false,
            crashes: 0,
        }
    }

    fn after(&mut self, delay: Duration, message: Message) {
        self.made += 1;
        self.future.insert((self.now.plus(delay), self.made), message);
    }

    fn soon(&mut self, message: Message) {
        let micros = 1 + self.dice.roll(if self.dice.0.is_multiple_of(7) {
            2_000_000
        } else {
            3_000
        });
        self.after(Duration::from_micros(micros), message);
    }

    /// Whether something goes wrong now.
    fn fails(&mut self, sides: u64) -> bool {
        !self.healed && self.dice.one_in(sides)
    }

    fn run(&mut self) {
        let events = 20 + self.dice.roll(60);
        for _ in 0..events {
            let delay = Duration::from_micros(self.dice.roll(120_000_000));
            self.after(delay, Message::Send);
        }
        for _ in 0..self.dice.roll(5) {
            let delay = Duration::from_micros(self.dice.roll(400_000_000));
            self.after(delay, Message::Crash);
        }
        self.after(Duration::from_secs(500), Message::Heal);
        for _ in 0..STEPS_MAX {
            let tick = self.core.wake().map(|at| at.max(self.now));
            let next = self.future.first_key_value().map(|(key, _)| key.0);
            match (tick, next) {
                (None, None) => break,
                (Some(at), next) if next.is_none_or(|next| at < next) => {
                    self.now = at;
                    self.tell(Input::Tick);
                }
                _ => {
                    let ((at, _), message) = self.future.pop_first().expect("there is one");
                    self.now = self.now.max(at);
                    self.happen(message);
                }
            }
            self.check();
        }
        self.check_end();
    }

    fn happen(&mut self, message: Message) {
        match message {
            Message::Send => self.send(),
            Message::Cancel(id) => self.cancel(id),
            Message::Tell(input) => self.tell(input),
            Message::Flush => self.flush(),
            Message::Written(write, got, good) => self.written(write, got, good),
            Message::Crash => self.crash(),
            Message::Heal => {
                self.healed = true;
                self.limits.iter_mut().for_each(|limit| *limit = (*limit).max(1));
            }
        }
    }

    fn send(&mut self) {
        let lane = self.dice.roll(self.lanes.len() as u64) as usize;
        let head = EventHead {
            id: EventId::from_uuid(uuid::Uuid::from_u64_pair(self.made, self.dice.roll(u64::MAX))),
            lane: self.lanes[lane].clone(),
            accepted: self.now,
            due: self.now,
            progress: Progress::default(),
            cancelled: false,
        };
        let leased = self.core.admit(&head.lane, self.now);
        if self.dice.one_in(10) {
            let delay = Duration::from_micros(self.dice.roll(200_000_000));
            self.after(delay, Message::Cancel(head.id));
        }
        self.write(Write::Accept { head, leased });
    }

    fn write(&mut self, write: Write) {
        if self.fails(40) {
            self.soon(Message::Written(write, Vec::new(), false));
            return;
        }
        self.waiting.push(write);
        if !self.flushing {
            self.flushing = true;
            self.soon(Message::Flush);
        }
    }

    /// What waits is on disk; the answers come later, in any order.
    fn flush(&mut self) {
        self.flushing = false;
        for write in std::mem::take(&mut self.waiting) {
            let got = self.disk.apply(&write);
            self.soon(Message::Written(write, got, true));
        }
    }

    fn written(&mut self, write: Write, got: Vec<EventId>, good: bool) {
        match write {
            Write::Accept { head, leased } => {
                let input = match (good, leased) {
                    (true, true) => Input::Admitted(head.clone()),
                    (true, false) => Input::Stored {
                        lane: head.lane.clone(),
                        due: head.due,
                    },
                    (false, true) => Input::NotAdmitted(head.lane.clone()),
                    (false, false) => return,
                };
                if good {
                    self.accepted.insert(head.id);
                }
                self.tell(input);
            }
            Write::Lease(heads) => {
                let wanted: Vec<_> = heads.iter().map(|head| head.id).collect();
                self.tell(if good {
                    Input::Leased { wanted, got }
                } else {
                    Input::LeaseFailed(wanted)
                });
            }
            Write::Keep { head, .. } if good => {
                self.outcomes.remove(&head.id);
                self.tell(Input::Kept(head.id));
            }
            Write::Keep { head, .. } => self.tell(Input::KeepFailed(head.id)),
        }
    }

    fn cancel(&mut self, id: EventId) {
        let Some(row) = self.disk.pending.get_mut(&id) else {
            return;
        };
        // The store does this in one transaction: waiting events end, others are marked.
        row.head.cancelled = true;
        self.cancelled.insert(id);
        let free = !row.leased;
        if free {
            let progress = row.head.progress;
            self.disk.pending.remove(&id);
            self.disk.ended.insert(id, (EventStatus::Cancelled, progress));
        } else {
            self.tell(Input::Cancel(id));
        }
    }

    fn tell(&mut self, input: Input) {
        if let Input::Ended { id, ended, .. } = &input {
            self.running.remove(id);
            self.outcomes.insert(*id, *ended);
        }
        for command in self.core.step(input, self.now) {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Read { lane, limit } => {
                // Read now, answered later: the answer may be old by then.
                let (heads, next) = self.disk.due(&lane, self.now, limit);
                let answer = if self.fails(30) {
                    Input::ReadFailed(lane)
                } else {
                    Input::Read { lane, heads, next }
                };
                self.soon(Message::Tell(answer));
            }
            Command::Lease(heads) => self.write(Write::Lease(heads)),
            Command::Run(head) => self.attempt(&head),
            Command::Keep { head, verdict } => {
                let ended = self.outcomes[&head.id];
                let began = ended.has_run().then_some(head.progress.started + 1);
                self.write(Write::Keep { head, verdict, began });
            }
        }
    }

    fn attempt(&mut self, head: &EventHead) {
        let id = head.id;
        let row = self.disk.pending.get(&id).expect("only pending events run");
        assert!(row.leased, "{id} runs without a lease");
        assert_eq!(row.head.progress, head.progress, "{id} runs by an old head");
        let number = head.progress.started + 1;
        assert!(self.running.insert(id, number).is_none(), "{id} runs twice at once");
        let lane = self
            .lanes
            .iter()
            .position(|lane| *lane == head.lane)
            .expect("it has a lane");
        let others = self.running.keys().filter(|other| {
            self.disk
                .pending
                .get(other)
                .is_some_and(|row| row.head.lane == head.lane)
        });
        let (ended, seen) = if is_expired(head.accepted, &rules(), self.now) {
            (Ended::Over(EventStatus::Expired), false)
        } else if others.count() > self.limits[lane] {
            (Ended::Throttled, false)
        } else if self.fails(12) {
            (Ended::PlatformFailed, self.dice.one_in(2))
        } else if self.fails(3) {
            (Ended::Failed, true)
        } else {
            (Ended::Succeeded, true)
        };
        if seen {
            *self.executions.entry(id).or_default() += 1;
        }
        let rules = rules();
        self.soon(Message::Tell(Input::Ended { id, ended, rules }));
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let writes = self.waiting.len() as u64 + 1;
        // The disk may have got some of what was on its way, in order, but nobody heard of it.
        let reached = self.dice.roll(writes) as usize;
        for write in self.waiting.drain(..).take(reached) {
            self.disk.apply(&write);
        }
        self.waiting.clear();
        self.flushing = false;
        self.running.clear();
        self.outcomes.clear();
        self.future.retain(|_, message| match message {
            Message::Send | Message::Cancel(_) | Message::Crash | Message::Heal => true,
            Message::Tell(_) | Message::Flush | Message::Written(..) => false,
        });
        // A clock that was set forward or back while nobody looked. Back: what is due waits that much longer.
        if self.dice.one_in(3) {
            self.now = self.now.plus(Duration::from_secs(self.dice.roll(100)));
        }
        self.disk.recover(self.now);
        self.core = Core::new(self.options);
        let lanes = self.disk.lanes();
        self.tell(Input::Found(lanes));
    }

    fn check(&self) {
        for id in &self.accepted {
            let pending = self.disk.pending.contains_key(id);
            let ended = self.disk.ended.contains_key(id);
            assert!(pending != ended, "{id}: pending {pending}, ended {ended}");
        }
        assert!(
            self.core.in_flight() <= self.options.in_flight,
            "more in flight than allowed"
        );
        assert!(self.core.lanes() <= self.lanes.len());
    }

    fn check_end(&self) {
        assert!(self.healed, "the run was too long");
        let left: Vec<_> = self.disk.pending.values().collect();
        assert!(left.is_empty(), "these never end: {left:?}\n{:?}", self.core);
        assert_eq!((self.core.in_flight(), self.core.lanes()), (0, 0), "{:?}", self.core);
        for (id, (status, progress)) in &self.disk.ended {
            let numbers: Vec<u32> = self
                .disk
                .records
                .range((*id, 0)..=(*id, u32::MAX))
                .map(|(_, n)| *n)
                .collect();
            let expected: Vec<u32> = (1..=progress.started).collect();
            assert_eq!(numbers, expected, "{id}: records are attempts, one to one");
            let seen = self.executions.get(id).copied().unwrap_or(0);
            assert!(
                seen <= progress.started,
                "{id}: executed {seen}, metered {}",
                progress.started
            );
            assert!(*status != EventStatus::Succeeded || seen >= 1, "{id} succeeded unseen");
            if *status == EventStatus::Cancelled {
                assert!(self.cancelled.contains(id), "{id} was cancelled by nobody");
            }
            if self.crashes == 0 && *status == EventStatus::RetriesExhausted {
                assert_eq!(progress.failures, 3, "{id}: one attempt and two retries");
            }
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_event_ends_exactly_once_whatever_happens() {
    let first = from_environment("SONAGI_SIM_FIRST", 1);
    let seeds = from_environment("SONAGI_SIM_SEEDS", 300);
    let (mut crashes, mut ends) = (0, BTreeMap::<EventStatus, u64>::new());
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            (world.crashes, world.disk.ended)
        });
        let Ok((crashed, ended)) = outcome else {
            panic!("seed {seed} fails: SONAGI_SIM_FIRST={seed} SONAGI_SIM_SEEDS=1 repeats it");
        };
        crashes += crashed;
        for (status, _) in ended.into_values() {
            *ends.entry(status).or_default() += 1;
        }
    }
    println!("{seeds} seeds, {crashes} crashes, ends: {ends:?}");
    for status in [
        EventStatus::Succeeded,
        EventStatus::RetriesExhausted,
        EventStatus::Cancelled,
        EventStatus::Expired,
    ] {
        assert!(seeds < 300 || ends.contains_key(&status), "{status:?} never happens");
    }
    assert!(seeds < 300 || crashes > 100, "hardly anything crashes");
}

#[test]
fn verdicts_are_kept_in_order() {
    // An attempt that ends while the store fails is written down later, once, and only then is the event due again.
    let mut core = Core::new(CoreOptions::default());
    let lane = Lane::from_text("a");
    let head = EventHead {
        id: EventId::generate(),
        lane: lane.clone(),
        accepted: NOW,
        due: NOW,
        progress: Progress::default(),
        cancelled: false,
    };
    let id = head.id;
    assert!(core.admit(&lane, NOW));
    assert_eq!(core.step(Input::Admitted(head.clone()), NOW), [Command::Run(head)]);
    let ended = Input::Ended {
        id,
        ended: Ended::Failed,
        rules: RetryRules::default(),
    };
    let kept = core.step(ended, NOW);
    assert!(
        matches!(
            kept.as_slice(),
            [Command::Keep {
                verdict: Verdict::Postpone { .. },
                ..
            }]
        ),
        "{kept:?}"
    );
    assert_eq!(core.step(Input::KeepFailed(id), NOW), []);
    let at = core.wake().expect("it is tried again");
    assert_eq!(core.step(Input::Tick, at), kept);
    assert_eq!(core.step(Input::Kept(id), at), []);
    let due = core.wake().expect("the next attempt");
    assert_eq!(due, NOW.plus(Duration::from_secs(60)));
    let read = core.step(Input::Tick, due);
    assert!(matches!(read.as_slice(), [Command::Read { .. }]), "{read:?}");
}
