//! Durable message queues: who sends gets an acknowledgement that holds, who receives has the message for himself until
//! its time is over or he deletes it.
//!
//! A receipt is a fencing token: it names one receipt of one message and is worth nothing once the message was received
//! again, deleted, or moved.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::{Document, MessageId, Namespace, QueueId, Timestamp};

use crate::{Attributes, StoreError};

/// In which order messages are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// About in the order in which they become visible; nothing waits for anything else.
    Loose,
    /// Within a group exactly as sent; while messages of a group are in flight, no other of it is handed out.
    Groups,
}

/// What becomes of messages that are received again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// The queue that they are moved to.
    pub target: QueueId,
    /// A message that was received so often is moved instead of being handed out once more.
    pub after: u32,
}

/// What the store itself goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Never changes.
    pub order: Order,
    /// A message older than this is gone. A change holds for messages that are there already.
    pub retention: Duration,
    /// For how long two messages with one token are one message.
    pub window: Duration,
    /// Where messages end that nobody deletes; nowhere if the target is gone.
    pub redrive: Option<Redrive>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Identity.
    pub id: QueueId,
    /// Where its name is unique.
    pub namespace: Namespace,
    /// Its name, at most [`Queue::NAME_MAX`] bytes.
    pub name: String,
    /// What the store goes by.
    pub settings: QueueSettings,
    /// When it was made.
    pub created: Timestamp,
    /// What its provider knows of it.
    pub document: Document,
}

impl Queue {
    /// Longest name, bytes.
    pub const NAME_MAX: usize = 256;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// Identity.
    pub id: MessageId,
    /// Its content, at most [`NewMessage::BODY_MAX`] bytes.
    pub body: Bytes,
    /// What goes with it, in the provider's words.
    pub attributes: Attributes,
    /// How much later it becomes visible.
    pub delay: Duration,
    /// Its group, in a queue with groups; ignored otherwise. At most [`NewMessage::NAME_MAX`] bytes.
    pub group: String,
    /// Makes sending it twice within the queue's window send it once. At most [`NewMessage::NAME_MAX`] bytes.
    pub token: Option<String>,
}

impl NewMessage {
    /// Largest body, bytes.
    pub const BODY_MAX: usize = 16 * 1024 * 1024;
    /// Longest group or token, bytes.
    pub const NAME_MAX: usize = 512;
}

/// What became of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message, or the earlier one with the same token.
    pub id: MessageId,
    /// Its place in the order of all messages; larger for later ones.
    pub sequence: u64,
    /// Whether an earlier message with the same token was meant.
    pub known: bool,
}

/// The right to delete a message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The message's place in the order.
    pub sequence: u64,
    /// The how-manieth receipt of it this is.
    pub lease: u32,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Identity.
    pub id: MessageId,
    /// The right to delete it; its `lease` is how often the message was received from this queue, this time included.
    pub receipt: Receipt,
    /// Its content.
    pub body: Bytes,
    /// What goes with it.
    pub attributes: Attributes,
    /// Its group; empty in queues without.
    pub group: String,
    /// The token that it was sent with.
    pub token: Option<String>,
    /// The queue that it was moved from, if it was moved.
    pub moved_from: Option<QueueId>,
    /// When it was sent.
    pub sent: Timestamp,
    /// When it was received first from this queue.
    pub first_received: Timestamp,
}

/// A request for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Of which queue.
    pub queue: QueueId,
    /// At most so many, at least 1; more than [`Fetch::LIMIT_MAX`] means that.
    pub limit: usize,
    /// At most so many bytes of bodies, but always one message.
    pub bytes: usize,
    /// For how long nobody else gets them.
    pub visibility: Duration,
}

impl Fetch {
    /// Most messages at once.
    pub const LIMIT_MAX: usize = 1000;
    /// Most messages of one group at once.
    pub const GROUP_MAX: usize = 10;
}

