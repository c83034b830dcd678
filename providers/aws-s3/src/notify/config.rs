//! Which changes of a bucket are told whom.

use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration, NotificationConfiguration,
    NotificationConfigurationFilter, PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    QueueConfiguration, S3KeyFilter,
};
use s3s::{S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Source;
use super::connect::Connection;
use super::event::What;
use crate::api::Api;
use crate::buckets::Settings;
use crate::errors::{invalid, not_offered};
use crate::front::S3Caller;

/// Configurations of one bucket. Source: "Event notification configuration".
const RULES: usize = 100;

/// Events that can be asked for and happen here.
const EVENTS: &[&str] = &[
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
];

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Function,
    Queue,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) id: String,
    kind: Kind,
    pub(crate) target: String,
    events: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    suffix: String,
}

/// All configurations of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rules(Vec<Rule>);

impl Rule {
    /// Restricts it to keys of this beginning and end.
    pub(super) fn narrow(&mut self, prefix: &str, suffix: &str) {
        (self.prefix, self.suffix) = (prefix.to_owned(), suffix.to_owned());
    }

    pub(super) fn connection(&self, bucket: &str) -> Connection {
        Connection {
            bucket: bucket.to_owned(),
            id: self.id.clone(),
            target: self.target.clone(),
            events: self.events.clone(),
            prefix: self.prefix.clone(),
            suffix: self.suffix.clone(),
        }
    }

    fn wants(&self, what: What, key: &str) -> bool {
        let name = what.name();
        let wanted = |event: &String| {
            let event = event.strip_prefix("s3:").unwrap_or_default();
            event == name || event.strip_suffix('*').is_some_and(|kind| name.starts_with(kind))
        };
        self.events.iter().any(wanted) && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }

    /// Whether one change could be told by both.
    fn overlaps(&self, other: &Self) -> bool {
        let both = |a: &str, b: &str| a == b || covers(a, b) || covers(b, a);
        let events = self.events.iter().any(|a| other.events.iter().any(|b| both(a, b)));
        let prefixes = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        let suffixes = self.suffix.ends_with(&other.suffix) || other.suffix.ends_with(&self.suffix);
        events && prefixes && suffixes
    }
}

/// Whether an event with `*` at its end stands for another.
fn covers(all: &str, one: &str) -> bool {
    all.strip_suffix('*').is_some_and(|kind| one.starts_with(kind))
}

impl Rules {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that a change is told by.
    pub(crate) fn of(&self, what: What, key: &str) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(move |rule| rule.wants(what, key))
    }

    fn read(given: NotificationConfiguration) -> S3Result<Self> {
        if given.topic_configurations.is_some_and(|topics| !topics.is_empty()) {
            return Err(not_offered("Topics (SNS) are"));
        }
        if given.event_bridge_configuration.is_some() {
            return Err(not_offered("Notifications to EventBridge are"));
        }
        let functions = given.lambda_function_configurations.unwrap_or_default();
        let functions = functions.into_iter().map(|rule| {
            read_rule(
                Kind::Function,
                rule.lambda_function_arn,
                rule.id,
                rule.events,
                rule.filter,
            )
        });
        let queues = given.queue_configurations.unwrap_or_default();
        let queues = queues
            .into_iter()
            .map(|rule| read_rule(Kind::Queue, rule.queue_arn, rule.id, rule.events, rule.filter));
        let rules = functions.chain(queues).collect::<S3Result<Vec<Rule>>>()?;
        Self(rules).checked()
    }

    /// These and one more.
    pub(super) fn with(&self, rule: Rule) -> S3Result<Self> {
        let mut rules = self.0.clone();
        rules.push(rule);
        Self(rules).checked()
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.0.retain(|rule| rule.id != id);
    }

    /// Those that tell functions.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.kind == Kind::Function)
    }

    fn checked(self) -> S3Result<Self> {
        let rules = &self.0;
        if rules.len() > RULES {
            return Err(invalid(format!(
                "A bucket may have {RULES} notification configurations at most"
            )));
        }
        for (index, rule) in rules.iter().enumerate() {
            let earlier = &rules[..index];
            if earlier.iter().any(|other| other.id == rule.id) {
                return Err(invalid("Same ID used for multiple configurations. IDs must be unique."));
            }
            if earlier.iter().any(|other| other.overlaps(rule)) {
                return Err(invalid(
                    "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
                ));
            }
        }
        Ok(self)
    }
}

pub(super) fn read_rule(
    kind: Kind,
    target: String,
    id: Option<String>,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
) -> S3Result<Rule> {
    let events: Vec<String> = events.into_iter().map(String::from).collect();
    if let Some(unknown) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
        return Err(invalid(format!(
            "The event '{unknown}' is not supported for notifications"
        )));
    }
    if events.is_empty() {
        return Err(invalid("At least one event must be specified"));
    }
    let mut rule = Rule {
        id: id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| Uuid::new_v4().to_string()),
        kind,
        target,
        events,
        prefix: String::new(),
        suffix: String::new(),
    };
    let filters = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
    for filter in filters.unwrap_or_default() {
        let value = filter.value.unwrap_or_default();
        let place = match filter
            .name
            .as_ref()
            .map(|name| name.as_str().to_ascii_lowercase())
            .as_deref()
        {
            Some("prefix") => &mut rule.prefix,
            Some("suffix") => &mut rule.suffix,
            Some(_) | None => return Err(invalid("filter rule name must be either prefix or suffix")),
        };
        if !place.is_empty() {
            return Err(invalid(
                "Cannot specify more than one prefix rule or suffix rule in a filter.",
            ));
        }
        *place = value;
    }
    Ok(rule)
}

