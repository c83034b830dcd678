//! Accepted events: what they are, where they go, how they end.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::{EventId, FunctionId, InvocationId, Namespace, Timestamp};

use crate::Attributes;

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventRoute {
    /// To a function.
    Function {
        /// The contract whose adapter accepted it and resolves it again at every attempt.
        contract: String,
        /// The function.
        function: FunctionId,
        /// Which revision, in the words of the adapter (a version or alias).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        qualifier: Option<String>,
    },
    /// To something that takes messages: a queue, a bus, a web address.
    Destination {
        /// The name under which a [`Destination`](crate::Destination) is registered.
        adapter: String,
        /// Where, in that adapter's words.
        address: String,
    },
}

impl EventRoute {
    /// The lane of events that go there.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Function { function, .. } => Lane(function.to_string().into()),
            Self::Destination { adapter, address } => Lane(format!("{adapter} {address}").into()),
        }
    }
}

/// Events with the same destination wait in one lane; lanes take turns, so that the backlog of one starves no other.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(Box<str>);

impl Lane {
    /// A lane by its text, as a store holds it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One accepted event. It leaves the queue by exactly one [`Settlement`](crate::Settlement).
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedEvent {
    /// Identity; [`QueuedEvent::invocation`] is the same number.
    pub id: EventId,
    /// Where it goes.
    pub route: EventRoute,
    /// Where its destination is named.
    pub namespace: Namespace,
    /// What its destination is called, for people.
    pub name: String,
    /// The event itself.
    pub payload: Bytes,
    /// What the adapter hands to its sessions beside the event.
    pub attributes: Attributes,
    /// The event by whose end, or for whose repetition, this one was made.
    pub origin: Option<EventId>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When the next attempt is due.
    pub due: Timestamp,
}

impl QueuedEvent {
    /// The invocation's id, the same for every attempt: the event's own number.
    #[must_use]
    pub const fn invocation(&self) -> InvocationId {
        InvocationId::from_uuid(*self.id.as_uuid())
    }

    /// What is known of it while it waits, before any attempt.
    #[must_use]
    pub fn head(&self) -> EventHead {
        EventHead {
            id: self.id,
            lane: self.route.lane(),
            accepted: self.accepted,
            due: self.due,
            progress: Progress::default(),
            cancelled: false,
        }
    }
}

/// Counts of what was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Attempts that have begun; each has one record.
    pub started: u32,
    /// Of those, the ones that failed through the function's fault.
    pub failures: u32,
    /// How often in a row it could not run, through a limit or the platform's fault.
    pub postponed: u32,
}

/// A pending event without its content: what is kept in memory of it, and only of the next few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// Identity.
    pub id: EventId,
    /// Where it waits.
    pub lane: Lane,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// What was tried.
    pub progress: Progress,
    /// Whether it ends with the attempt under way whatever that brings.
    pub cancelled: bool,
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// The function answered, the destination took it.
    Succeeded,
    /// All attempts failed.
    RetriesExhausted,
    /// It became older than allowed.
    Expired,
    /// Its function, version, alias or destination is gone.
    TargetGone,
    /// Its function is stopped: it may run no attempt at all.
    Disabled,
    /// It would have been one more turn of a loop.
    LoopStopped,
    /// Somebody cancelled it.
    Cancelled,
}

impl EventStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::RetriesExhausted,
        Self::Expired,
        Self::TargetGone,
        Self::Disabled,
        Self::LoopStopped,
        Self::Cancelled,
    ];

    /// The word for it, in stores, documents and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Expired => "expired",
            Self::TargetGone => "target_gone",
            Self::Disabled => "disabled",
            Self::LoopStopped => "loop_stopped",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the event stays as a dead letter: it did not do what it was sent for, and nobody called it off.
    #[must_use]
    pub const fn is_dead(self) -> bool {
        match self {
            Self::Succeeded | Self::Cancelled => false,
            Self::RetriesExhausted | Self::Expired | Self::TargetGone | Self::Disabled | Self::LoopStopped => true,
        }
    }
}