/// What a request for messages brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fetched {
    /// The messages.
    pub messages: Vec<Message>,
    /// A queue that messages were moved to instead of being handed out.
    pub moved_to: Option<QueueId>,
    /// When a message becomes visible that is not now; `None`: not before one is sent.
    pub next: Option<Timestamp>,
    /// Whether messages wait to be swept away; see [`MessageStore::sweep`].
    pub surplus: bool,
}

/// What became of a message that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is gone.
    Deleted,
    /// It was gone before.
    Gone,
    /// It was received again since, or belongs to another queue: it stays.
    Stale,
    /// In a queue with groups: its time is over, others may have it already: it stays.
    Expired,
}

/// What became of a change of visibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It holds from now on.
    Changed,
    /// The message is not in flight any more, or not for this receipt.
    NotInFlight,
    /// The message is gone.
    Gone,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// Could be received, were it not for their groups.
    pub visible: u64,
    /// Were received and not deleted, and their time is not over.
    pub in_flight: u64,
    /// Were sent with a delay that is not over.
    pub delayed: u64,
}

/// Messages were not taken, or not handed out.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such queue (any more).
    #[error("there is no queue {0}")]
    NoQueue(QueueId),
    /// A message breaks a bound.
    #[error("{what} of a message has {size} bytes, more than {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The bound.
        limit: usize,
    },
}

impl NewMessage {
    /// Looks whether it keeps the bounds.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`].
    pub fn check(&self) -> Result<(), MessageError> {
        let token = self.token.as_ref().map_or(0, String::len);
        for (what, size, limit) in [
            ("body", self.body.len(), Self::BODY_MAX),
            ("group", self.group.len(), Self::NAME_MAX),
            ("token", token, Self::NAME_MAX),
        ] {
            if size > limit {
                return Err(MessageError::TooLarge { what, size, limit });
            }
        }
        Ok(())
    }
}

/// Durable message queues. Whatever a method has answered survives the end of the process and of the machine's power.
#[async_trait]
pub trait MessageStore: Send + Sync + std::fmt::Debug {
    /// Every queue.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn queues(&self) -> Result<Vec<Queue>, StoreError>;

    /// Makes a queue, or changes one by its id. Its order and name never change.
    ///
    /// # Errors
    /// [`StoreError`], also when another queue has its name.
    async fn put_queue(&self, queue: Queue) -> Result<(), StoreError>;

    /// Removes a queue with its messages. Whether it was there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_queue(&self, id: QueueId) -> Result<bool, StoreError>;

    /// Takes messages, all or none; durable when it returns.
    ///
    /// # Errors
    /// [`MessageError`]; [`StoreError::Busy`] when the store has as many as it may.
    async fn send(&self, queue: QueueId, messages: Vec<NewMessage>, now: Timestamp) -> Result<Vec<Sent>, MessageError>;

    /// Hands out messages that are visible. Those that were received too often are moved away on the occasion.
    ///
    /// # Errors
    /// [`MessageError`].
    async fn receive(&self, fetch: Fetch, now: Timestamp) -> Result<Fetched, MessageError>;

    /// Deletes messages; one answer for each receipt.
    ///
    /// # Errors
    /// [`MessageError`].
    async fn delete(
        &self,
        queue: QueueId,
        receipts: Vec<Receipt>,
        now: Timestamp,
    ) -> Result<Vec<Settled>, MessageError>;

    /// Makes messages in flight visible so much later from now on; one answer for each.
    ///
    /// # Errors
    /// [`MessageError`].
    async fn change_visibility(
        &self,
        queue: QueueId,
        changes: Vec<(Receipt, Duration)>,
        now: Timestamp,
    ) -> Result<Vec<Shown>, MessageError>;

    /// Throws all messages of a queue away. Those that are in flight are gone too.
    ///
    /// # Errors
    /// [`MessageError`].
    async fn purge(&self, queue: QueueId) -> Result<(), MessageError>;

    /// Counts messages.
    ///
    /// # Errors
    /// [`MessageError`].
    async fn counts(&self, queue: QueueId, now: Timestamp) -> Result<QueueCounts, MessageError>;

    /// Frees the room of some messages that are gone: too old, purged, or of removed queues. Whether there are more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError>;
}
