//! Stores what is published, and hands it to whoever wants it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use sonagi_model::{EventId, Namespace};
use sonagi_ports::{
    AcceptError, DeliveryError, Destination, EventIntake, EventRoute, NewEvent, QueuedEvent, StoreError, Token,
};

use super::cloudevent::CloudEvent;

/// The destination that the broker is registered as; its addresses are names of buses.
pub const BUS_DESTINATION: &str = "bus";

/// For how long what an event was handed to is known: as long as an event may be under way, and more.
const TOKEN_WINDOW: Duration = Duration::from_secs(25 * 3600);

/// An event on a bus.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Whose bus.
    pub namespace: Namespace,
    /// The bus.
    pub bus: String,
    /// The event that carries it.
    pub id: EventId,
    /// What happened.
    pub event: CloudEvent,
}

impl Notice {
    /// The token of what a subscriber makes of this; `part` tells several such things apart.
    #[must_use]
    pub fn token(&self, part: &str) -> Token {
        Token {
            scope: format!("bus {}", self.id),
            text: part.to_owned(),
            window: TOKEN_WINDOW,
        }
    }
}

/// Takes events of buses.
#[async_trait]
pub trait Subscriber: Send + Sync + fmt::Debug {
    /// Whether it would take this one now.
    fn wants(&self, namespace: &Namespace, bus: &str, event: &CloudEvent) -> bool;

    /// Takes an event: when this returns, whatever it makes is durable, by the notice's tokens only once. Called for events
    /// that it does not want, too.
    ///
    /// # Errors
    /// [`DeliveryError`]: the event is handed to every subscriber again, later.
    async fn receive(&self, notice: &Notice) -> Result<(), DeliveryError>;
}

/// See the module.
#[derive(Debug, Default)]
pub struct Broker {
    subscribers: RwLock<Vec<Arc<dyn Subscriber>>>,
    intake: OnceLock<Arc<dyn EventIntake>>,
}

impl Broker {
    /// One without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where events are stored. To be called once, when everybody has subscribed: until then nothing is published, and
    /// what an earlier process left waits.
    pub fn attach(&self, intake: Arc<dyn EventIntake>) {
        let _ = self.intake.set(intake);
    }

    /// Adds a subscriber, for as long as the platform runs.
    pub fn subscribe(&self, subscriber: Arc<dyn Subscriber>) {
        self.subscribers.write().push(subscriber);
    }

    fn all(&self) -> Vec<Arc<dyn Subscriber>> {
        self.subscribers.read().clone()
    }

    /// Puts an event on a bus: when this returns, it is durable, or nobody wants it. With a token, a second sending is the
    /// same event. The answer says under which id it is known, if it was stored.
    ///
    /// # Errors
    /// [`AcceptError`]: it is not on the bus.
    pub async fn publish(
        &self,
        id: EventId,
        namespace: &Namespace,
        bus: &str,
        event: &CloudEvent,
        token: Option<Token>,
    ) -> Result<Option<EventId>, AcceptError> {
        let intake = self.intake.get().ok_or(StoreError::Closed)?;
        if !self
            .all()
            .iter()
            .any(|subscriber| subscriber.wants(namespace, bus, event))
        {
            return Ok(None);
        }
        let route = EventRoute::Destination {
            adapter: BUS_DESTINATION.to_owned(),
            address: bus.to_owned(),
        };
        let payload = Bytes::from(event.document().to_string());
        let new = NewEvent {
            id,
            token,
            ..NewEvent::new(route, namespace.clone(), format!("bus {bus}"), payload)
        };
        Ok(Some(intake.accept(new).await?.id()))
    }

    /// Hands an event to every subscriber.
    ///
    /// # Errors
    /// [`DeliveryError`]: one of them could not take it.
    pub async fn spread(&self, notice: &Notice) -> Result<(), DeliveryError> {
        if self.intake.get().is_none() {
            return Err(DeliveryError::Unavailable("the platform is starting".to_owned()));
        }
        let mut failed = Ok(());
        for subscriber in self.all() {
            // All others get it even so; the tokens remember.
            failed = subscriber.receive(notice).await.and(failed);
        }
        failed
    }
}

#[async_trait]
impl Destination for Broker {
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError> {
        let EventRoute::Destination { address, .. } = &event.route else {
            return Err(DeliveryError::Gone("not for a bus".to_owned()));
        };
        let document =
            serde_json::from_slice(&event.payload).map_err(|error| DeliveryError::Refused(error.to_string()))?;
        let read = CloudEvent::of_document(document).map_err(|error| DeliveryError::Refused(error.to_string()))?;
        let notice = Notice {
            namespace: event.namespace.clone(),
            bus: address.clone(),
            id: event.id,
            event: read,
        };
        self.spread(&notice).await
    }
}