/// When an event that did not succeed is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRules {
    /// After the first, second, … failure of the function the next attempt follows so much later; after the last of
    /// these the event is given up. Default 1 min, 2 min.
    pub delays: Vec<Duration>,
    /// An event this old is given up. Default 6 h.
    pub max_age: Duration,
    /// Delay after an attempt that could not run, at a limit or because the platform failed; doubles each time in a
    /// row. Default 1 s.
    pub throttle_first: Duration,
    /// The longest of those delays. Default 5 min.
    pub throttle_longest: Duration,
    /// After more attempts in a row that could not run than this, the event is given up. Default: never.
    pub postponements: Option<u32>,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            delays: vec![Duration::from_secs(60), Duration::from_secs(120)],
            max_age: Duration::from_secs(6 * 3600),
            throttle_first: Duration::from_secs(1),
            throttle_longest: Duration::from_secs(300),
            postponements: None,
        }
    }
}

/// What makes two sendings the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose tokens these are, for instance a namespace or a schedule. At most 256 bytes.
    pub scope: String,
    /// What the sender calls this event. At most 256 bytes.
    pub text: String,
    /// For how long a second sending is the same event.
    pub window: Duration,
}

/// An event to accept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Identity.
    pub id: EventId,
    /// Where it goes.
    pub route: EventRoute,
    /// Where its destination is named.
    pub namespace: Namespace,
    /// What its destination is called, for people.
    pub name: String,
    /// The event itself.
    pub payload: Bytes,
    /// What the adapter hands to its sessions beside the event.
    pub attributes: Attributes,
    /// Makes sending it twice accept it once.
    pub token: Option<Token>,
    /// The event by whose end, or for whose repetition, this one was made.
    pub origin: Option<EventId>,
    /// How much later its first attempt is due.
    pub delay: Duration,
}

impl NewEvent {
    /// An event for a destination, to be attempted at once.
    #[must_use]
    pub fn new(route: EventRoute, namespace: Namespace, name: impl Into<String>, payload: Bytes) -> Self {
        Self {
            id: EventId::generate(),
            route,
            namespace,
            name: name.into(),
            payload,
            attributes: Attributes::default(),
            token: None,
            origin: None,
            delay: Duration::ZERO,
        }
    }

    /// The same, accepted at this moment, and its token apart.
    #[must_use]
    pub fn accepted(self, now: Timestamp) -> (QueuedEvent, Option<Token>) {
        let event = QueuedEvent {
            id: self.id,
            route: self.route,
            namespace: self.namespace,
            name: self.name,
            payload: self.payload,
            attributes: self.attributes,
            origin: self.origin,
            accepted: now,
            due: now.plus(self.delay),
        };
        (event, self.token)
    }
}

/// What became of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is ours.
    New(EventId),
    /// An earlier sending with the same token is; this is that event.
    Known(EventId),
}

impl Accepted {
    /// The event, whoever sent it first.
    #[must_use]
    pub const fn id(self) -> EventId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }

    /// The invocation of that event.
    #[must_use]
    pub const fn invocation(self) -> InvocationId {
        InvocationId::from_uuid(*self.id().as_uuid())
    }
}

/// An event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The store did not keep it.
    #[error(transparent)]
    Store(#[from] crate::StoreError),
    /// Its token belongs to an event with another content.
    #[error("token {text:?} was used for another event, {known}")]
    TokenReused {
        /// The token.
        text: String,
        /// The event that it belongs to.
        known: EventId,
    },
    /// It breaks a bound.
    #[error("{what} has {size} bytes, more than {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The bound.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_follow_destinations_and_words_follow_statuses() {
        let function = FunctionId::generate();
        let route = |qualifier: Option<&str>| EventRoute::Function {
            contract: "test".to_owned(),
            function,
            qualifier: qualifier.map(str::to_owned),
        };
        assert_eq!(route(None).lane(), route(Some("live")).lane());
        let destination = EventRoute::Destination {
            adapter: "web".to_owned(),
            address: "http://x".to_owned(),
        };
        assert_ne!(route(None).lane(), destination.lane());
        for status in EventStatus::ALL {
            assert_eq!(EventStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(EventStatus::parse("x"), None);
        let text = serde_json::to_string(&destination).unwrap();
        assert_eq!(serde_json::from_str::<EventRoute>(&text).unwrap(), destination);
    }
}
