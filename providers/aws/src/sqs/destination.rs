//! Queues as destinations of events: records of asynchronous invocations, dead letters, whatever is routed to a queue.

use async_trait::async_trait;
use sonagi_model::MessageId;
use sonagi_ports::{DeliveryError, Destination, MessageError, NewMessage, Order, QueuedEvent};
use sonagi_queues::Queues;

use super::names::QueueName;
use super::record::QueueRecord;

/// Puts events into queues. Addresses are ARNs; attributes of an event are those of the message, each as `TYPE:VALUE`.
#[derive(Debug)]
pub struct QueueDestination {
    queues: Queues,
}

impl QueueDestination {
    /// Delivers into these queues.
    #[must_use]
    pub const fn new(queues: Queues) -> Self {
        Self { queues }
    }
}

#[async_trait]
impl Destination for QueueDestination {
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError> {
        let sonagi_ports::EventRoute::Destination { address, .. } = &event.route else {
            return Err(DeliveryError::Refused("the event is for a function".to_owned()));
        };
        let gone = || DeliveryError::Gone(format!("the queue {address} does not exist"));
        let queue = QueueName::of_arn(address)
            .and_then(|name| name.find(&self.queues))
            .ok_or_else(gone)?;
        if queue.settings.order == Order::Groups {
            let text = format!("{address} is a FIFO queue: destinations are standard queues");
            return Err(DeliveryError::Refused(text));
        }
        let record = QueueRecord::of(&queue).map_err(|error| DeliveryError::Unavailable(error.to_string()))?;
        if event.payload.len() > record.largest as usize {
            let (size, limit) = (event.payload.len(), record.largest);
            let text = format!("the message has {size} bytes, more than the {limit} that {address} takes");
            return Err(DeliveryError::Refused(text));
        }
        let message = NewMessage {
            id: MessageId::from_uuid(*event.id.as_uuid()),
            body: event.payload.clone(),
            attributes: event.attributes.clone(),
            delay: std::time::Duration::from_secs(record.delay.into()),
            group: String::new(),
            // After a crash the event may be delivered again; the queue has it once.
            token: Some(event.id.to_string()),
        };
        let sent = self.queues.send(queue.id, vec![message]).await;
        sent.map(drop).map_err(|error| match error {
            MessageError::NoQueue(_) => gone(),
            MessageError::TooLarge { .. } => DeliveryError::Refused(error.to_string()),
            MessageError::Store(error) => DeliveryError::Unavailable(error.to_string()),
        })
    }
}
