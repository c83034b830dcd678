//! What reaches the targets of rules: events of buses, and ticks of schedules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize as _;
use serde_json::{Value, json as document};
use sonagi_model::{EventId, Namespace, Timestamp};
use sonagi_ports::{AcceptError, DeliveryError, Token};
use sonagi_triggers::{CloudEvent, EventData, Notice, OnTick, Subscriber, Tick, TickError};

use super::super::reach::Parcel;
use super::super::transform::Rule;
use super::super::{id_of, prefix_of, second};
use super::put::{ACCOUNT, HOPPED, REGION, RESOURCES};
use super::record::{RuleRecord, Target};
use super::{Bridge, place_of_key};
use crate::events::{DestinationPlace, place_of};
use crate::place::Place;

/// An event as rules see it, whoever put it on the bus.
pub(super) fn envelope(place: &Place, event: &CloudEvent, taken: &str) -> Value {
    let resources = match (event.get(RESOURCES), event.get("subject")) {
        (Some(resources), _) => serde_json::from_str(resources).unwrap_or_else(|_| document!([])),
        (None, Some(subject)) => document!([subject]),
        (None, None) => document!([]),
    };
    let detail = match event.data() {
        Some(EventData::Json(detail @ Value::Object(_))) => detail.clone(),
        Some(EventData::Json(data)) => document!({ "data": data }),
        Some(EventData::Binary(_)) => document!({ "data_base64": event.document()["data_base64"] }),
        None => document!({}),
    };
    document!({
        "version": "0",
        "id": event.get("id"),
        "detail-type": event.get("type"),
        "source": event.get("source"),
        "account": event.get(ACCOUNT).unwrap_or(place.account.as_str()),
        "time": event.get("time").unwrap_or(taken),
        "region": event.get(REGION).unwrap_or(place.region.as_str()),
        "resources": resources,
        "detail": detail,
    })
}

/// What an event for a target comes from.
#[derive(Debug, Clone, Copy, Default)]
struct From {
    event: Option<EventId>,
    /// It came from one bus to another already. Source: "Sending and receiving events between buses": once only.
    hopped: bool,
}

impl Bridge {
    /// The rules of a bus that an event matches.
    fn matching(&self, place: &Place, bus: &str, event: &Value) -> Vec<Arc<RuleRecord>> {
        let rules = self.rules.with_prefix(&prefix_of(place, &[bus]));
        let patterns = self.patterns.read();
        let matches = |key: &String| patterns.get(key).is_some_and(|pattern| pattern.matches(event));
        rules
            .into_iter()
            .filter(|(key, _)| matches(key))
            .map(|(_, rule)| rule)
            .collect()
    }

    /// Hands an event to the targets of a rule.
    async fn to_targets(
        &self,
        place: &Place,
        rule: &RuleRecord,
        event: &Value,
        from: From,
        token: impl Fn(&str) -> Token,
    ) -> Result<(), AcceptError> {
        let arn = rule.arn(place);
        let taken = event["time"].as_str().unwrap_or_default();
        for target in &rule.targets {
            let Ok(target) = Target::deserialize(target) else {
                tracing::error!(rule = arn, "a target cannot be read");
                continue;
            };
            if from.hopped && matches!(place_of(&target.arn), Some(DestinationPlace::Bus(_))) {
                tracing::warn!(
                    rule = arn,
                    target = target.arn,
                    "an event goes from bus to bus once only"
                );
                continue;
            }
            let variables = Rule {
                name: &rule.name,
                arn: &arn,
                taken,
            };
            let parcel = Parcel {
                place,
                arn: &target.arn,
                input: Bytes::from(target.shaping.shape(event, variables)),
                group: target
                    .sqs_parameters
                    .as_ref()
                    .and_then(|sqs| sqs.message_group_id.as_deref()),
                dead_letter: target
                    .dead_letter_config
                    .as_ref()
                    .and_then(|config| config.arn.as_deref()),
                retry: target.retry_policy.as_ref(),
                context: vec![("RULE_ARN", arn.clone()), ("RETRY_ATTEMPTS", "0".to_owned())],
                token: token(&target.id),
                origin: from.event,
                delay: Duration::ZERO,
            };
            self.reach.send(parcel).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Subscriber for Bridge {
    fn wants(&self, namespace: &Namespace, bus: &str, event: &CloudEvent) -> bool {
        let Some(place) = Place::of(namespace) else {
            return false;
        };
        let rules = self.matching(&place, bus, &envelope(&place, event, &second(self.clock.now())));
        rules.iter().any(|rule| !rule.targets.is_empty())
    }

    async fn receive(&self, notice: &Notice) -> Result<(), DeliveryError> {
        let Some(place) = Place::of(&notice.namespace) else {
            return Ok(());
        };
        // The moment that its id tells: the same whenever it is handed over.
        let taken = notice.id.as_uuid().get_timestamp().map_or(0, |taken| taken.to_unix().0);
        let taken = second(Timestamp::from_millis(
            i64::try_from(taken).unwrap_or(0).saturating_mul(1000),
        ));
        let event = envelope(&place, &notice.event, &taken);
        for rule in self.matching(&place, &notice.bus, &event) {
            let token = |target: &str| notice.token(&format!("rule {} {target}", rule.name));
            let from = From {
                event: Some(notice.id),
                hopped: notice.event.get(HOPPED).is_some(),
            };
            self.to_targets(&place, &rule, &event, from, token)
                .await
                .map_err(|error| DeliveryError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }
}

#[async_trait]
impl OnTick for Bridge {
    async fn tick(&self, tick: &Tick) -> Result<(), TickError> {
        let key = self.ticking.read().get(&*tick.schedule).cloned();
        let found = key.and_then(|key| Some((place_of_key(&key)?, self.rules.get(&key)?)));
        let Some((place, rule)) = found else {
            return Ok(());
        };
        let planned = tick.planned.as_micros().to_string();
        let event = document!({
            "version": "0",
            "id": id_of(&[&tick.schedule, &planned]).to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": place.account.as_str(),
            "time": second(tick.planned),
            "region": place.region.as_str(),
            "resources": [rule.arn(&place)],
            "detail": {},
        });
        self.to_targets(&place, &rule, &event, From::default(), |target| tick.token(target))
            .await
            .map_err(|error| TickError(error.to_string()))
    }

    /// Rules stay when their last tick is over.
    async fn over(&self, _schedule: &str) {}
}
