//! Where events go: functions, and whatever else takes messages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sonagi_model::{Function, Outcome, Revision};

use crate::{AcceptError, Accepted, Attributes, EventRoute, EventStatus, NewEvent, Progress, QueuedEvent, RetryRules};

/// Where an event for a function goes now.
#[derive(Debug, Clone)]
pub struct Target {
    /// The function.
    pub function: Arc<Function>,
    /// The revision for this attempt.
    pub revision: Arc<Revision>,
    /// Attributes for the session.
    pub attributes: Attributes,
    /// Concurrent invocations that the owner may have in all.
    pub tenant_concurrency: u32,
    /// When it is tried again.
    pub rules: RetryRules,
}

/// An event for a function cannot run, now or ever; it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    /// Its function, version or alias no longer exists.
    #[error("the target of the event no longer exists")]
    Gone,
    /// Its function is stopped: it may run no attempt at all.
    #[error("the function is stopped")]
    Disabled,
    /// It would be one more turn of a loop.
    #[error("the event has come round in a loop too often")]
    Loop,
}

impl Undeliverable {
    /// The end of the event.
    #[must_use]
    pub const fn status(self) -> EventStatus {
        match self {
            Self::Gone => EventStatus::TargetGone,
            Self::Disabled => EventStatus::Disabled,
            Self::Loop => EventStatus::LoopStopped,
        }
    }
}

/// How an event for a function ended, and its last attempt, if the last thing that happened was one.
#[derive(Debug, Clone)]
pub struct EventEnd<'a> {
    /// How it ended.
    pub status: EventStatus,
    /// What was tried.
    pub progress: Progress,
    /// The last attempt.
    pub last: Option<LastAttempt<'a>>,
}

/// The last attempt of an event.
#[derive(Debug, Clone)]
pub struct LastAttempt<'a> {
    /// What ran.
    pub revision: &'a Arc<Revision>,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// The answer, if it succeeded.
    pub body: &'a Bytes,
}

/// What an event's end sends elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUp {
    /// Where to.
    pub route: EventRoute,
    /// What that is called, for people.
    pub name: String,
    /// What is sent.
    pub payload: Bytes,
    /// What goes with it, in the words of whoever takes it.
    pub attributes: Attributes,
}

/// Implemented by each provider: says where an accepted event for one of its functions goes at this moment, and what its
/// end sends elsewhere.
pub trait EventTargets: Send + Sync {
    /// Resolves the event's function and qualifier.
    ///
    /// # Errors
    /// [`Undeliverable`]: the event ends.
    fn resolve(&self, event: &QueuedEvent) -> Result<Target, Undeliverable>;

    /// What the end of the event sends elsewhere, by the settings of this moment. They are accepted in the transaction
    /// that ends the event.
    fn follow_ups(&self, event: &QueuedEvent, end: &EventEnd<'_>) -> Vec<FollowUp>;
}

/// A destination did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It does not exist (any more): given up.
    #[error("{0}")]
    Gone(String),
    /// It will never take this message: given up.
    #[error("{0}")]
    Refused(String),
    /// Not now: tried again, later each time.
    #[error("{0}")]
    Unavailable(String),
}

/// How a message ended that its destination did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEnd<'a> {
    /// How.
    pub status: EventStatus,
    /// What was tried.
    pub progress: Progress,
    /// Why, for people.
    pub reason: &'a str,
}

/// Takes messages: a queue, a bus, a web address. Registered by a name, which routes carry.
#[async_trait]
pub trait Destination: Send + Sync + std::fmt::Debug {
    /// Hands a message over; when it returns, the destination has it for good. May be called again for the same event
    /// after a crash: the event's id tells.
    ///
    /// # Errors
    /// [`DeliveryError`].
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError>;

    /// How long that may take, where it is longer than the platform's limit for destinations.
    fn longest(&self) -> Option<Duration> {
        None
    }

    /// When this message is offered again: by the platform's rules, where it says nothing of that itself.
    fn rules(&self, _event: &QueuedEvent, platform: &RetryRules) -> RetryRules {
        platform.clone()
    }

    /// What the end of a message that was not taken sends elsewhere; accepted in the transaction that ends it.
    fn follow_ups(&self, _event: &QueuedEvent, _end: &DeliveryEnd<'_>) -> Vec<FollowUp> {
        Vec::new()
    }
}

/// Takes events: the door for everything that makes them (schedules, buses, queues, objects).
#[async_trait]
pub trait EventIntake: Send + Sync + std::fmt::Debug {
    /// Accepts an event: when this returns it is durable, will be attempted, and ends exactly once.
    ///
    /// # Errors
    /// [`AcceptError`]: it is not kept and its sender must be told.
    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError>;
}
