//! Hands each tick of every schedule to its owner, once.
//!
//! A tick is known by its schedule and its planned moment; both are in the token under which its owner accepts what the
//! tick makes, so that handing it over again changes nothing. Up to where a schedule is settled (its *cursor*) is stored
//! after its ticks were accepted: whatever moment the process dies at, ticks after the cursor are handed over again.
//!
//! When the clock is set back, cursors follow it: ticks that were accepted already are known by their tokens for longer
//! than any that are made up for. One timer runs, for the next tick of all, at most a minute long because the clock may be
//! set meanwhile; none while no schedule has a next tick.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use sonagi_crash::crash_point;
use sonagi_model::{Document, Timestamp};
use sonagi_ports::{Change, Clock, MetadataStore, Record, Token};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Due, LONGEST_GRACE, MissedRules, Plan, due};

#[cfg(test)]
mod tests;

/// For how long a tick is known: longer than any is made up for.
pub const TOKEN_WINDOW: Duration = Duration::from_secs(25 * 3600);
const _: () = assert!(TOKEN_WINDOW.as_secs() > LONGEST_GRACE.as_secs());

/// The set of documents that cursors are kept in.
const COLLECTION: &str = "triggers.cursors";
/// Schedules, at most.
const SCHEDULES_MAX: usize = 100_000;
/// Schedules whose ticks are handed over in one turn, and how many of them at a time.
const TURN: usize = 512;
const AT_ONCE: usize = 64;
/// The longest sleep.
const NAP: Duration = Duration::from_secs(60);
/// How much later a tick is tried again that its owner could not take.
const AGAIN: Duration = Duration::from_secs(1);

/// One tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Of which schedule.
    pub schedule: Arc<str>,
    /// For which moment.
    pub planned: Timestamp,
}

impl Tick {
    /// The token of what this tick makes; `part` tells several such things apart.
    #[must_use]
    pub fn token(&self, part: &str) -> Token {
        Token {
            scope: format!("tick {}", self.schedule),
            text: format!("{} {part}", self.planned.as_micros()),
            window: TOKEN_WINDOW,
        }
    }
}

/// A tick could not be taken; it is handed over again soon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TickError(pub String);

/// Takes the ticks of schedules.
#[async_trait]
pub trait OnTick: Send + Sync + std::fmt::Debug {
    /// Takes a tick: when this returns, whatever it makes is durable, by the tick's token only once. A tick whose target
    /// is gone is taken too: the owner sees to that.
    ///
    /// # Errors
    /// [`TickError`]: the tick is handed over again.
    async fn tick(&self, tick: &Tick) -> Result<(), TickError>;

    /// No tick will follow. May be called again after a restart.
    async fn over(&self, schedule: &str);
}

/// A schedule.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// When.
    pub plan: Plan,
    /// What becomes of missed ticks.
    pub rules: MissedRules,
    /// Ticks after this moment.
    pub since: Timestamp,
    /// Who takes them.
    pub owner: Arc<dyn OnTick>,
}

/// There are as many schedules as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {SCHEDULES_MAX} schedules already, which is the limit")]
pub struct TooManySchedules;

#[derive(Debug)]
struct Entry {
    scheduled: Scheduled,
    cursor: Timestamp,
    /// Where it is on the agenda.
    next: Option<Timestamp>,
    /// Tells what was set later under the same name apart.
    generation: u64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    agenda: BTreeSet<(Timestamp, Arc<str>)>,
    /// Without a next tick, and their owners do not know.
    over: Vec<(Arc<str>, Arc<dyn OnTick>)>,
    /// Cursors as they are stored.
    stored: BTreeMap<Arc<str>, Timestamp>,
    /// The moment that the clock showed last.
    seen: Option<Timestamp>,
    generations: u64,
}

/// What is to be handed over for one schedule.
struct Work {
    schedule: Arc<str>,
    owner: Arc<dyn OnTick>,
    due: Due,
    generation: u64,
}