fn filter_of(rule: &Rule) -> Option<NotificationConfigurationFilter> {
    let one = |name: &'static str, value: &String| {
        (!value.is_empty()).then(|| FilterRule {
            name: Some(FilterRuleName::from_static(name)),
            value: Some(value.clone()),
        })
    };
    // As the service shows them.
    let rules: Vec<FilterRule> = [one("Prefix", &rule.prefix), one("Suffix", &rule.suffix)]
        .into_iter()
        .flatten()
        .collect();
    (!rules.is_empty()).then_some(NotificationConfigurationFilter {
        key: Some(S3KeyFilter {
            filter_rules: Some(rules),
        }),
    })
}

impl Api {
    pub(crate) async fn set_notification(
        &self,
        req: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        let caller = S3Caller::of(&req)?;
        let input = req.input;
        let bucket = self
            .owned(&caller, &input.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let rules = Rules::read(input.notification_configuration)?;
        if input.skip_destination_validation != Some(true) {
            let source = Source {
                bucket: bucket.name.clone(),
                account: bucket.owner.clone(),
                region: bucket.region.clone(),
            };
            for rule in &rules.0 {
                self.targets.check(&rule.target, &source).map_err(|error| {
                    invalid(format!(
                        "Unable to validate the following destination configurations: {} ({error})",
                        rule.target
                    ))
                })?;
            }
        }
        let known = Settings::read(&bucket.document)?.notification;
        let new = rules
            .0
            .iter()
            .filter(|rule| rule.kind == Kind::Queue && !known.0.contains(rule));
        let new: Vec<String> = new.map(|rule| rule.target.clone()).collect();
        self.settle(&input.bucket, move |settings| settings.notification = rules)
            .await?;
        for target in new {
            self.try_out(&bucket, &caller, target).await;
        }
        Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
    }

    pub(crate) async fn notification(
        &self,
        req: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let caller = S3Caller::of(&req)?;
        let expected = req.input.expected_bucket_owner.as_deref();
        let bucket = self.owned(&caller, &req.input.bucket, expected).await?;
        let rules = Settings::read(&bucket.document)?.notification.0;
        let events = |rule: &Rule| rule.events.iter().cloned().map(Event::from).collect();
        let of = |kind: Kind| rules.iter().filter(move |rule| rule.kind == kind);
        let functions: Vec<_> = of(Kind::Function)
            .map(|rule| LambdaFunctionConfiguration {
                events: events(rule),
                filter: filter_of(rule),
                id: Some(rule.id.clone()),
                lambda_function_arn: rule.target.clone(),
            })
            .collect();
        let queues: Vec<_> = of(Kind::Queue)
            .map(|rule| QueueConfiguration {
                events: events(rule),
                filter: filter_of(rule),
                id: Some(rule.id.clone()),
                queue_arn: rule.target.clone(),
            })
            .collect();
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
            lambda_function_configurations: (!functions.is_empty()).then_some(functions),
            queue_configurations: (!queues.is_empty()).then_some(queues),
            ..GetBucketNotificationConfigurationOutput::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: &str, suffix: &str) -> Rule {
        Rule {
            id: format!("{events:?}{prefix}{suffix}"),
            kind: Kind::Function,
            target: "arn".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        }
    }

    #[test]
    fn rules_want_what_they_name() {
        let cases = [
            (rule(&["s3:ObjectCreated:*"], "", ""), What::Put, "a", true),
            (rule(&["s3:ObjectCreated:*"], "", ""), What::Complete, "a", true),
            (rule(&["s3:ObjectCreated:*"], "", ""), What::Delete, "a", false),
            (rule(&["s3:ObjectCreated:Copy"], "", ""), What::Put, "a", false),
            (rule(&["s3:ObjectRemoved:Delete"], "", ""), What::Delete, "a", true),
            (
                rule(&["s3:ObjectCreated:Put"], "in/", ".jpg"),
                What::Put,
                "in/a.jpg",
                true,
            ),
            (
                rule(&["s3:ObjectCreated:Put"], "in/", ".jpg"),
                What::Put,
                "in/a.png",
                false,
            ),
            (
                rule(&["s3:ObjectCreated:Put"], "in/", ".jpg"),
                What::Put,
                "out/a.jpg",
                false,
            ),
        ];
        for (rule, what, key, wanted) in cases {
            assert_eq!(rule.wants(what, key), wanted, "{rule:?} {key}");
        }
    }

    #[test]
    fn rules_that_could_tell_the_same_are_found() {
        let all = rule(&["s3:ObjectCreated:*"], "a/", "");
        assert!(all.overlaps(&rule(&["s3:ObjectCreated:Put"], "", ".x")));
        assert!(all.overlaps(&rule(&["s3:ObjectCreated:*"], "a/b/", "")));
        assert!(!all.overlaps(&rule(&["s3:ObjectCreated:Put"], "b/", "")));
        assert!(!all.overlaps(&rule(&["s3:ObjectRemoved:*"], "a/", "")));
    }
}
