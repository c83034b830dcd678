//! The queues of a platform.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sonagi_model::{Namespace, QueueId, Timestamp};
use sonagi_ports::{
    Clock, Fetch, Fetched, Message, MessageError, MessageStore, NewMessage, Order, Queue, QueueCounts, Receipt, Sent,
    Settled, Shown, StoreError,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::Catalog;
use crate::door::{Door, Look};

/// Queues of a node.
const QUEUES_MAX: usize = 10_000;
/// Requests that wait for messages at once; further ones are answered without waiting.
const WAITING_MAX: usize = 4096;
/// How soon a message that is visible by the store's word, and was not handed out, is asked for again. Only a clock that
/// was set back makes that happen.
const SOONEST: Duration = Duration::from_millis(1);

/// A queue cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// One of its name is there.
    #[error("queue {} exists already", .0.name)]
    Exists(Arc<Queue>),
    /// It is gone.
    #[error("there is no queue {0}")]
    Missing(QueueId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A request for messages.
#[derive(Debug, Clone, Copy)]
pub struct Receive {
    /// Which.
    pub fetch: Fetch,
    /// For how long to wait for the first one.
    pub wait: Duration,
}

/// The queues. Clones are handles on the same ones.
#[derive(Debug, Clone)]
pub struct Queues {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn MessageStore>,
    clock: Arc<dyn Clock>,
    catalog: ArcSwap<Catalog>,
    /// Held by whoever changes the catalog.
    turn: tokio::sync::Mutex<()>,
    doors: Mutex<HashMap<QueueId, Arc<Door>>>,
    waiting: Semaphore,
    sweeping: AtomicBool,
    tasks: TaskTracker,
    runtime: Handle,
    stop: CancellationToken,
}

impl Queues {
    /// Takes up the queues of a store. To be called on a tokio runtime. When `stop` is cancelled nobody waits any more;
    /// tasks run in `tasks`.
    ///
    /// # Errors
    /// [`StoreError`]: they cannot be read.
    pub async fn open(
        store: Arc<dyn MessageStore>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let catalog = Catalog::of(store.queues().await?);
        let inner = Inner {
            store,
            clock,
            catalog: ArcSwap::from_pointee(catalog),
            turn: tokio::sync::Mutex::default(),
            doors: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
            sweeping: AtomicBool::new(false),
            tasks,
            runtime: Handle::current(),
            stop,
        };
        let queues = Self { inner: Arc::new(inner) };
        // What an earlier process did not get to.
        queues.sweep();
        Ok(queues)
    }

    /// A queue by its id.
    #[must_use]
    pub fn get(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.inner.catalog.load().get(id)
    }

    /// A queue by its name.
    #[must_use]
    pub fn find(&self, namespace: &Namespace, name: &str) -> Option<Arc<Queue>> {
        self.inner.catalog.load().find(namespace, name)
    }

    /// The queues of a namespace, by name.
    #[must_use]
    pub fn list(&self, namespace: &Namespace) -> Vec<Arc<Queue>> {
        self.inner.catalog.load().list(namespace)
    }

    /// Every queue, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.inner.catalog.load().all()
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// [`ChangeError`]; [`StoreError::Busy`] when there are too many.
    pub async fn create(&self, queue: Queue) -> Result<Arc<Queue>, ChangeError> {
        let inner = &self.inner;
        let _turn = inner.turn.lock().await;
        if let Some(known) = self.find(&queue.namespace, &queue.name) {
            return Err(ChangeError::Exists(known));
        }
        if inner.catalog.load().len() >= QUEUES_MAX {
            return Err(ChangeError::Store(StoreError::Busy {
                what: "list of queues",
                limit: QUEUES_MAX,
            }));
        }
        self.put(queue).await
    }

    /// Changes a queue's settings and document.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing changed.
    pub async fn alter(&self, id: QueueId, change: impl FnOnce(&mut Queue)) -> Result<Arc<Queue>, ChangeError> {
        let _turn = self.inner.turn.lock().await;
        let mut queue = (*self.get(id).ok_or(ChangeError::Missing(id))?).clone();
        change(&mut queue);
        self.put(queue).await
    }

    async fn put(&self, queue: Queue) -> Result<Arc<Queue>, ChangeError> {
        let inner = &self.inner;
        inner.store.put_queue(queue.clone()).await?;
        let (id, next) = (queue.id, inner.catalog.load_full());
        inner.catalog.store(Arc::new((*next).clone().with(queue)));
        self.get(id).ok_or(ChangeError::Missing(id))
    }

    /// Removes a queue with its messages.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn remove(&self, id: QueueId) -> Result<(), ChangeError> {
        let inner = &self.inner;
        let _turn = inner.turn.lock().await;
        if !inner.store.remove_queue(id).await? {
            return Err(ChangeError::Missing(id));
        }
        let next = inner.catalog.load_full();
        inner.catalog.store(Arc::new((*next).clone().without(id)));
        // Those who wait find out that it is gone.
        if let Some(door) = inner.doors.lock().remove(&id) {
            door.wake();
        }
        self.sweep();
        Ok(())
    }

    /// Sends messages, all or none; durable when it returns.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn send(&self, queue: QueueId, messages: Vec<NewMessage>) -> Result<Vec<Sent>, MessageError> {
        let inner = &self.inner;
        let sent = inner.store.send(queue, messages, inner.clock.now()).await?;
        self.wake(queue);
        Ok(sent)
    }

    /// Receives messages. Waits for the first one if there is none.
    ///
    /// # Errors
    /// [`MessageError`]; also when the queue goes away meanwhile.
    pub async fn receive(&self, receive: Receive) -> Result<Vec<Message>, MessageError> {
        let inner = &self.inner;
        let door = self.door(receive.fetch.queue)?;
        let permit = (receive.wait > Duration::ZERO)
            .then(|| inner.waiting.try_acquire().ok())
            .flatten();
        let deadline = Instant::now() + receive.wait;
        loop {
            let changed = door.waiter();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let version = door.version();
            if door.look(version, inner.clock.now()) == Look::Ask {
                let fetched = self.fetch(receive.fetch, &door, version).await?;
                if !fetched.messages.is_empty() {
                    return Ok(fetched.messages);
                }
            }
            let now = inner.clock.now();
            let due = match door.look(version, now) {
                Look::Ask => SOONEST,
                Look::Wait(Some(until)) => until.since(now).max(SOONEST),
                Look::Wait(None) => receive.wait,
            };
            if permit.is_none() || Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + due)) => {}
                () = inner.stop.cancelled() => return Ok(Vec::new()),
            }
            if self.get(receive.fetch.queue).is_none() {
                return Err(MessageError::NoQueue(receive.fetch.queue));
            }
        }
    }

    async fn fetch(&self, fetch: Fetch, door: &Door, version: u64) -> Result<Fetched, MessageError> {
        let inner = &self.inner;
        let fetched = inner.store.receive(fetch, inner.clock.now()).await?;
        if let Some(target) = fetched.moved_to {
            self.wake(target);
        }
        if fetched.surplus {
            self.sweep();
        }
        if fetched.messages.is_empty() {
            door.found_nothing(version, fetched.next);
        }
        Ok(fetched)
    }

    /// Deletes messages; one answer for each receipt.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn delete(&self, queue: QueueId, receipts: Vec<Receipt>) -> Result<Vec<Settled>, MessageError> {
        let inner = &self.inner;
        let settled = inner.store.delete(queue, receipts, inner.clock.now()).await?;
        // The next message of a group may be free now.
        if self
            .get(queue)
            .is_some_and(|queue| queue.settings.order == Order::Groups)
        {
            self.wake(queue);
        }
        Ok(settled)
    }

    /// Makes messages in flight visible so much later from now on; one answer for each.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn change_visibility(
        &self,
        queue: QueueId,
        changes: Vec<(Receipt, Duration)>,
    ) -> Result<Vec<Shown>, MessageError> {
        let inner = &self.inner;
        let shown = inner.store.change_visibility(queue, changes, inner.clock.now()).await?;
        self.wake(queue);
        Ok(shown)
    }

    /// Throws all messages of a queue away.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn purge(&self, queue: QueueId) -> Result<(), MessageError> {
        self.inner.store.purge(queue).await?;
        self.sweep();
        Ok(())
    }

    /// Counts messages.
    ///
    /// # Errors
    /// [`MessageError`].
    pub async fn counts(&self, queue: QueueId) -> Result<QueueCounts, MessageError> {
        self.inner.store.counts(queue, self.inner.clock.now()).await
    }

    /// The moment by the queues' clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn door(&self, id: QueueId) -> Result<Arc<Door>, MessageError> {
        if self.get(id).is_none() {
            return Err(MessageError::NoQueue(id));
        }
        Ok(Arc::clone(self.inner.doors.lock().entry(id).or_default()))
    }

    fn wake(&self, id: QueueId) {
        let door = self.inner.doors.lock().get(&id).cloned();
        if let Some(door) = door {
            door.wake();
        }
    }

    /// Frees what is gone in the background, once at a time; then whatever stood before it may be handed out.
    fn sweep(&self) {
        let inner = &self.inner;
        if inner.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let queues = self.clone();
        let work = async move {
            let inner = &queues.inner;
            loop {
                match inner.store.sweep(inner.clock.now()).await {
                    Ok(true) if !inner.stop.is_cancelled() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "messages that are gone still take room; the next sweep goes on");
                        break;
                    }
                }
            }
            inner.sweeping.store(false, Ordering::SeqCst);
            let doors: Vec<_> = inner.doors.lock().values().cloned().collect();
            doors.iter().for_each(|door| door.wake());
        };
        inner.tasks.spawn_on(work, &inner.runtime);
    }
}
