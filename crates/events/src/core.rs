//! The machine over all lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use sonagi_model::{EventId, Timestamp};
use sonagi_ports::{EventHead, Lane, RetryRules};

use crate::decide::{Ended, Verdict, decide};
use crate::lane::LaneState;

/// Wait after a failure of the store; doubles up to [`STORE_RETRY_LONGEST`].
const STORE_RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const STORE_RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Bounds of a [`Core`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreOptions {
    /// Events that are worked on at once; others wait in the store. A lane begins another only while it has fewer than
    /// there are free places, so one alone gets half of them and there is always room for one more. Default 128.
    pub in_flight: usize,
    /// Events of a lane that are read ahead. Default 32.
    pub window: usize,
}

impl Default for CoreOptions {
    fn default() -> Self {
        Self {
            in_flight: 128,
            window: 32,
        }
    }
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// At the start: lanes with events that wait, and when the first of each is due.
    Found(Vec<(Lane, Timestamp)>),
    /// An event was stored without a lease.
    Stored {
        /// Its lane.
        lane: Lane,
        /// When it is due.
        due: Timestamp,
    },
    /// An event for which [`Core::admit`] had given a place was stored with its lease.
    Admitted(EventHead),
    /// The place given by [`Core::admit`] is not needed.
    NotAdmitted(Lane),
    /// The answer to [`Command::Read`].
    Read {
        /// The lane.
        lane: Lane,
        /// Events that are due, in order.
        heads: Vec<EventHead>,
        /// When the first that is not among them is due.
        next: Option<Timestamp>,
    },
    /// The store failed instead.
    ReadFailed(Lane),
    /// The answer to [`Command::Lease`].
    Leased {
        /// The events asked for.
        wanted: Vec<EventId>,
        /// Those of them that are leased; the others are not as they were read.
        got: Vec<EventId>,
    },
    /// The store failed instead.
    LeaseFailed(Vec<EventId>),
    /// The end of [`Command::Run`].
    Ended {
        /// The event.
        id: EventId,
        /// How the attempt ended.
        ended: Ended,
        /// When it is tried again.
        rules: RetryRules,
    },
    /// The answer to [`Command::Keep`].
    Kept(EventId),
    /// The store failed instead.
    KeepFailed(EventId),
    /// Somebody wants the event to end.
    Cancel(EventId),
    /// Time has passed.
    Tick,
    /// Nothing further is to begin.
    Stop,
}

/// What is to be done. Each is answered by exactly one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read events of a lane that are due and not leased.
    Read {
        /// The lane.
        lane: Lane,
        /// At most so many.
        limit: usize,
    },
    /// Lease these events, durably, if they still are as they were read.
    Lease(Vec<EventHead>),
    /// Run the next attempt of an event.
    Run(EventHead),
    /// Write down, durably, what becomes of an event.
    Keep {
        /// The event as it was before its attempt.
        head: EventHead,
        /// What becomes of it.
        verdict: Verdict,
    },
}

#[derive(Debug)]
struct Flight {
    head: EventHead,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Leasing,
    Running,
    Keeping {
        verdict: Verdict,
        failures: u32,
        retry_at: Option<Timestamp>,
    },
}

/// The machine. Holds at most [`CoreOptions::in_flight`] events that are worked on, [`CoreOptions::window`] heads for
/// each lane, and a few words for each lane with pending events.
#[derive(Debug)]
pub struct Core {
    options: CoreOptions,
    lanes: BTreeMap<Lane, LaneState>,
    /// Lanes with work, in the order of their turns.
    ring: VecDeque<Lane>,
    /// When to look at a lane again.
    timers: BTreeSet<(Timestamp, Lane)>,
    flights: HashMap<EventId, Flight>,
    /// When to try again to write down what becomes of an event.
    retries: BTreeSet<(Timestamp, EventId)>,
    /// Places given to events that are being stored.
    admitted: usize,
    store_failures: u32,
    /// Nothing is read or leased before.
    store_rests_until: Option<Timestamp>,
    stopping: bool,
}

