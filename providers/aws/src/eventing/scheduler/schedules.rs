//! Operations on schedules.

use std::sync::Arc;

use serde_json::{Value, json as document};
use sha2::{Digest as _, Sha256};
use sonagi_model::Timestamp;
use sonagi_triggers::{LONGEST_GRACE, Missed, MissedRules, Scheduled, Timing};
use uuid::Uuid;

use super::super::{epoch, json, key_of, page, prefix_of};
use super::input::{ScheduleInput, check_name};
use super::record::{AfterCompletion, DEFAULT_GROUP, ScheduleRecord};
use super::{Answer, Call, JSON, Scheduler, ServiceError, nothing};
use crate::place::Place;

fn missing(name: &str) -> ServiceError {
    ServiceError::new(
        404,
        "ResourceNotFoundException",
        format!("Schedule {name} does not exist."),
    )
}

fn record(
    call: &Call<'_>,
    name: &str,
    input: ScheduleInput,
    created: Timestamp,
    now: Timestamp,
) -> Result<ScheduleRecord, ServiceError> {
    let client = input.client_token.clone();
    Ok(ScheduleRecord {
        name: name.to_owned(),
        start: input.start()?,
        end: input.end()?,
        window: input.window()?,
        group: input.group_name.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        expression: input.schedule_expression,
        zone: input.schedule_expression_timezone.unwrap_or_else(|| "UTC".to_owned()),
        description: input.description,
        enabled: input.state.as_deref() != Some("DISABLED"),
        target: with_defaults(input.target),
        after: input.action_after_completion,
        kms: input.kms_key_arn,
        created,
        modified: now,
        client: client.map(|token| (token, hex::encode(Sha256::digest(call.body)))),
        generation: Uuid::new_v4().to_string(),
    })
}

/// The service shows the retry policy that holds where none is given.
fn with_defaults(mut target: Value) -> Value {
    let given = target.get("RetryPolicy").cloned().unwrap_or(Value::Null);
    let or = |name: &str, default: i64| given.get(name).cloned().unwrap_or_else(|| default.into());
    target["RetryPolicy"] = document!({
        "MaximumEventAgeInSeconds": or("MaximumEventAgeInSeconds", 86_400),
        "MaximumRetryAttempts": or("MaximumRetryAttempts", 185),
    });
    target
}

fn view(place: &Place, schedule: &ScheduleRecord) -> Value {
    let window = match schedule.window {
        0 => document!({ "Mode": "OFF" }),
        minutes => document!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes }),
    };
    let mut view = document!({
        "Arn": schedule.arn(place),
        "GroupName": schedule.group,
        "Name": schedule.name,
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.zone,
        "State": schedule.state(),
        "CreationDate": epoch(schedule.created),
        "LastModificationDate": epoch(schedule.modified),
        "Target": schedule.target,
        "FlexibleTimeWindow": window,
        "ActionAfterCompletion": match schedule.after {
            AfterCompletion::None => "NONE",
            AfterCompletion::Delete => "DELETE",
        },
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            view[name] = value;
        }
    };
    set("StartDate", schedule.start.map(|at| epoch(at).into()));
    set("EndDate", schedule.end.map(|at| epoch(at).into()));
    set("Description", schedule.description.as_deref().map(Value::from));
    set("KmsKeyArn", schedule.kms.as_deref().map(Value::from));
    view
}

impl Scheduler {
    /// Puts a schedule in force.
    pub(super) fn activate(self: &Arc<Self>, key: &str, schedule: &ScheduleRecord) -> Result<(), ServiceError> {
        if !schedule.enabled {
            return Ok(());
        }
        let Some(plan) = schedule.plan() else {
            let text = format!("Invalid Schedule Expression {}.", schedule.expression);
            return Err(ServiceError::validation(text));
        };
        // One that ticks once is made up for as long as can be; a rate begins at the very moment of its change.
        let rules = match plan.timing {
            Timing::Once(_) => MissedRules {
                policy: Missed::Once,
                grace: LONGEST_GRACE,
            },
            Timing::Every { .. } | Timing::Cron(_) => MissedRules::default(),
        };
        let scheduled = Scheduled {
            plan,
            rules,
            since: Timestamp::from_micros(schedule.modified.as_micros() - 1),
            owner: Arc::clone(self) as _,
        };
        self.ticking.write().insert(schedule.generation.clone(), key.to_owned());
        self.clockwork.set(&schedule.generation, scheduled)?;
        Ok(())
    }

