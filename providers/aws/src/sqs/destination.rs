//! Queues as destinations of events: records of asynchronous invocations, dead letters, whatever is routed to a queue.

use async_trait::async_trait;
use sonagi_model::MessageId;
use sonagi_ports::{
    DeliveryEnd, DeliveryError, Destination, FollowUp, MessageError, NewMessage, Order, Queue, QueuedEvent, RetryRules,
};
use sonagi_queues::Queues;

use super::names::QueueName;
use super::record::QueueRecord;
use super::sending::{GROUP, SENDER, TOKEN, token_of_content};
use crate::eventing::delivery;
use crate::events::MESSAGE_GROUP;
use crate::place::Place;

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
        let record = QueueRecord::of(&queue).map_err(|error| DeliveryError::Unavailable(error.to_string()))?;
        if event.payload.len() > record.largest as usize {
            let (size, limit) = (event.payload.len(), record.largest);
            let text = format!("the message has {size} bytes, more than the {limit} that {address} takes");
            return Err(DeliveryError::Refused(text));
        }
        let message = message(event, &queue, &record)?;
        let sent = self.queues.send(queue.id, vec![message]).await;
        sent.map(drop).map_err(|error| match error {
            MessageError::NoQueue(_) => gone(),
            MessageError::TooLarge { .. } => DeliveryError::Refused(error.to_string()),
            MessageError::Store(error) => DeliveryError::Unavailable(error.to_string()),
        })
    }

    fn rules(&self, event: &QueuedEvent, platform: &RetryRules) -> RetryRules {
        delivery::rules(event, platform)
    }

    fn follow_ups(&self, event: &QueuedEvent, end: &DeliveryEnd<'_>) -> Vec<FollowUp> {
        delivery::dead_letter(event, end)
    }
}

/// The message of an event. After a crash it may be sent again: the queue has it once, by the event's id or, where it goes
/// by contents, by that.
fn message(event: &QueuedEvent, queue: &Queue, record: &QueueRecord) -> Result<NewMessage, DeliveryError> {
    let mut attributes = delivery::attributes_for_target(event);
    let given = attributes.get(MESSAGE_GROUP).map(str::to_owned);
    attributes.0.retain(|(name, _)| name != MESSAGE_GROUP);
    if let Some(place) = Place::of(&event.namespace) {
        attributes.set(SENDER, place.account.as_str());
    }
    let own = event.id.to_string();
    let (group, token) = match (queue.settings.order, given) {
        (Order::Loose, given) => {
            if let Some(given) = given {
                attributes.set(GROUP, given);
            }
            (String::new(), own)
        }
        (Order::Groups, Some(group)) => {
            let token = if record.content_tokens {
                token_of_content(&event.payload)
            } else {
                own
            };
            attributes.set(TOKEN, token.clone());
            let scoped = if record.tokens_of_group {
                format!("{group} {token}")
            } else {
                token
            };
            (group, scoped)
        }
        (Order::Groups, None) => {
            let text = format!("{} is a FIFO queue, and the message names no group", queue.name);
            return Err(DeliveryError::Refused(text));
        }
    };
    Ok(NewMessage {
        id: MessageId::from_uuid(*event.id.as_uuid()),
        body: event.payload.clone(),
        attributes,
        delay: std::time::Duration::from_secs(record.delay.into()),
        group,
        token: Some(token),
    })
}
