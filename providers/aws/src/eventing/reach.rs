//! From a target's ARN to an event for it: a function, a queue, a bus. What cannot be handed over goes to the target's
//! dead-letter queue, or stays among the platform's dead letters.
//!
//! A function is invoked asynchronously: from then on its own settings say how often it is tried. Queues and buses are the
//! platform's destinations, and are tried by the target's retry policy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_control::Catalog;
use sonagi_model::EventId;
use sonagi_ports::{AcceptError, Attributes, EventRoute, NewEvent, Token};

use super::bridge::RetryPolicy;
use super::delivery::Delivery;
use crate::arn::{FunctionRef, Qualifier};
use crate::events::{BUS_ADAPTER, DestinationPlace, MESSAGE_GROUP, QUEUE_ADAPTER, place_of};
use crate::invoke::Runner;
use crate::place::Place;
use crate::runtime::{CONTRACT, attributes};

/// Hands things to targets.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) runner: Arc<dyn Runner>,
}

/// Something for a target.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    pub(super) place: &'a Place,
    pub(super) arn: &'a str,
    pub(super) input: Bytes,
    /// The group of a message to a FIFO queue.
    pub(super) group: Option<&'a str>,
    pub(super) dead_letter: Option<&'a str>,
    /// How often a queue or bus is offered it.
    pub(super) retry: Option<&'a RetryPolicy>,
    /// What a dead letter says of where it comes from.
    pub(super) context: Vec<(&'static str, String)>,
    pub(super) token: Token,
    pub(super) origin: Option<EventId>,
    pub(super) delay: Duration,
}

/// Whether a target's ARN is one that can be reached, and lies in the account and region.
pub(super) fn is_reachable(arn: &str, place: &Place) -> bool {
    let here = matches!(
        arn.splitn(6, ':').collect::<Vec<_>>().as_slice(),
        [_, _, _, region, account, _] if *region == place.region.as_str() && *account == place.account.as_str()
    );
    here && match place_of(arn) {
        Some(DestinationPlace::Function(arn)) => FunctionRef::parse(arn).is_ok(),
        Some(DestinationPlace::Queue(_)) => true,
        Some(DestinationPlace::Bus(arn)) => arn.contains(":event-bus/"),
        Some(DestinationPlace::Web(_)) | None => false,
    }
}

impl Reach {
    /// Hands a parcel over: when this returns, it is durable, by its token only once.
    ///
    /// # Errors
    /// [`AcceptError`]: it is to be handed over again.
    pub(super) async fn send(&self, parcel: Parcel<'_>) -> Result<(), AcceptError> {
        let event = self.event(&parcel);
        let event = NewEvent {
            token: Some(parcel.token.clone()),
            origin: parcel.origin,
            delay: parcel.delay,
            ..event
        };
        match self.runner.accept(event).await {
            // What was accepted under this token was so for settings of that moment.
            Ok(_) | Err(AcceptError::TokenReused { .. }) => Ok(()),
            Err(AcceptError::TooLarge { what, size, limit }) => {
                tracing::warn!(
                    target = parcel.arn,
                    what,
                    size,
                    limit,
                    "a target gets nothing: it is too large"
                );
                Ok(())
            }
            Err(error @ AcceptError::Store(_)) => Err(error),
        }
    }

    fn event(&self, parcel: &Parcel<'_>) -> NewEvent {
        match place_of(parcel.arn) {
            Some(DestinationPlace::Function(arn)) => self
                .to_function(parcel, arn)
                .unwrap_or_else(|| dead(parcel, "ResourceNotFoundException", "the function does not exist")),
            Some(DestinationPlace::Queue(arn)) => {
                let mut event = tried(parcel, QUEUE_ADAPTER, arn);
                if let Some(group) = parcel.group {
                    event.attributes.set(MESSAGE_GROUP, group);
                }
                event
            }
            Some(DestinationPlace::Bus(arn)) => tried(parcel, BUS_ADAPTER, arn),
            Some(DestinationPlace::Web(_)) | None => {
                dead(parcel, "InvalidTarget", "the target is none of this platform")
            }
        }
    }

    fn to_function(&self, parcel: &Parcel<'_>, arn: &str) -> Option<NewEvent> {
        let named = FunctionRef::parse(arn).ok()?;
        let home = Place {
            account: named.account?,
            region: named.region?,
        };
        let entry = self.catalog.find(&home.namespace(), &named.name)?;
        let mut given = Attributes::default();
        given.set(attributes::INVOKED_ARN, arn);
        let route = EventRoute::Function {
            contract: CONTRACT.to_owned(),
            function: entry.function.id,
            qualifier: named.qualifier.as_ref().map(Qualifier::to_string),
        };
        Some(NewEvent {
            attributes: given,
            ..NewEvent::new(route, home.namespace(), named.name.to_string(), as_json(&parcel.input))
        })
    }
}

/// Functions take JSON only: what is none is a text to them.
fn as_json(input: &Bytes) -> Bytes {
    if crate::json::check(input).is_ok() {
        return input.clone();
    }
    serde_json::Value::from(String::from_utf8_lossy(input))
        .to_string()
        .into()
}

fn to(parcel: &Parcel<'_>, adapter: &str, address: &str) -> NewEvent {
    let route = EventRoute::Destination {
        adapter: adapter.to_owned(),
        address: address.to_owned(),
    };
    NewEvent::new(route, parcel.place.namespace(), address, parcel.input.clone())
}

/// To a queue or bus, by the target's own rules of trying again.
fn tried(parcel: &Parcel<'_>, adapter: &str, address: &str) -> NewEvent {
    let number =
        |given: Option<i64>, default: u32| given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default);
    let (retries, max_age) = Delivery::DEFAULT;
    let context = parcel.context.iter().filter(|(name, _)| *name != "RETRY_ATTEMPTS");
    let delivery = Delivery {
        retries: number(parcel.retry.and_then(|retry| retry.maximum_retry_attempts), retries),
        max_age: number(
            parcel.retry.and_then(|retry| retry.maximum_event_age_in_seconds),
            max_age,
        ),
        dead_letter: parcel.dead_letter.map(str::to_owned),
        context: context
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    };
    let mut event = to(parcel, adapter, address);
    delivery.write(&mut event.attributes);
    event
}

/// To the dead-letter queue; without one, to nowhere: there it becomes a dead letter of the platform.
fn dead(parcel: &Parcel<'_>, code: &str, message: &str) -> NewEvent {
    let Some(queue) = parcel.dead_letter else {
        return to(parcel, CONTRACT, parcel.arn);
    };
    let mut given = Attributes::default();
    given.set("ERROR_CODE", format!("String:{code}"));
    given.set("ERROR_MESSAGE", format!("String:{message}"));
    given.set("TARGET_ARN", format!("String:{}", parcel.arn));
    for (name, value) in &parcel.context {
        given.set(name, format!("String:{value}"));
    }
    NewEvent {
        attributes: given,
        ..to(parcel, QUEUE_ADAPTER, queue)
    }
}
