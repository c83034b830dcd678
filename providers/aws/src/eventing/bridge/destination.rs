//! Buses as destinations: of functions' results, of schedules, of other rules.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Value, json as document};
use sonagi_ports::{DeliveryEnd, DeliveryError, Destination, EventRoute, FollowUp, QueuedEvent, RetryRules};
use sonagi_triggers::Notice;

use super::super::{delivery, second};
use super::Bridge;
use super::put::{Content, HOPPED};
use super::record::bus_arn;
use crate::place::Place;

/// Takes messages for buses, from the moment that the buses are there.
#[derive(Debug, Default)]
pub struct BusDeliveries(OnceLock<Arc<Bridge>>);

impl BusDeliveries {
    pub(crate) fn attach(&self, bridge: Arc<Bridge>) {
        let _ = self.0.set(bridge);
    }
}

#[async_trait]
impl Destination for BusDeliveries {
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError> {
        let bridge = self
            .0
            .get()
            .ok_or_else(|| DeliveryError::Unavailable("the platform is starting".to_owned()))?;
        let EventRoute::Destination { address, .. } = &event.route else {
            return Err(DeliveryError::Gone("not for a bus".to_owned()));
        };
        let gone = || DeliveryError::Gone(format!("event bus {address} does not exist"));
        let place = Place::of(&event.namespace).ok_or_else(gone)?;
        let bus = bridge.bus_of(&place, Some(address)).map_err(|_| gone())?;
        let content: Value =
            serde_json::from_slice(&event.payload).map_err(|error| DeliveryError::Refused(error.to_string()))?;
        let text = |name: &str| content.get(name).and_then(Value::as_str);
        let from_bus = content.get("account").is_some();
        let resources = content.get("resources").and_then(Value::as_array).cloned();
        let content = Content {
            // An event that another bus sends on stays itself.
            id: text("id")
                .filter(|_| from_bus)
                .map_or_else(|| event.id.as_uuid().as_hyphenated().to_string(), str::to_owned),
            source: text("source").unwrap_or("unknown"),
            detail_type: text("detail-type").unwrap_or("unknown"),
            time: text("time").map_or_else(|| second(event.accepted), str::to_owned),
            resources: resources.unwrap_or_else(|| vec![bus_arn(&place, &bus).into()]),
            detail: content.get("detail").cloned().unwrap_or_else(|| document!({})),
        };
        let read = content.event(&place);
        let read = read.ok_or_else(|| DeliveryError::Refused("the message is no event".to_owned()))?;
        let read = if from_bus { read.with(HOPPED, "true") } else { read };
        let notice = Notice {
            namespace: event.namespace.clone(),
            bus,
            id: event.id,
            event: read,
        };
        bridge.broker.spread(&notice).await
    }

    fn rules(&self, event: &QueuedEvent, platform: &RetryRules) -> RetryRules {
        delivery::rules(event, platform)
    }

    fn follow_ups(&self, event: &QueuedEvent, end: &DeliveryEnd<'_>) -> Vec<FollowUp> {
        delivery::dead_letter(event, end)
    }
}
