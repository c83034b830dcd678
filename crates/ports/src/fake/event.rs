//! An event queue in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sonagi_model::{EventId, RunRecord, Timestamp};

use super::{FakeRunStore, Faults};
use crate::{
    AcceptError, Accepted, Cancelled, DuePage, EventFilter, EventHead, EventQueue, EventState, EventStatus,
    EventTotals, EventView, Lane, Lease, Postponement, Progress, QueuedEvent, Settlement, StoreError, Token,
};

/// An [`EventQueue`] that forgets everything with the process, and no content of ended events before. Records of attempts
/// go to the ledger that it shares.
#[derive(Debug)]
pub struct FakeEventQueue {
    state: Mutex<State>,
    runs: Arc<FakeRunStore>,
    limit: usize,
    faults: Faults,
}

#[derive(Debug, Default)]
struct State {
    pending: BTreeMap<EventId, Pending>,
    ended: BTreeMap<EventId, EndedEvent>,
    tokens: HashMap<(String, String), (EventId, Timestamp, Bytes)>,
}

#[derive(Debug, Clone)]
struct Pending {
    event: QueuedEvent,
    progress: Progress,
    leased: bool,
    cancelled: bool,
}

#[derive(Debug, Clone)]
struct EndedEvent {
    event: QueuedEvent,
    settlement: Settlement,
    letter: bool,
    kept: bool,
}

impl Pending {
    fn new(event: QueuedEvent, lease: Lease) -> Self {
        Self {
            event,
            progress: Progress::default(),
            leased: lease == Lease::Taken,
            cancelled: false,
        }
    }

    fn head(&self) -> EventHead {
        EventHead {
            progress: self.progress,
            cancelled: self.cancelled,
            ..self.event.head()
        }
    }

    fn view(&self) -> EventView {
        let state = if self.leased {
            EventState::Running
        } else {
            EventState::Waiting
        };
        view(&self.event, self.progress, state, (true, false))
    }
}

impl EndedEvent {
    fn view(&self) -> EventView {
        let state = EventState::Ended(self.settlement.clone());
        view(
            &self.event,
            self.settlement.progress,
            state,
            (self.kept, self.letter && self.kept),
        )
    }
}

fn view(event: &QueuedEvent, progress: Progress, state: EventState, (kept, letter): (bool, bool)) -> EventView {
    EventView {
        id: event.id,
        route: event.route.clone(),
        namespace: event.namespace.clone(),
        name: event.name.clone(),
        origin: event.origin,
        accepted: event.accepted,
        due: event.due,
        progress,
        state,
        bytes: event.payload.len() as u64,
        kept,
        letter,
    }
}

impl State {
    fn all(&self) -> Vec<EventView> {
        let pending = self.pending.values().map(Pending::view);
        let mut all: Vec<_> = pending.chain(self.ended.values().map(EndedEvent::view)).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.id));
        all
    }

    fn page(&self, filter: &EventFilter, wanted: impl Fn(&EventView) -> bool) -> Vec<EventView> {
        let fits = |view: &EventView| {
            filter.namespace.as_ref().is_none_or(|wanted| view.namespace == *wanted)
                && filter.name.as_ref().is_none_or(|wanted| view.name == *wanted)
                && filter.before.is_none_or(|before| view.id < before)
        };
        let all = self.all().into_iter();
        all.filter(|view| fits(view) && wanted(view))
            .take(filter.limit())
            .collect()
    }
}

impl FakeEventQueue {
    /// An empty queue for at most `limit` pending events.
    #[must_use]
    pub fn new(runs: Arc<FakeRunStore>, limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            runs,
            limit,
            faults: Faults::default(),
        }
    }

    /// What it is told to run into.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How an event ended; `None`: it has not, or was never accepted.
    #[must_use]
    pub fn settlement(&self, id: EventId) -> Option<Settlement> {
        self.state.lock().ended.get(&id).map(|ended| ended.settlement.clone())
    }

    /// Every pending event, in order of acceptance of their ids.
    #[must_use]
    pub fn waiting(&self) -> Vec<EventHead> {
        self.state.lock().pending.values().map(Pending::head).collect()
    }
}