impl Core {
    /// A machine that knows of no event.
    #[must_use]
    pub fn new(options: CoreOptions) -> Self {
        Self {
            options: CoreOptions {
                in_flight: options.in_flight.max(2),
                window: options.window.max(1),
            },
            lanes: BTreeMap::new(),
            ring: VecDeque::new(),
            timers: BTreeSet::new(),
            flights: HashMap::new(),
            retries: BTreeSet::new(),
            admitted: 0,
            store_failures: 0,
            store_rests_until: None,
            stopping: false,
        }
    }

    /// Whether an event that is about to be stored may be leased in the same stroke: only when no other of its lane
    /// waits. The answer to a yes is [`Input::Admitted`] or [`Input::NotAdmitted`].
    pub fn admit(&mut self, lane: &Lane, now: Timestamp) -> bool {
        let free = self.free();
        // Every step ends with the turns of all lanes: while a place is free, no other lane may take it.
        let open = !self.stopping && free > 0 && self.store_rests_until.is_none_or(|until| until <= now);
        let fits = self.lanes.get(lane).is_none_or(|state| {
            let idle = !state.reading && !state.has_work(now) && state.pause(now).is_none();
            idle && state.running < free && state.has_room()
        });
        let admitted = open && fits;
        if admitted {
            self.admitted += 1;
            self.lanes.entry(lane.clone()).or_default().running += 1;
        }
        admitted
    }