    pub(super) async fn deactivate(&self, schedule: &ScheduleRecord) {
        let ticked = self.ticking.write().remove(&schedule.generation).is_some();
        if ticked {
            self.clockwork.remove(&schedule.generation).await;
        }
    }

    pub(super) async fn create_schedule(self: &Arc<Self>, call: &Call<'_>, name: &str) -> Answer {
        let input: ScheduleInput = call.input()?;
        input.check(name, call.place)?;
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        let record = record(call, name, input, now, now)?;
        self.group(call.place, &record.group)?;
        let key = key_of(call.place, &[&record.group, name]);
        if let Some(known) = self.schedules.get(&key) {
            if record.client.is_some() && known.client == record.client {
                // The same request again.
                return Ok(json(JSON, &document!({ "ScheduleArn": known.arn(call.place) })));
            }
            let text = format!("Schedule {name} already exists.");
            return Err(ServiceError::new(409, "ConflictException", text));
        }
        let record = self.schedules.put(&key, record).await?;
        if let Err(error) = self.activate(&key, &record) {
            self.schedules.remove(&[key]).await?;
            return Err(error);
        }
        Ok(json(JSON, &document!({ "ScheduleArn": record.arn(call.place) })))
    }

    pub(super) async fn update_schedule(self: &Arc<Self>, call: &Call<'_>, name: &str) -> Answer {
        let input: ScheduleInput = call.input()?;
        input.check(name, call.place)?;
        let _turn = self.turn.lock().await;
        let group = input.group_name.clone().unwrap_or_else(|| DEFAULT_GROUP.to_owned());
        let key = key_of(call.place, &[&group, name]);
        let known = self.schedules.get(&key).ok_or_else(|| missing(name))?;
        let record = record(call, name, input, known.created, self.clock.now())?;
        let arn = record.arn(call.place);
        if record.client.is_none() || record.client != known.client {
            let record = self.schedules.put(&key, record).await?;
            self.deactivate(&known).await;
            self.activate(&key, &record)?;
        }
        Ok(json(JSON, &document!({ "ScheduleArn": arn })))
    }

    pub(super) fn get_schedule(&self, call: &Call<'_>, name: &str) -> Answer {
        check_name(name, "name")?;
        let group = call.query.get("groupName").unwrap_or(DEFAULT_GROUP);
        let found = self.schedules.get(&key_of(call.place, &[group, name]));
        let found = found.ok_or_else(|| missing(name))?;
        Ok(json(JSON, &view(call.place, &found)))
    }

    pub(super) async fn delete_schedule(&self, call: &Call<'_>, name: &str) -> Answer {
        check_name(name, "name")?;
        let group = call.query.get("groupName").unwrap_or(DEFAULT_GROUP);
        let _turn = self.turn.lock().await;
        let key = key_of(call.place, &[group, name]);
        let known = self.schedules.get(&key).ok_or_else(|| missing(name))?;
        self.schedules.remove(&[key]).await?;
        self.deactivate(&known).await;
        Ok(nothing())
    }

    pub(super) fn list_schedules(&self, call: &Call<'_>) -> Answer {
        let group = call.query.get("ScheduleGroup");
        if let Some(group) = group {
            self.group(call.place, group)?;
        }
        let below: Vec<&str> = group.into_iter().collect();
        let mut found = self.schedules.with_prefix(&prefix_of(call.place, &below));
        let (prefix, state) = (
            call.query.get("NamePrefix").unwrap_or_default(),
            call.query.get("State"),
        );
        found.retain(|(_, schedule)| {
            schedule.name.starts_with(prefix) && state.is_none_or(|state| schedule.state() == state)
        });
        let (schedules, next) = page(found, call.query.get("NextToken"), call.limit()?)?;
        let schedules: Vec<Value> = schedules
            .iter()
            .map(|schedule| {
                document!({
                    "Arn": schedule.arn(call.place),
                    "Name": schedule.name,
                    "GroupName": schedule.group,
                    "State": schedule.state(),
                    "CreationDate": epoch(schedule.created),
                    "LastModificationDate": epoch(schedule.modified),
                    "Target": { "Arn": schedule.target["Arn"] },
                })
            })
            .collect();
        let mut answer = document!({ "Schedules": schedules });
        if let Some(next) = next {
            answer["NextToken"] = next.into();
        }
        Ok(json(JSON, &answer))
    }
}