/// What came of it.
struct Done {
    schedule: Arc<str>,
    generation: u64,
    cursor: Timestamp,
    handed: usize,
    failed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Clockwork {
    store: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Notify,
}

impl Clockwork {
    /// No schedule yet; cursors as they are among the records of the store.
    #[must_use]
    pub fn new(records: &[Record], store: Arc<dyn MetadataStore>, clock: Arc<dyn Clock>) -> Self {
        let mut state = State::default();
        for record in records {
            if let Record::Document { collection, key, value } = record
                && collection == COLLECTION
                && let Some(micros) = value.0.as_i64()
            {
                state.stored.insert(key.as_str().into(), Timestamp::from_micros(micros));
            }
        }
        Self {
            store,
            clock,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Adds a schedule, or puts it in the place of one of the same name. What was settled of that name, also by an earlier
    /// process, stays settled: a schedule that is to begin anew has a new name.
    ///
    /// # Errors
    /// [`TooManySchedules`].
    pub fn set(&self, schedule: &str, scheduled: Scheduled) -> Result<(), TooManySchedules> {
        let schedule: Arc<str> = schedule.into();
        {
            let mut state = self.state.lock();
            if state.entries.len() >= SCHEDULES_MAX && !state.entries.contains_key(&schedule) {
                return Err(TooManySchedules);
            }
            state.forget(&schedule);
            let stored = state.stored.get(&schedule).copied();
            let cursor = stored.map_or(scheduled.since, |stored| stored.max(scheduled.since));
            state.generations += 1;
            let generation = state.generations;
            let entry = Entry {
                scheduled,
                cursor,
                next: None,
                generation,
            };
            state.entries.insert(Arc::clone(&schedule), entry);
            state.plan(&schedule);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Removes a schedule. Its cursor is forgotten; one that could not be removed from the store is at the next start.
    pub async fn remove(&self, schedule: &str) {
        let stored = {
            let mut state = self.state.lock();
            state.forget(schedule);
            state.stored.remove(schedule).is_some()
        };
        if stored {
            self.commit(vec![removal(schedule)]).await;
        }
    }

    /// When a schedule ticks next; `None`: never, or there is no such schedule.
    #[must_use]
    pub fn next(&self, schedule: &str) -> Option<Timestamp> {
        self.state.lock().entries.get(schedule)?.next
    }

    /// Hands ticks over until it is stopped. To be called once, when every owner has set its schedules.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.forget_strays().await;
        loop {
            let wait = self.state.lock().wait(self.clock.now());
            let slept = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = slept => {}
            }
            self.turn().await;
        }
    }

    /// Hands over what is due now.
    async fn turn(&self) {
        let now = self.clock.now();
        let (work, over) = {
            let mut state = self.state.lock();
            state.look_at_clock(now);
            (state.take_due(now), std::mem::take(&mut state.over))
        };
        let done: Vec<Done> = futures_util::stream::iter(work)
            .map(hand_over)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        crash_point!("tick/handed");
        let changes = self.state.lock().settle(&done, now);
        if !changes.is_empty() {
            self.commit(changes).await;
            crash_point!("tick/kept");
        }
        for (schedule, owner) in over {
            owner.over(&schedule).await;
        }
    }

    /// Cursors of schedules that nobody has set.
    async fn forget_strays(&self) {
        let strays: Vec<Change> = {
            let mut state = self.state.lock();
            let State { entries, stored, .. } = &mut *state;
            let strays: Vec<_> = stored
                .keys()
                .filter(|schedule| !entries.contains_key(*schedule))
                .cloned()
                .collect();
            stored.retain(|schedule, _| entries.contains_key(schedule));
            strays.iter().map(|schedule| removal(schedule)).collect()
        };
        if !strays.is_empty() {
            self.commit(strays).await;
        }
    }

    /// What cannot be stored is only what makes the next start quicker: ticks are known by their tokens.
    async fn commit(&self, changes: Vec<Change>) {
        if let Err(error) = self.store.commit(changes).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cursors of schedules cannot be stored"
            );
        }
    }
}

async fn hand_over(work: Work) -> Done {
    let mut done = Done {
        schedule: Arc::clone(&work.schedule),
        generation: work.generation,
        cursor: work.due.cursor,
        handed: 0,
        failed: false,
    };
    for planned in work.due.ticks {
        let tick = Tick {
            schedule: Arc::clone(&work.schedule),
            planned,
        };
        if let Err(error) = work.owner.tick(&tick).await {
            tracing::warn!(schedule = %tick.schedule, error = %error.0, "a tick could not be taken; it is tried again");
            done.cursor = Timestamp::from_micros(planned.as_micros() - 1);
            done.failed = true;
            break;
        }
        done.handed += 1;
    }
    done
}

fn removal(schedule: &str) -> Change {
    Change::RemoveDocument {
        collection: COLLECTION.to_owned(),
        key: schedule.to_owned(),
    }
}

impl State {
    /// Takes a schedule off the agenda and away.
    fn forget(&mut self, schedule: &str) {
        if let Some((name, entry)) = self.entries.remove_entry(schedule)
            && let Some(next) = entry.next
        {
            self.agenda.remove(&(next, name));
        }
        self.over.retain(|(name, _)| **name != *schedule);
    }

