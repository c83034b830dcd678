//! How often and how long something is offered to a queue or a bus, and where it goes when that was in vain: the retry
//! policy and dead-letter queue of a rule's or schedule's target. They travel with the event, so that a change of the
//! target holds for what comes later.
//! Source: "How EventBridge retries delivering events" and "Using dead-letter queues" of the EventBridge user guide.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sonagi_ports::{Attributes, DeliveryEnd, EventRoute, EventStatus, FollowUp, QueuedEvent, RetryRules};

use crate::events::QUEUE_ADAPTER;

/// The attribute of an event that has it; no message attribute's name has a `:`.
const ATTRIBUTE: &str = "aws:delivery";

/// What a target says of its deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Seconds.
    pub(super) max_age: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dead_letter: Option<String>,
    /// What a dead letter says of where it comes from.
    #[serde(default)]
    pub(super) context: BTreeMap<String, String>,
}

impl Delivery {
    /// Most attempts and longest age, which hold where a target says nothing.
    pub(super) const DEFAULT: (u32, u32) = (185, 86_400);

    pub(super) fn write(&self, attributes: &mut Attributes) {
        if let Ok(text) = serde_json::to_string(self) {
            attributes.set(ATTRIBUTE, text);
        }
    }

    fn of(event: &QueuedEvent) -> Option<Self> {
        serde_json::from_str(event.attributes.get(ATTRIBUTE)?).ok()
    }
}

/// The attributes that are for the target.
pub(crate) fn attributes_for_target(event: &QueuedEvent) -> Attributes {
    let mut attributes = event.attributes.clone();
    attributes.0.retain(|(name, _)| name != ATTRIBUTE);
    attributes
}

/// When an event is offered again.
pub(crate) fn rules(event: &QueuedEvent, platform: &RetryRules) -> RetryRules {
    match Delivery::of(event) {
        None => platform.clone(),
        Some(delivery) => RetryRules {
            max_age: Duration::from_secs(delivery.max_age.into()),
            postponements: Some(delivery.retries),
            ..platform.clone()
        },
    }
}

/// The dead letter of an event that its target did not take.
pub(crate) fn dead_letter(event: &QueuedEvent, end: &DeliveryEnd<'_>) -> Vec<FollowUp> {
    let Some(Delivery {
        dead_letter: Some(queue),
        context,
        ..
    }) = Delivery::of(event)
    else {
        return Vec::new();
    };
    let EventRoute::Destination { address, .. } = &event.route else {
        return Vec::new();
    };
    if !end.status.is_dead() {
        return Vec::new();
    }
    let code = match end.status {
        EventStatus::TargetGone => "ResourceNotFoundException",
        EventStatus::Succeeded
        | EventStatus::RetriesExhausted
        | EventStatus::Expired
        | EventStatus::Disabled
        | EventStatus::LoopStopped
        | EventStatus::Cancelled => {
            if end.progress.failures > 0 {
                "ValidationException"
            } else {
                "ServiceUnavailableException"
            }
        }
    };
    let mut given = Attributes::default();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            given.set(name, format!("String:{value}"));
        }
    };
    set("ERROR_CODE", code);
    set("ERROR_MESSAGE", end.reason);
    set("TARGET_ARN", address);
    let exhausted = match end.status {
        EventStatus::Expired => "MaximumEventAgeInSeconds",
        EventStatus::RetriesExhausted if end.progress.failures == 0 => "MaximumRetryAttempts",
        EventStatus::Succeeded
        | EventStatus::RetriesExhausted
        | EventStatus::TargetGone
        | EventStatus::Disabled
        | EventStatus::LoopStopped
        | EventStatus::Cancelled => "",
    };
    set("EXHAUSTED_RETRY_CONDITION", exhausted);
    for (name, value) in &context {
        set(name, value);
    }
    set("RETRY_ATTEMPTS", &end.progress.postponed.saturating_sub(1).to_string());
    vec![FollowUp {
        route: EventRoute::Destination {
            adapter: QUEUE_ADAPTER.to_owned(),
            address: queue.clone(),
        },
        name: queue,
        payload: event.payload.clone(),
        attributes: given,
    }]
}