    /// When [`Input::Tick`] is wanted, unless something else happens first.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        let lane = self.timers.first().map(|(at, _)| *at).filter(|_| !self.stopping);
        let rest = self.store_rests_until.filter(|_| !self.ring.is_empty());
        let retry = self.retries.first().map(|(at, _)| *at);
        [lane, rest, retry].into_iter().flatten().min()
    }

    /// Events that are worked on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len() + self.admitted
    }

    /// Lanes that are remembered.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Takes in what has happened; what is to be done now.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.store_rests_until.is_some_and(|until| until <= now) {
            self.store_rests_until = None;
        }
        match input {
            Input::Found(found) => found.into_iter().for_each(|(lane, due)| self.expect(lane, due)),
            Input::Stored { lane, due } => self.expect(lane, due),
            Input::Admitted(head) => self.begin_admitted(head, &mut commands),
            Input::NotAdmitted(lane) => {
                self.admitted = self.admitted.saturating_sub(1);
                self.leave(&lane);
            }
            Input::Read { lane, heads, next } => self.read(&lane, heads, next),
            Input::ReadFailed(lane) => {
                self.store_failed(now);
                self.reread(&lane);
            }
            Input::Leased { wanted, got } => self.leased(wanted, &got, &mut commands),
            Input::LeaseFailed(ids) => {
                self.store_failed(now);
                self.unlease(ids);
            }
            Input::Ended { id, ended, rules } => self.ended(id, ended, &rules, now, &mut commands),
            Input::Kept(id) => self.kept(id, now),
            Input::KeepFailed(id) => self.keep_failed(id, now),
            Input::Cancel(id) => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.head.cancelled = true;
                }
            }
            Input::Tick => {}
            Input::Stop => self.stopping = true,
        }
        self.retry(now, &mut commands);
        if !self.stopping {
            self.promote(now);
            self.take_turns(now, &mut commands);
        }
        commands
    }

    fn free(&self) -> usize {
        self.options.in_flight.saturating_sub(self.in_flight())
    }

    /// Something of a lane that is not in its window is due then.
    fn expect(&mut self, lane: Lane, due: Timestamp) {
        let state = self.lanes.entry(lane.clone()).or_default();
        state.expect(due);
        // A lane has one timer for its earliest event; later ones are found when that has been read.
        if state.next == Some(due) && !state.reading {
            self.timers.insert((due, lane));
        }
    }

    /// One place of a lane is free again.
    fn leave(&mut self, lane: &Lane) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.running = state.running.saturating_sub(1);
        }
        self.revisit(lane);
    }

    /// Puts a lane with work into the ring, and forgets an empty one.
    fn revisit(&mut self, lane: &Lane) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        if state.is_empty() {
            // Its place in the ring, if it has one, is passed over.
            self.lanes.remove(lane);
        } else if !state.ringed && !state.window.is_empty() {
            state.ringed = true;
            self.ring.push_back(lane.clone());
        } else if !state.ringed
            && !state.reading
            && let Some(next) = state.next
        {
            self.timers.insert((next, lane.clone()));
        }
    }

    fn begin_admitted(&mut self, head: EventHead, commands: &mut Vec<Command>) {
        self.admitted = self.admitted.saturating_sub(1);
        let flight = Flight {
            head: head.clone(),
            phase: Phase::Running,
        };
        let before = self.flights.insert(head.id, flight);
        assert!(before.is_none(), "event {} is worked on twice", head.id);
        commands.push(Command::Run(head));
    }

    fn read(&mut self, lane: &Lane, heads: Vec<EventHead>, next: Option<Timestamp>) {
        self.store_worked();
        let Some(state) = self.lanes.get_mut(lane) else { return };
        state.reading = false;
        state.next = next;
        if let Some(due) = state.since_read.take() {
            state.expect(due);
        }
        let flights = &self.flights;
        state
            .window
            .extend(heads.into_iter().filter(|head| !flights.contains_key(&head.id)));
        self.revisit(lane);
    }

    fn reread(&mut self, lane: &Lane) {
        if let Some(state) = self.lanes.get_mut(lane) {
            (state.reading, state.since_read) = (false, None);
        }
        self.revisit(lane);
    }

    fn leased(&mut self, wanted: Vec<EventId>, got: &[EventId], commands: &mut Vec<Command>) {
        self.store_worked();
        for id in wanted {
            let Some(flight) = self.flights.get_mut(&id) else {
                continue;
            };
            if got.contains(&id) {
                flight.phase = Phase::Running;
                commands.push(Command::Run(flight.head.clone()));
            } else if let Some(flight) = self.flights.remove(&id) {
                self.leave(&flight.head.lane);
            }
        }
    }

    fn unlease(&mut self, ids: Vec<EventId>) {
        for id in ids.into_iter().rev() {
            let Some(flight) = self.flights.remove(&id) else {
                continue;
            };
            let lane = flight.head.lane.clone();
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.window.push_front(flight.head);
            }
            self.leave(&lane);
        }
    }

    fn ended(&mut self, id: EventId, ended: Ended, rules: &RetryRules, now: Timestamp, commands: &mut Vec<Command>) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        let verdict = decide(&flight.head, ended, rules, now);
        flight.phase = Phase::Keeping {
            verdict,
            failures: 0,
            retry_at: None,
        };
        let head = flight.head.clone();
        if let Some(state) = self.lanes.get_mut(&head.lane) {
            match ended {
                Ended::Throttled => {
                    // It does not run any more, but has its place until that is written down.
                    state.running -= 1;
                    state.throttled(now);
                    state.running += 1;
                }
                Ended::Succeeded | Ended::Failed | Ended::PlatformFailed => state.ran(),
                Ended::Over(_) | Ended::Interrupted => {}
            }
        }
        commands.push(Command::Keep { head, verdict });
    }

    fn kept(&mut self, id: EventId, now: Timestamp) {
        self.store_worked();
        let Some(flight) = self.flights.remove(&id) else { return };
        let lane = flight.head.lane;
        if let Phase::Keeping {
            verdict: Verdict::Postpone { due, .. },
            ..
        } = flight.phase
        {
            self.expect(lane.clone(), due.max(now));
        }
        self.leave(&lane);
    }

    fn keep_failed(&mut self, id: EventId, now: Timestamp) {
        self.store_failed(now);
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        if self.stopping {
            // It stays leased: the next start knows that an attempt was under way.
            let lane = flight.head.lane.clone();
            self.flights.remove(&id);
            self.leave(&lane);
        } else if let Phase::Keeping { failures, retry_at, .. } = &mut flight.phase {
            *failures = failures.saturating_add(1);
            let at = now.plus(store_delay(*failures));
            *retry_at = Some(at);
            self.retries.insert((at, id));
        }
    }

    /// Writes again what could not be written.
    fn retry(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        while let Some((at, id)) = self.retries.first().copied()
            && (at <= now || self.stopping)
        {
            self.retries.pop_first();
            if let Some(flight) = self.flights.get_mut(&id)
                && let Phase::Keeping { verdict, retry_at, .. } = &mut flight.phase
            {
                *retry_at = None;
                let (head, verdict) = (flight.head.clone(), *verdict);
                commands.push(Command::Keep { head, verdict });
            }
        }
    }

    fn store_failed(&mut self, now: Timestamp) {
        self.store_failures = self.store_failures.saturating_add(1);
        self.store_rests_until = Some(now.plus(store_delay(self.store_failures)));
    }

    const fn store_worked(&mut self) {
        self.store_failures = 0;
        self.store_rests_until = None;
    }

    /// Lanes whose time has come get into the ring.
    fn promote(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            let Some((_, lane)) = self.timers.pop_first() else {
                break;
            };
            let Some(state) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if state.ringed {
                continue;
            }
            if state.has_work(now) {
                state.ringed = true;
                self.ring.push_back(lane);
            } else {
                // It was woken too early, after a pause perhaps: its next event needs a timer still.
                self.revisit(&lane);
            }
        }
    }

    /// Lets lanes begin events, one each in turn, while there are places.
    fn take_turns(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.store_rests_until.is_some_and(|until| until > now) {
            return;
        }
        let mut leases = Vec::new();
        let mut passed = 0;
        while passed < self.ring.len() && self.free() > 0 {
            let Some(lane) = self.ring.pop_front() else { break };
            match self.turn(&lane, now) {
                Turn::Began(head) => {
                    leases.push(head);
                    passed = 0;
                    self.ring.push_back(lane);
                }
                Turn::Reads { limit } => commands.push(Command::Read { lane, limit }),
                Turn::Passes => {
                    passed += 1;
                    self.ring.push_back(lane);
                }
                Turn::Leaves => {}
            }
        }
        if !leases.is_empty() {
            commands.push(Command::Lease(leases));
        }
    }

    fn turn(&mut self, lane: &Lane, now: Timestamp) -> Turn {
        let free = self.free();
        let Some(state) = self.lanes.get_mut(lane) else {
            return Turn::Leaves;
        };
        if let Some(until) = state.pause(now) {
            state.ringed = false;
            self.timers.insert((until, lane.clone()));
            return Turn::Leaves;
        }
        if !state.has_work(now) {
            state.ringed = false;
            self.revisit(lane);
            return Turn::Leaves;
        }
        if !state.has_room() {
            // Whichever of its events ends first brings it back.
            state.ringed = false;
            return Turn::Leaves;
        }
        if state.running >= free {
            return Turn::Passes;
        }
        let Some(head) = state.window.pop_front() else {
            state.ringed = false;
            state.reading = true;
            state.since_read = None;
            // Those that are being leased may still be read as free.
            let limit = self.options.window + state.running;
            return Turn::Reads { limit };
        };
        if self.flights.contains_key(&head.id) {
            return Turn::Passes;
        }
        state.running += 1;
        let phase = Phase::Leasing;
        let flight = Flight {
            head: head.clone(),
            phase,
        };
        self.flights.insert(head.id, flight);
        Turn::Began(head)
    }
}

/// What a lane did with its turn.
enum Turn {
    Began(EventHead),
    Reads { limit: usize },
    Passes,
    Leaves,
}

fn store_delay(failures: u32) -> Duration {
    let doubled = STORE_RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(STORE_RETRY_LONGEST)
}