    /// Puts a schedule on the agenda by its cursor.
    fn plan(&mut self, schedule: &Arc<str>) {
        let Some(entry) = self.entries.get_mut(schedule) else {
            return;
        };
        if let Some(next) = entry.next.take() {
            self.agenda.remove(&(next, Arc::clone(schedule)));
        }
        entry.next = entry.scheduled.plan.next(entry.cursor);
        match entry.next {
            Some(next) => {
                self.agenda.insert((next, Arc::clone(schedule)));
            }
            None => self
                .over
                .push((Arc::clone(schedule), Arc::clone(&entry.scheduled.owner))),
        }
    }

    fn wait(&self, now: Timestamp) -> Option<Duration> {
        if !self.over.is_empty() {
            return Some(Duration::ZERO);
        }
        let (next, _) = self.agenda.first()?;
        Some(next.since(now).min(NAP))
    }

    /// Cursors follow a clock that was set back, to before it can have been: that is noticed after the longest sleep.
    fn look_at_clock(&mut self, now: Timestamp) {
        if self.seen.is_some_and(|seen| now < seen) {
            let nap = i64::try_from(NAP.as_micros()).unwrap_or(i64::MAX);
            let settled = Timestamp::from_micros(now.as_micros().saturating_sub(nap));
            let ahead: Vec<Arc<str>> = self
                .entries
                .iter_mut()
                .filter(|(_, entry)| entry.cursor > settled)
                .map(|(name, entry)| {
                    entry.cursor = settled.max(entry.scheduled.since);
                    Arc::clone(name)
                })
                .collect();
            for schedule in ahead {
                self.plan(&schedule);
            }
        }
        self.seen = Some(now);
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<Work> {
        let due_now = self.agenda.iter().take_while(|(next, _)| *next <= now).take(TURN);
        let names: Vec<Arc<str>> = due_now.map(|(_, name)| Arc::clone(name)).collect();
        let work = names.into_iter().filter_map(|schedule| {
            let entry = self.entries.get(&schedule)?;
            let Scheduled { plan, rules, owner, .. } = &entry.scheduled;
            Some(Work {
                owner: Arc::clone(owner),
                due: due(plan, *rules, entry.cursor, now),
                generation: entry.generation,
                schedule,
            })
        });
        work.collect()
    }

    /// Takes note of what was handed over; what of it is to be stored.
    fn settle(&mut self, done: &[Done], now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for done in done {
            let Some(entry) = self.entries.get_mut(&done.schedule) else {
                continue;
            };
            if entry.generation != done.generation {
                continue;
            }
            entry.cursor = done.cursor;
            self.plan(&done.schedule);
            if done.failed {
                self.postpone(&done.schedule, now.plus(AGAIN));
            }
            if done.handed > 0 {
                self.stored.insert(Arc::clone(&done.schedule), done.cursor);
                changes.push(Change::Put(Record::Document {
                    collection: COLLECTION.to_owned(),
                    key: done.schedule.to_string(),
                    value: Document(done.cursor.as_micros().into()),
                }));
            }
        }
        changes
    }

    fn postpone(&mut self, schedule: &Arc<str>, to: Timestamp) {
        if let Some(entry) = self.entries.get_mut(schedule)
            && let Some(next) = entry.next.replace(to)
        {
            self.agenda.remove(&(next, Arc::clone(schedule)));
            self.agenda.insert((to, Arc::clone(schedule)));
        }
    }
}
