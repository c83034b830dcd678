//! Message queues in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{MessageId, QueueId, Timestamp};

use super::Faults;
use crate::{
    Fetch, Fetched, Message, MessageError, MessageStore, NewMessage, Order, Queue, QueueCounts, Receipt, Sent, Settled,
    Shown, StoreError,
};

/// A [`MessageStore`] that forgets everything with the process.
#[derive(Debug)]
pub struct FakeMessageStore {
    state: Mutex<State>,
    limit: usize,
    faults: Faults,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<QueueId, Queue>,
    messages: BTreeMap<u64, Held>,
    tokens: HashMap<(QueueId, String), (MessageId, u64, Timestamp)>,
    last: u64,
}

#[derive(Debug, Clone)]
struct Held {
    queue: QueueId,
    message: NewMessage,
    sent: Timestamp,
    visible: Timestamp,
    receives: u32,
    first_received: Option<Timestamp>,
    moved_from: Option<QueueId>,
}

impl FakeMessageStore {
    /// An empty store that holds so many messages.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            limit,
            faults: Faults::default(),
        }
    }

    /// What it is told to run into.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl State {
    fn queue(&self, id: QueueId) -> Result<Queue, MessageError> {
        self.queues.get(&id).cloned().ok_or(MessageError::NoQueue(id))
    }

    fn send(&mut self, queue: &Queue, message: NewMessage, now: Timestamp) -> Sent {
        if let Some(token) = &message.token
            && let Some((id, sequence, expires)) = self.tokens.get(&(queue.id, token.clone()))
            && *expires > now
        {
            let (id, sequence) = (*id, *sequence);
            return Sent {
                id,
                sequence,
                known: true,
            };
        }
        self.last += 1;
        let (id, sequence) = (message.id, self.last);
        if let Some(token) = &message.token {
            let expires = now.plus(queue.settings.window);
            self.tokens.insert((queue.id, token.clone()), (id, sequence, expires));
        }
        let held = Held {
            queue: queue.id,
            sent: now,
            visible: now.plus(message.delay),
            message,
            receives: 0,
            first_received: None,
            moved_from: None,
        };
        self.messages.insert(sequence, held);
        Sent {
            id,
            sequence,
            known: false,
        }
    }

    fn expired(&self, held: &Held, now: Timestamp) -> bool {
        let retention = self.queues.get(&held.queue).map(|queue| queue.settings.retention);
        retention.is_none_or(|retention| held.sent.plus(retention) <= now)
    }

    /// Messages of a queue that may be handed out, in the order in which they are.
    fn candidates(&self, queue: &Queue, now: Timestamp) -> Vec<u64> {
        let own = self.messages.iter().filter(|(_, held)| held.queue == queue.id);
        let own: Vec<(&u64, &Held)> = own.filter(|(_, held)| !self.expired(held, now)).collect();
        if queue.settings.order == Order::Loose {
            let mut visible: Vec<_> = own.iter().filter(|(_, held)| held.visible <= now).collect();
            visible.sort_by_key(|(sequence, held)| (held.visible, **sequence));
            return visible.iter().map(|(sequence, _)| **sequence).collect();
        }
        let in_flight = own.iter().filter(|(_, held)| held.receives > 0 && held.visible > now);
        let mut blocked: HashSet<&str> = in_flight.map(|(_, held)| held.message.group.as_str()).collect();
        let mut taken: HashMap<&str, (u64, usize)> = HashMap::new();
        let mut found = Vec::new();
        for (sequence, held) in own {
            let group = held.message.group.as_str();
            let (head, count) = taken.entry(group).or_insert((*sequence, 0));
            if held.visible > now || *count == Fetch::GROUP_MAX {
                blocked.insert(group);
            }
            if !blocked.contains(group) {
                *count += 1;
                found.push((*head, *sequence));
            }
        }
        // One group after the other.
        found.sort_unstable();
        found.into_iter().map(|(_, sequence)| sequence).collect()
    }

    /// Moves a message that was received too often; whether it was.
    fn redrive(&mut self, queue: &Queue, sequence: u64, now: Timestamp) -> Option<QueueId> {
        let redrive = queue.settings.redrive?;
        let target = self.queues.get(&redrive.target)?.clone();
        if self.messages.get(&sequence)?.receives < redrive.after {
            return None;
        }
        let mut held = self.messages.remove(&sequence)?;
        held.queue = target.id;
        held.moved_from = Some(queue.id);
        (held.receives, held.first_received, held.visible) = (0, None, now);
        if target.settings.order == Order::Groups {
            held.sent = now;
        }
        self.last += 1;
        self.messages.insert(self.last, held);
        Some(target.id)
    }

    fn hand_out(&mut self, sequence: u64, until: Timestamp, now: Timestamp) -> Option<Message> {
        let held = self.messages.get_mut(&sequence)?;
        held.receives += 1;
        held.visible = until;
        Some(Message {
            id: held.message.id,
            receipt: Receipt {
                sequence,
                lease: held.receives,
            },
            body: held.message.body.clone(),
            attributes: held.message.attributes.clone(),
            group: held.message.group.clone(),
            token: held.message.token.clone(),
            moved_from: held.moved_from,
            sent: held.sent,
            first_received: *held.first_received.get_or_insert(now),
        })
    }
}

#[async_trait]
impl MessageStore for FakeMessageStore {
    async fn queues(&self) -> Result<Vec<Queue>, StoreError> {
        self.faults.check("read queues")?;
        Ok(self.state.lock().queues.values().cloned().collect())
    }

