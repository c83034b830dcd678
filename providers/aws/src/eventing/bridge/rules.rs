//! Rules: by a pattern, by a schedule, or both.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json as document};
use sonagi_triggers::{Expression, MissedRules, Pattern, Plan, Scheduled, Timing, Units};
use uuid::Uuid;

use super::super::{is_name, key_of, page, prefix_of};
use super::record::{DEFAULT_BUS, RuleRecord};
use super::tags::{TagInput, tags_of};
use super::{Answer, Bridge, Call, RULES_MAX, ServiceError, limit, nothing, shown};
use crate::place::Place;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuleInput {
    name: String,
    #[serde(default)]
    event_bus_name: Option<String>,
    #[serde(default)]
    schedule_expression: Option<String>,
    #[serde(default)]
    event_pattern: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    role_arn: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listing {
    name_prefix: Option<String>,
    event_bus_name: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

/// Longest pattern, characters.
const PATTERN_MAX: usize = 4096;

fn plan_of(expression: &str, since: sonagi_model::Timestamp) -> Option<Plan> {
    let timing = match Expression::parse(expression, Units::Agreeing).ok()? {
        // The first period begins when the rule does.
        Expression::Rate(period) => Timing::Every {
            period,
            first: since.plus(period),
        },
        Expression::Cron(cron) => Timing::Cron(cron),
        Expression::At(_) => return None,
    };
    Some(Plan {
        timing,
        zone: jiff::tz::TimeZone::UTC,
        start: None,
        end: None,
    })
}

/// What is wrong with a pattern, in the words of the service.
pub(super) fn pattern_of(text: &str) -> Result<Pattern, ServiceError> {
    if text.chars().count() > PATTERN_MAX {
        let constraint = format!("Member must have length less than or equal to {PATTERN_MAX}");
        return Err(ServiceError::constraint(text, "eventPattern", &constraint));
    }
    Pattern::parse(text).map_err(|error| {
        let text = format!("Event pattern is not valid. Reason: {error}");
        ServiceError::new(400, "InvalidEventPatternException", text)
    })
}

fn view(place: &Place, rule: &RuleRecord) -> Value {
    let mut view = document!({
        "Name": rule.name,
        "Arn": rule.arn(place),
        "State": rule.state(),
        "EventBusName": rule.bus,
    });
    let optional = [
        ("EventPattern", &rule.pattern),
        ("ScheduleExpression", &rule.schedule),
        ("Description", &rule.description),
        ("RoleArn", &rule.role),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            view[name] = value.as_str().into();
        }
    }
    view
}

impl Bridge {
    /// Puts a rule in force, or takes it out, as its record says.
    pub(super) fn activate(self: &Arc<Self>, key: &str, rule: &RuleRecord) -> Result<(), ServiceError> {
        let pattern = rule
            .pattern
            .as_deref()
            .filter(|_| rule.enabled)
            .map(pattern_of)
            .transpose()?;
        match pattern {
            Some(pattern) => self.patterns.write().insert(key.to_owned(), Arc::new(pattern)),
            None => self.patterns.write().remove(key),
        };
        let plan = rule.schedule.as_deref().filter(|_| rule.enabled);
        if let Some(plan) = plan.and_then(|text| plan_of(text, rule.since)) {
            self.ticking.write().insert(rule.generation.clone(), key.to_owned());
            let scheduled = Scheduled {
                plan,
                rules: MissedRules::default(),
                since: rule.since,
                owner: Arc::clone(self) as _,
            };
            self.clockwork.set(&rule.generation, scheduled)?;
        }
        Ok(())
    }

    async fn deactivate(&self, key: &str, rule: &RuleRecord) {
        self.patterns.write().remove(key);
        let ticked = self.ticking.write().remove(&rule.generation).is_some();
        if ticked {
            self.clockwork.remove(&rule.generation).await;
        }
    }

    /// Keeps a changed rule. Its schedule begins anew where that, or whether it is enabled, has changed.
    pub(super) async fn keep(
        self: &Arc<Self>,
        key: &str,
        known: Option<&RuleRecord>,
        mut rule: RuleRecord,
    ) -> Result<(), ServiceError> {
        let same = known.is_some_and(|known| (&known.schedule, known.enabled) == (&rule.schedule, rule.enabled));
        if !same {
            rule.generation = Uuid::new_v4().to_string();
            rule.since = self.clock.now();
        }
        let rule = self.rules.put(key, rule).await?;
        if let Some(known) = known.filter(|_| !same) {
            self.deactivate(key, known).await;
        }
        self.activate(key, &rule)
    }

    pub(super) fn rule(
        &self,
        place: &Place,
        bus: Option<&str>,
        name: &str,
    ) -> Result<(String, Arc<RuleRecord>), ServiceError> {
        let bus = self.bus_of(place, bus)?;
        let key = key_of(place, &[&bus, name]);
        let found = self.rules.get(&key);
        found.map(|rule| (key, rule)).ok_or_else(|| {
            let text = format!("Rule {name} does not exist on EventBus {bus}.");
            ServiceError::new(400, "ResourceNotFoundException", text)
        })
    }

    pub(super) async fn put_rule(self: &Arc<Self>, call: &Call<'_>) -> Answer {
        let input: RuleInput = call.input()?;
        check(&input)?;
        let _turn = self.turn.lock().await;
        let bus = self.bus_of(call.place, input.event_bus_name.as_deref())?;
        if input.schedule_expression.is_some() && bus != DEFAULT_BUS {
            return Err(ServiceError::validation(
                "ScheduleExpression is supported only on the default event bus.",
            ));
        }
        let key = key_of(call.place, &[&bus, &input.name]);
        let known = self.rules.get(&key);
        if known.is_none() && self.rules.with_prefix(&prefix_of(call.place, &[&bus])).len() >= RULES_MAX {
            let text =
                format!("The requested resource exceeds the maximum number allowed: {RULES_MAX} rules of a bus.");
            return Err(ServiceError::new(400, "LimitExceededException", text));
        }
        let rule = RuleRecord {
            name: input.name,
            bus,
            pattern: input.event_pattern,
            schedule: input.schedule_expression,
            enabled: input.state.as_deref() != Some("DISABLED"),
            description: input.description,
            role: input.role_arn,
            tags: match &known {
                // Tags of a rule that is there are not changed by this operation.
                Some(known) => known.tags.clone(),
                None => tags_of(input.tags)?,
            },
            targets: known.as_ref().map_or_else(Vec::new, |known| known.targets.clone()),
            generation: known
                .as_ref()
                .map_or_else(String::new, |known| known.generation.clone()),
            since: known.as_ref().map_or_else(|| self.clock.now(), |known| known.since),
        };
        let arn = rule.arn(call.place);
        self.keep(&key, known.as_deref(), rule).await?;
        Ok(shown(document!({ "RuleArn": arn })))
    }

    pub(super) async fn delete_rule(&self, call: &Call<'_>) -> Answer {
        let input: RuleInput = call.input()?;
        let _turn = self.turn.lock().await;
        let bus = self.bus_of(call.place, input.event_bus_name.as_deref())?;
        let key = key_of(call.place, &[&bus, &input.name]);
        // A rule that is not there is as good as deleted, to the service.
        let Some(rule) = self.rules.get(&key) else {
            return Ok(nothing());
        };
        if !rule.targets.is_empty() {
            return Err(ServiceError::validation("Rule can't be deleted since it has targets."));
        }
        self.rules.remove(std::slice::from_ref(&key)).await?;
        self.deactivate(&key, &rule).await;
        Ok(nothing())
    }

    pub(super) fn describe_rule(&self, call: &Call<'_>) -> Answer {
        let input: RuleInput = call.input()?;
        let (_, rule) = self.rule(call.place, input.event_bus_name.as_deref(), &input.name)?;
        let mut view = view(call.place, &rule);
        view["CreatedBy"] = call.place.account.as_str().into();
        Ok(shown(view))
    }

    pub(super) fn list_rules(&self, call: &Call<'_>) -> Answer {
        let input: Listing = call.input()?;
        let bus = self.bus_of(call.place, input.event_bus_name.as_deref())?;
        let wanted = format!(
            "{}{}",
            prefix_of(call.place, &[&bus]),
            input.name_prefix.as_deref().unwrap_or_default()
        );
        let found = self.rules.with_prefix(&wanted);
        let (rules, next) = page(found, input.next_token.as_deref(), limit(input.limit)?)?;
        let rules: Vec<Value> = rules.iter().map(|rule| view(call.place, rule)).collect();
        Ok(shown(document!({ "Rules": rules, "NextToken": next })))
    }

    pub(super) async fn switch_rule(self: &Arc<Self>, call: &Call<'_>, enabled: bool) -> Answer {
        let input: RuleInput = call.input()?;
        let _turn = self.turn.lock().await;
        let (key, known) = self.rule(call.place, input.event_bus_name.as_deref(), &input.name)?;
        let rule = RuleRecord {
            enabled,
            ..RuleRecord::clone(&known)
        };
        self.keep(&key, Some(&known), rule).await?;
        Ok(nothing())
    }
}

fn check(input: &RuleInput) -> Result<(), ServiceError> {
    if !is_name(&input.name, 64, ".-_") {
        let constraint = "Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+";
        return Err(ServiceError::constraint(&input.name, "name", constraint));
    }
    if let Some(state) = &input.state
        && !["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"].contains(&state.as_str())
    {
        let constraint =
            "Member must satisfy enum value set: [ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]";
        return Err(ServiceError::constraint(state, "state", constraint));
    }
    if input.event_pattern.is_none() && input.schedule_expression.is_none() {
        return Err(ServiceError::validation(
            "Parameter(s) EventPattern or ScheduleExpression must be specified.",
        ));
    }
    if let Some(pattern) = &input.event_pattern {
        pattern_of(pattern)?;
    }
    if let Some(expression) = &input.schedule_expression
        && plan_of(expression, sonagi_model::Timestamp::EPOCH).is_none()
    {
        return Err(ServiceError::validation("Parameter ScheduleExpression is not valid."));
    }
    Ok(())
}
