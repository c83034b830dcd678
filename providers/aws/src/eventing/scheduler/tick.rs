//! What a tick of a schedule sends.
//! Source: "Managing targets" and "Context attributes" of the EventBridge Scheduler user guide.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize as _;
use serde_json::{Value, json as document};
use sonagi_triggers::{OnTick, Tick, TickError};

use super::super::reach::Parcel;
use super::super::{id_of, second};
use super::Scheduler;
use super::record::{AfterCompletion, ScheduleRecord, Target};
use crate::place::Place;

/// What one tick is called.
struct Execution<'a> {
    arn: &'a str,
    time: String,
    id: String,
}

impl Execution<'_> {
    /// An input with its context attributes filled in.
    fn fill(&self, input: &str) -> String {
        input
            .replace("<aws.scheduler.schedule-arn>", self.arn)
            .replace("<aws.scheduler.scheduled-time>", &self.time)
            .replace("<aws.scheduler.execution-id>", &self.id)
            // Handing over either succeeds the first time or fails for good.
            .replace("<aws.scheduler.attempt-number>", "1")
    }

    /// What a target gets whose schedule says nothing.
    fn standard(&self, place: &Place) -> String {
        let event = document!({
            "version": "0",
            "id": self.id,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": place.account.as_str(),
            "time": self.time,
            "region": place.region.as_str(),
            "resources": [self.arn],
            "detail": "{}",
        });
        event.to_string()
    }

    fn input(&self, place: &Place, target: &Target) -> String {
        let Some(parameters) = &target.event_bridge_parameters else {
            return match &target.input {
                Some(input) => self.fill(input),
                None => self.standard(place),
            };
        };
        let detail = target.input.as_deref().map(|input| self.fill(input));
        let detail: Option<Value> = detail.and_then(|detail| serde_json::from_str(&detail).ok());
        let event = document!({
            "source": parameters.source,
            "detail-type": parameters.detail_type,
            "time": self.time,
            "resources": [self.arn],
            "detail": detail.unwrap_or_else(|| document!({})),
        });
        event.to_string()
    }
}

impl Scheduler {
    fn of_tick(&self, generation: &str) -> Option<(String, Place, std::sync::Arc<ScheduleRecord>)> {
        let key = self.ticking.read().get(generation).cloned()?;
        let place = super::super::bridge::place_of_key(&key)?;
        let schedule = self.schedules.get(&key)?;
        (schedule.generation == generation).then_some((key, place, schedule))
    }
}

#[async_trait]
impl OnTick for Scheduler {
    async fn tick(&self, tick: &Tick) -> Result<(), TickError> {
        let Some((_, place, schedule)) = self.of_tick(&tick.schedule) else {
            return Ok(());
        };
        let Ok(target) = Target::deserialize(&schedule.target) else {
            tracing::error!(schedule = schedule.name, "a target cannot be read");
            return Ok(());
        };
        let arn = schedule.arn(&place);
        let planned = tick.planned.as_micros().to_string();
        let execution = Execution {
            arn: &arn,
            time: second(tick.planned),
            id: id_of(&[&tick.schedule, &planned]).to_string(),
        };
        let parcel = Parcel {
            place: &place,
            arn: &target.arn,
            input: Bytes::from(execution.input(&place, &target)),
            group: target
                .sqs_parameters
                .as_ref()
                .and_then(|sqs| sqs.message_group_id.as_deref()),
            dead_letter: target
                .dead_letter_config
                .as_ref()
                .and_then(|config| config.arn.as_deref()),
            retry: target.retry_policy.as_ref(),
            context: vec![
                ("SCHEDULE_ARN", arn.clone()),
                ("EXECUTION_ID", execution.id.clone()),
                ("RETRY_ATTEMPTS", "0".to_owned()),
            ],
            token: tick.token(""),
            origin: None,
            delay: schedule.window().mul_f64(self.entropy.unit()),
        };
        let sent = self.reach.send(parcel).await;
        sent.map_err(|error| TickError(error.to_string()))
    }

    async fn over(&self, generation: &str) {
        let _turn = self.turn.lock().await;
        let Some((key, _, schedule)) = self.of_tick(generation) else {
            return;
        };
        if schedule.after == AfterCompletion::None {
            return;
        }
        match self.schedules.remove(&[key]).await {
            Ok(_) => self.deactivate(&schedule).await,
            // The next start sees that it is over.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                schedule = schedule.name,
                "a schedule that is over cannot be removed"
            ),
        }
    }
}
