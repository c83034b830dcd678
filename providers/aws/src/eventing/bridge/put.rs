//! Putting events on buses, and trying patterns.

use serde::Deserialize;
use serde_json::{Value, json as document};
use sonagi_model::EventId;
use sonagi_triggers::{CloudEvent, EventData};

use super::super::{moment, second};
use super::rules::pattern_of;
use super::{Answer, Bridge, Call, ServiceError, shown};
use crate::place::Place;

/// Events of one request.
const ENTRIES_MAX: usize = 10;
/// Bytes of one request's events. Source: "Calculating PutEvents event entry size", since 2026 1 MB.
const ENTRIES_SIZE_MAX: usize = 1024 * 1024;

/// Attributes of an event that CloudEvents have no word for.
pub(super) const ACCOUNT: &str = "awsaccount";
pub(super) const REGION: &str = "awsregion";
pub(super) const RESOURCES: &str = "awsresources";
/// Set on an event that one bus has sent to another.
pub(super) const HOPPED: &str = "awshopped";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutInput {
    entries: Vec<Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    time: Option<Value>,
    source: Option<String>,
    resources: Vec<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
}

impl Entry {
    fn size(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail];
        let texts = texts.into_iter().flatten().chain(&self.resources).map(String::len);
        texts.sum::<usize>() + if self.time.is_some() { 14 } else { 0 }
    }
}

/// Why an entry is not taken: code and message.
type Refused = (&'static str, String);

fn missing(what: &str) -> Refused {
    let text = format!("Parameter {what} is not valid. Reason: {what} is a required argument.");
    ("InvalidArgument", text)
}

/// One event of the service, in the bus's own form.
pub(super) struct Content<'a> {
    pub(super) id: String,
    pub(super) source: &'a str,
    pub(super) detail_type: &'a str,
    pub(super) time: String,
    pub(super) resources: Vec<Value>,
    pub(super) detail: Value,
}

impl Content<'_> {
    pub(super) fn event(self, place: &Place) -> Option<CloudEvent> {
        let event = CloudEvent::new(&self.id, self.source, self.detail_type).ok()?;
        Some(
            event
                .with("time", self.time)
                .with("datacontenttype", "application/json")
                .with(ACCOUNT, place.account.as_str())
                .with(REGION, place.region.as_str())
                .with(RESOURCES, Value::Array(self.resources).to_string())
                .with_data(EventData::Json(self.detail)),
        )
    }
}

impl Bridge {
    pub(super) async fn put_events(&self, call: &Call<'_>) -> Answer {
        let input: PutInput = call.input()?;
        if input.entries.is_empty() || input.entries.len() > ENTRIES_MAX {
            let constraint = if input.entries.is_empty() {
                "Member must have length greater than or equal to 1".to_owned()
            } else {
                format!("Member must have length less than or equal to {ENTRIES_MAX}")
            };
            return Err(ServiceError::constraint("[Entries]", "entries", &constraint));
        }
        if input.entries.iter().map(Entry::size).sum::<usize>() > ENTRIES_SIZE_MAX {
            return Err(ServiceError::validation(
                "Total size of the entries in the request is over the limit.",
            ));
        }
        let (mut results, mut failed) = (Vec::new(), 0);
        for entry in &input.entries {
            results.push(match self.put(call.place, entry).await {
                Ok(id) => document!({ "EventId": id }),
                Err((code, message)) => {
                    failed += 1;
                    document!({ "ErrorCode": code, "ErrorMessage": message })
                }
            });
        }
        Ok(shown(document!({ "FailedEntryCount": failed, "Entries": results })))
    }

    async fn put(&self, place: &Place, entry: &Entry) -> Result<String, Refused> {
        let given = |value: &Option<String>, what| {
            value
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| missing(what))
        };
        let source = given(&entry.source, "Source")?;
        let detail_type = given(&entry.detail_type, "DetailType")?;
        let detail = given(&entry.detail, "Detail")?;
        if source.starts_with("aws.") {
            return Err((
                "NotAuthorizedForSourceException",
                "Not authorized for the source.".to_owned(),
            ));
        }
        let detail: Value = serde_json::from_str(&detail)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
        let time = entry.time.as_ref().and_then(moment).unwrap_or_else(|| self.clock.now());
        let id = EventId::generate();
        let content = Content {
            id: id.as_uuid().as_hyphenated().to_string(),
            source: &source,
            detail_type: &detail_type,
            time: second(time),
            resources: entry
                .resources
                .iter()
                .map(|resource| resource.as_str().into())
                .collect(),
            detail,
        };
        let name = content.id.clone();
        // Events for a bus that is not there are taken and reach nobody, as in the service.
        let (Ok(bus), Some(event)) = (
            self.bus_of(place, entry.event_bus_name.as_deref()),
            content.event(place),
        ) else {
            return Ok(name);
        };
        match self.broker.publish(id, &place.namespace(), &bus, &event, None).await {
            Ok(_) => Ok(name),
            Err(error) => {
                let error = ServiceError::from(error);
                Err((
                    if error.status == 503 {
                        "ThrottlingException"
                    } else {
                        "InternalFailure"
                    },
                    error.message,
                ))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TestInput {
    event_pattern: String,
    event: String,
}

/// Fields that an event must have to be tried.
const REQUIRED: [&str; 7] = ["id", "account", "source", "time", "region", "resources", "detail-type"];

pub(super) fn test_event_pattern(call: &Call<'_>) -> Answer {
    let input: TestInput = call.input()?;
    let pattern = pattern_of(&input.event_pattern)?;
    let event: Value = serde_json::from_str(&input.event)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| ServiceError::validation("Parameter Event is not valid."))?;
    if let Some(missing) = REQUIRED.iter().find(|name| event.get(**name).is_none()) {
        let text = format!("Parameter Event is not valid. Reason: {missing} is a required field.");
        return Err(ServiceError::validation(text));
    }
    Ok(shown(document!({ "Result": pattern.matches(&event) })))
}