#[async_trait]
impl EventQueue for FakeEventQueue {
    async fn accept(&self, event: QueuedEvent, token: Option<Token>, lease: Lease) -> Result<Accepted, AcceptError> {
        self.faults.check("accept an event")?;
        let mut state = self.state.lock();
        if let Some(token) = &token
            && let Some((id, expires, payload)) = state.tokens.get(&(token.scope.clone(), token.text.clone()))
            && *expires > event.accepted
        {
            let text = token.text.clone();
            return if *payload == event.payload {
                Ok(Accepted::Known(*id))
            } else {
                Err(AcceptError::TokenReused { text, known: *id })
            };
        }
        if state.pending.contains_key(&event.id) || state.ended.contains_key(&event.id) {
            return Ok(Accepted::Known(event.id));
        }
        if state.pending.len() >= self.limit {
            return Err(AcceptError::Store(StoreError::Busy {
                what: "event queue",
                limit: self.limit,
            }));
        }
        if let Some(token) = token {
            let expires = event.accepted.plus(token.window);
            let known = (event.id, expires, event.payload.clone());
            state.tokens.insert((token.scope, token.text), known);
        }
        let id = event.id;
        state.pending.insert(id, Pending::new(event, lease));
        Ok(Accepted::New(id))
    }

    async fn lanes(&self) -> Result<Vec<(Lane, Timestamp)>, StoreError> {
        self.faults.check("read lanes")?;
        let mut lanes: BTreeMap<Lane, Timestamp> = BTreeMap::new();
        for pending in self.state.lock().pending.values().filter(|pending| !pending.leased) {
            let due = lanes.entry(pending.event.route.lane()).or_insert(pending.event.due);
            *due = pending.event.due.min(*due);
        }
        Ok(lanes.into_iter().collect())
    }

    async fn due(&self, lane: &Lane, now: Timestamp, limit: usize) -> Result<DuePage, StoreError> {
        self.faults.check("read due events")?;
        let state = self.state.lock();
        let free = state.pending.values().filter(|pending| !pending.leased);
        let mut heads: Vec<_> = free.map(Pending::head).filter(|head| head.lane == *lane).collect();
        heads.sort_by_key(|head| (head.due, head.id));
        let due = heads.iter().take_while(|head| head.due <= now).count().min(limit);
        let next = heads.get(due).map(|head| head.due);
        heads.truncate(due);
        Ok(DuePage { heads, next })
    }

    async fn lease(&self, heads: Vec<EventHead>) -> Result<Vec<EventId>, StoreError> {
        self.faults.check("lease events")?;
        let mut state = self.state.lock();
        let mut lease = |head: &EventHead| {
            let found = state.pending.get_mut(&head.id);
            let found = found.filter(|pending| !pending.leased && pending.head() == *head);
            found.map(|pending| pending.leased = true).is_some()
        };
        Ok(heads.iter().filter(|head| lease(head)).map(|head| head.id).collect())
    }

    async fn leased(&self, after: Option<EventId>, limit: usize) -> Result<Vec<EventHead>, StoreError> {
        self.faults.check("read leased events")?;
        let state = self.state.lock();
        let leased = state.pending.values().filter(|pending| pending.leased);
        let later = leased.filter(|pending| after.is_none_or(|after| pending.event.id > after));
        Ok(later.take(limit).map(Pending::head).collect())
    }

    async fn load(&self, id: EventId) -> Result<Option<QueuedEvent>, StoreError> {
        self.faults.check("read an event")?;
        Ok(self.state.lock().pending.get(&id).map(|pending| pending.event.clone()))
    }

    async fn postpone(&self, id: EventId, next: Postponement, record: Option<RunRecord>) -> Result<(), StoreError> {
        self.faults.check("postpone an event")?;
        let mut state = self.state.lock();
        let pending = state.pending.get_mut(&id).ok_or(StoreError::NotPending(id))?;
        pending.progress = next.progress;
        pending.event.due = next.due;
        pending.leased = false;
        record.into_iter().for_each(|record| self.runs.keep(record));
        Ok(())
    }