    async fn put_queue(&self, queue: Queue) -> Result<(), StoreError> {
        self.faults.check("change a queue")?;
        let mut state = self.state.lock();
        let named = |other: &&Queue| (&other.namespace, &other.name) == (&queue.namespace, &queue.name);
        if state
            .queues
            .values()
            .find(named)
            .is_some_and(|other| other.id != queue.id)
        {
            return Err(StoreError::Database {
                action: "change a queue",
                source: format!("queue {} exists already in {}", queue.name, queue.namespace).into(),
            });
        }
        state.queues.insert(queue.id, queue);
        Ok(())
    }

    async fn remove_queue(&self, id: QueueId) -> Result<bool, StoreError> {
        self.faults.check("change a queue")?;
        let mut state = self.state.lock();
        state.messages.retain(|_, held| held.queue != id);
        state.tokens.retain(|(queue, _), _| *queue != id);
        Ok(state.queues.remove(&id).is_some())
    }

    async fn send(&self, queue: QueueId, messages: Vec<NewMessage>, now: Timestamp) -> Result<Vec<Sent>, MessageError> {
        self.faults.check("send messages")?;
        messages.iter().try_for_each(NewMessage::check)?;
        let mut state = self.state.lock();
        let queue = state.queue(queue)?;
        if state.messages.len() + messages.len() > self.limit {
            let (what, limit) = ("store of messages", self.limit);
            return Err(StoreError::Busy { what, limit }.into());
        }
        Ok(messages
            .into_iter()
            .map(|message| {
                let grouped = queue.settings.order == Order::Groups;
                let group = if grouped { message.group.clone() } else { String::new() };
                state.send(&queue, NewMessage { group, ..message }, now)
            })
            .collect())
    }

    async fn receive(&self, fetch: Fetch, now: Timestamp) -> Result<Fetched, MessageError> {
        self.faults.check("receive messages")?;
        let mut state = self.state.lock();
        let queue = state.queue(fetch.queue)?;
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        for sequence in state.candidates(&queue, now) {
            let size = state.messages.get(&sequence).map_or(0, |held| held.message.body.len());
            if fetched.messages.len() == fetch.limit.min(Fetch::LIMIT_MAX)
                || (!fetched.messages.is_empty() && bytes + size > fetch.bytes)
            {
                break;
            }
            if let Some(target) = state.redrive(&queue, sequence, now) {
                fetched.moved_to = Some(target);
                continue;
            }
            bytes += size;
            let message = state.hand_out(sequence, now.plus(fetch.visibility), now);
            fetched.messages.extend(message);
        }
        let own = state.messages.values().filter(|held| held.queue == fetch.queue);
        fetched.next = own.map(|held| held.visible).filter(|visible| *visible > now).min();
        fetched.surplus = state.messages.values().any(|held| state.expired(held, now));
        Ok(fetched)
    }

    async fn delete(
        &self,
        queue: QueueId,
        receipts: Vec<Receipt>,
        now: Timestamp,
    ) -> Result<Vec<Settled>, MessageError> {
        self.faults.check("delete messages")?;
        let mut state = self.state.lock();
        let queue = state.queue(queue)?;
        let mut delete = |receipt: Receipt| match state.messages.get(&receipt.sequence) {
            None => Settled::Gone,
            Some(held) if held.queue != queue.id || held.receives != receipt.lease => Settled::Stale,
            Some(held) if queue.settings.order == Order::Groups && held.visible <= now => Settled::Expired,
            Some(_) => {
                state.messages.remove(&receipt.sequence);
                Settled::Deleted
            }
        };
        Ok(receipts.into_iter().map(&mut delete).collect())
    }

    async fn change_visibility(
        &self,
        queue: QueueId,
        changes: Vec<(Receipt, Duration)>,
        now: Timestamp,
    ) -> Result<Vec<Shown>, MessageError> {
        self.faults.check("change visibility")?;
        let mut state = self.state.lock();
        let queue = state.queue(queue)?;
        let mut change = |(receipt, visibility): (Receipt, Duration)| {
            let held = state.messages.get_mut(&receipt.sequence);
            let Some(held) = held.filter(|held| held.queue == queue.id) else {
                return Shown::Gone;
            };
            if held.receives != receipt.lease || held.visible <= now {
                return Shown::NotInFlight;
            }
            held.visible = now.plus(visibility);
            Shown::Changed
        };
        Ok(changes.into_iter().map(&mut change).collect())
    }

    async fn purge(&self, queue: QueueId) -> Result<(), MessageError> {
        self.faults.check("change a queue")?;
        let mut state = self.state.lock();
        state.queue(queue)?;
        state.messages.retain(|_, held| held.queue != queue);
        state.tokens.retain(|(owner, _), _| *owner != queue);
        Ok(())
    }

    async fn counts(&self, queue: QueueId, now: Timestamp) -> Result<QueueCounts, MessageError> {
        self.faults.check("read queues")?;
        let state = self.state.lock();
        state.queue(queue)?;
        let mut counts = QueueCounts::default();
        let own = state.messages.values().filter(|held| held.queue == queue);
        for held in own.filter(|held| !state.expired(held, now)) {
            match (held.visible > now, held.receives > 0) {
                (false, _) => counts.visible += 1,
                (true, true) => counts.in_flight += 1,
                (true, false) => counts.delayed += 1,
            }
        }
        Ok(counts)
    }

    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.faults.check("sweep messages")?;
        let mut state = self.state.lock();
        let old = state.messages.iter().filter(|(_, held)| state.expired(held, now));
        let old: Vec<u64> = old.map(|(sequence, _)| *sequence).collect();
        for sequence in old {
            state.messages.remove(&sequence);
        }
        Ok(false)
    }
}
