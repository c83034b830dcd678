//! The queue of asynchronous invocations in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{EventId, RunRecord, Timestamp};

use super::{FakeRunStore, Faults};
use crate::{EventQueue, QueuedEvent, Settlement, StoreError};

/// An [`EventQueue`] that forgets everything with the process. Records of attempts go to the ledger that it shares.
#[derive(Debug)]
pub struct FakeEventQueue {
    state: Mutex<State>,
    runs: Arc<FakeRunStore>,
    limit: usize,
    faults: Faults,
}

#[derive(Debug, Default)]
struct State {
    pending: BTreeMap<EventId, QueuedEvent>,
    settled: BTreeMap<EventId, Settlement>,
}

/// An event is not in the queue, or already in it.
#[derive(Debug, thiserror::Error)]
#[error("event {id} is {state}")]
struct WrongState {
    id: EventId,
    state: &'static str,
}

fn wrong(action: &'static str, id: EventId, state: &'static str) -> StoreError {
    StoreError::Database {
        action,
        source: Box::new(WrongState { id, state }),
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
        self.state.lock().settled.get(&id).cloned()
    }

    /// Every pending event, in order of acceptance of their ids.
    #[must_use]
    pub fn waiting(&self) -> Vec<QueuedEvent> {
        self.state.lock().pending.values().cloned().collect()
    }
}

#[async_trait]
impl EventQueue for FakeEventQueue {
    async fn accept(&self, event: QueuedEvent) -> Result<(), StoreError> {
        self.faults.check("accept an event")?;
        let mut state = self.state.lock();
        if state.pending.contains_key(&event.id) || state.settled.contains_key(&event.id) {
            return Err(wrong("accept an event", event.id, "already accepted"));
        }
        if state.pending.len() >= self.limit {
            return Err(StoreError::Busy {
                what: "event queue",
                limit: self.limit,
            });
        }
        state.pending.insert(event.id, event);
        Ok(())
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<QueuedEvent>, StoreError> {
        self.faults.check("read due events")?;
        let mut due: Vec<QueuedEvent> = self
            .state
            .lock()
            .pending
            .values()
            .filter(|event| event.due <= now)
            .cloned()
            .collect();
        due.sort_by_key(|event| (event.due, event.id));
        due.truncate(limit);
        Ok(due)
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.faults.check("read due events")?;
        Ok(self
            .state
            .lock()
            .pending
            .values()
            .map(|event| event.due)
            .filter(|due| *due > now)
            .min())
    }

    async fn postpone(
        &self,
        id: EventId,
        attempts: u32,
        due: Timestamp,
        record: Option<RunRecord>,
    ) -> Result<(), StoreError> {
        self.faults.check("postpone an event")?;
        let mut state = self.state.lock();
        let event = state
            .pending
            .get_mut(&id)
            .ok_or_else(|| wrong("postpone an event", id, "not pending"))?;
        event.attempts = attempts;
        event.due = due;
        if let Some(record) = record {
            self.runs.keep(record);
        }
        Ok(())
    }

    async fn settle(&self, id: EventId, settlement: Settlement, record: Option<RunRecord>) -> Result<(), StoreError> {
        self.faults.check("settle an event")?;
        let mut state = self.state.lock();
        state
            .pending
            .remove(&id)
            .ok_or_else(|| wrong("settle an event", id, "not pending"))?;
        state.settled.insert(id, settlement);
        if let Some(record) = record {
            self.runs.keep(record);
        }
        Ok(())
    }

    async fn pending(&self) -> Result<u64, StoreError> {
        self.faults.check("count events")?;
        Ok(self.state.lock().pending.len() as u64)
    }
}