    async fn settle(
        &self,
        id: EventId,
        settlement: Settlement,
        record: Option<RunRecord>,
        follow_ups: Vec<QueuedEvent>,
    ) -> Result<(), StoreError> {
        self.faults.check("settle an event")?;
        let mut state = self.state.lock();
        let pending = state.pending.remove(&id).ok_or(StoreError::NotPending(id))?;
        let letter = settlement.status.is_dead();
        let ended = EndedEvent {
            event: pending.event,
            settlement,
            letter,
            kept: true,
        };
        state.ended.insert(id, ended);
        for event in follow_ups {
            state.pending.insert(event.id, Pending::new(event, Lease::Free));
        }
        record.into_iter().for_each(|record| self.runs.keep(record));
        Ok(())
    }

    async fn cancel(&self, id: EventId, at: Timestamp) -> Result<Cancelled, StoreError> {
        self.faults.check("cancel an event")?;
        let mut state = self.state.lock();
        let Some(pending) = state.pending.get_mut(&id) else {
            return Ok(Cancelled::NotPending);
        };
        pending.cancelled = true;
        if pending.leased {
            return Ok(Cancelled::AfterAttempt);
        }
        let ended = EndedEvent {
            event: pending.event.clone(),
            settlement: Settlement::new(EventStatus::Cancelled, at, pending.progress),
            letter: false,
            kept: true,
        };
        state.pending.remove(&id);
        state.ended.insert(id, ended);
        Ok(Cancelled::Now)
    }

    async fn repeat(&self, id: EventId, new: EventId, at: Timestamp) -> Result<Option<QueuedEvent>, AcceptError> {
        self.faults.check("repeat an event")?;
        let mut state = self.state.lock();
        let Some(ended) = state.ended.get_mut(&id).filter(|ended| ended.kept) else {
            return Ok(None);
        };
        let event = QueuedEvent {
            id: new,
            origin: Some(id),
            accepted: at,
            due: at,
            ..ended.event.clone()
        };
        (ended.kept, ended.letter) = (!ended.letter, false);
        state.pending.insert(new, Pending::new(event.clone(), Lease::Free));
        Ok(Some(event))
    }

    async fn drop_letter(&self, id: EventId) -> Result<bool, StoreError> {
        self.faults.check("drop a dead letter")?;
        let mut state = self.state.lock();
        let letter = state.ended.get_mut(&id).filter(|ended| ended.letter);
        Ok(letter
            .map(|ended| (ended.kept, ended.letter) = (false, false))
            .is_some())
    }

    async fn letters(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError> {
        self.faults.check("read dead letters")?;
        Ok(self.state.lock().page(&filter, |view| view.letter))
    }

    async fn recent(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError> {
        self.faults.check("read events")?;
        Ok(self.state.lock().page(&filter, |_| true))
    }

    async fn find(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        self.faults.check("read an event")?;
        let state = self.state.lock();
        let pending = state.pending.get(&id).map(Pending::view);
        Ok(pending.or_else(|| state.ended.get(&id).map(EndedEvent::view)))
    }

    async fn offspring(&self, id: EventId) -> Result<Vec<EventView>, StoreError> {
        self.faults.check("read events")?;
        let mut all = self.state.lock().all();
        all.retain(|view| view.origin == Some(id));
        all.reverse();
        all.truncate(100);
        Ok(all)
    }

    async fn content(&self, id: EventId) -> Result<Option<Bytes>, StoreError> {
        self.faults.check("read an event")?;
        let state = self.state.lock();
        let pending = state.pending.get(&id).map(|pending| pending.event.payload.clone());
        let ended = || state.ended.get(&id).filter(|ended| ended.kept);
        Ok(pending.or_else(|| ended().map(|ended| ended.event.payload.clone())))
    }

    async fn totals(&self) -> Result<EventTotals, StoreError> {
        self.faults.check("count events")?;
        let state = self.state.lock();
        let mut totals = EventTotals {
            accepted: (state.pending.len() + state.ended.len()) as u64,
            pending: state.pending.len() as u64,
            pending_bytes: state
                .pending
                .values()
                .map(|pending| pending.event.payload.len() as u64)
                .sum(),
            letters: state.ended.values().filter(|ended| ended.letter).count() as u64,
            ..EventTotals::default()
        };
        for ended in state.ended.values() {
            let place = EventStatus::ALL
                .iter()
                .position(|status| *status == ended.settlement.status);
            totals.ended[place.expect("every status is listed")] += 1;
        }
        Ok(totals)
    }
}
