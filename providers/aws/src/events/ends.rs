//! What the end of an event sends elsewhere: the invocation record to a destination, the event itself to a dead-letter
//! queue.
//! Source: "Invocation record" and "Dead-letter queues" of the Lambda developer guide; records as the service sent them.
//!
//! Functions take the record as an event of their own. Everything else is a destination by the name of its service: the
//! payload is the record (for a queue or the web), the entry of a bus, or the original event (for a dead-letter queue).
//! Attributes of a message to a queue are message attributes, each value as `TYPE:VALUE` (`String:…`, `Number:200`).

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sonagi_control::{Catalog, FunctionEntry};
use sonagi_model::{Outcome, Timestamp};
use sonagi_ports::{Attributes, EventEnd, EventRoute, EventStatus, FollowUp, LastAttempt, QueuedEvent};

use crate::arn::{FunctionRef, LATEST, Qualifier, of_function};
use crate::invoke::error_body;
use crate::place::Place as Home;
use crate::records::{AsyncRecord, RevisionRecord, read};
use crate::runtime::{CONTRACT, attributes};

/// The destination that queues are registered as; its addresses are queues' ARNs.
pub const QUEUE_ADAPTER: &str = "aws-sqs";
/// The destination that event buses are registered as; its addresses are buses' ARNs.
pub const BUS_ADAPTER: &str = "aws-events";
/// The destination that web addresses are registered as.
pub const WEB_ADAPTER: &str = "web";

/// The attribute of a message for a queue that is no message attribute: its group, bare.
pub(crate) const MESSAGE_GROUP: &str = "MessageGroupId";

/// Longest `ErrorMessage` of a dead letter, bytes.
const ERROR_MESSAGE_MAX: usize = 1024;

/// What a destination's address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A function, by its ARN.
    Function(&'a str),
    /// A queue, by its ARN.
    Queue(&'a str),
    /// An event bus, by its ARN.
    Bus(&'a str),
    /// A web address.
    Web(&'a str),
}

/// What an address means; `None`: nothing that this platform can reach.
pub(crate) fn place_of(address: &str) -> Option<Place<'_>> {
    if address.starts_with("http://") {
        return Some(Place::Web(address));
    }
    let parts: Vec<&str> = address.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, service, _, _, rest] if partition.starts_with("aws") && !rest.is_empty() => match *service {
            "lambda" => Some(Place::Function(address)),
            "sqs" => Some(Place::Queue(address)),
            "events" => Some(Place::Bus(address)),
            _ => None,
        },
        _ => None,
    }
}

/// An event's end, in Lambda's words.
pub(super) struct Ending<'a> {
    pub(super) event: &'a QueuedEvent,
    pub(super) end: &'a EventEnd<'a>,
    pub(super) entry: &'a FunctionEntry,
    pub(super) home: &'a Home,
    /// The qualifier under which the function was called.
    pub(super) qualifier: &'a str,
}

impl Ending<'_> {
    /// Everything that is sent.
    pub(super) fn follow_ups(&self, config: Option<&AsyncRecord>, catalog: &Catalog) -> Vec<FollowUp> {
        let destination = match self.end.status {
            EventStatus::Succeeded => config.and_then(|config| config.on_success.as_deref()),
            EventStatus::RetriesExhausted
            | EventStatus::Expired
            | EventStatus::TargetGone
            | EventStatus::Disabled
            | EventStatus::LoopStopped => config.and_then(|config| config.on_failure.as_deref()),
            EventStatus::Cancelled => None,
        };
        let record = destination.and_then(|address| self.record_for(address, catalog));
        let letter = self.dead_letter();
        record.into_iter().chain(letter).collect()
    }

    fn record_for(&self, address: &str, catalog: &Catalog) -> Option<FollowUp> {
        let record = self.record();
        match place_of(address)? {
            Place::Function(arn) => to_function(arn, &record, catalog),
            Place::Queue(arn) => Some(to(QUEUE_ADAPTER, arn, &record)),
            Place::Web(url) => Some(to(WEB_ADAPTER, url, &record)),
            Place::Bus(arn) => {
                let kind = if self.end.status == EventStatus::Succeeded {
                    "Success"
                } else {
                    "Failure"
                };
                let entry = json!({
                    "source": "lambda",
                    "detail-type": format!("Lambda Function Invocation Result - {kind}"),
                    "resources": [arn, self.function_arn()],
                    "detail": record,
                });
                Some(to(BUS_ADAPTER, arn, &entry))
            }
        }
    }

    fn function_arn(&self) -> String {
        format!(
            "{}:{}",
            of_function(self.home, &self.entry.function.name),
            self.qualifier
        )
    }

    const fn condition(&self) -> &'static str {
        match self.end.status {
            EventStatus::Succeeded => "Success",
            EventStatus::RetriesExhausted | EventStatus::TargetGone | EventStatus::Cancelled => "RetriesExhausted",
            EventStatus::Expired => "EventAgeExceeded",
            EventStatus::Disabled => "ZeroReservedConcurrency",
            EventStatus::LoopStopped => "RecursiveInvocation",
        }
    }

    /// The invocation record.
    fn record(&self) -> Value {
        let mut record = json!({
            "version": "1.0",
            "timestamp": iso(self.event.accepted),
            "requestContext": {
                "requestId": self.event.invocation().to_string(),
                "functionArn": self.function_arn(),
                "condition": self.condition(),
                "approximateInvokeCount": self.end.progress.started,
            },
            "requestPayload": value_of(&self.event.payload),
        });
        if let Some(last) = &self.end.last {
            let mut context = json!({ "statusCode": 200, "executedVersion": last.revision.label });
            if last.outcome != &Outcome::Success {
                context["functionError"] = json!("Unhandled");
            }
            record["responseContext"] = context;
            record["responsePayload"] = self.answer(last);
        }
        record
    }

    fn answer(&self, last: &LastAttempt<'_>) -> Value {
        let timeout = last.revision.spec.timeout;
        match error_body(last.outcome, self.event.invocation(), timeout) {
            Some(body) => value_of(&body),
            None => value_of(last.body),
        }
    }

    /// The event itself, for the dead-letter queue of the revision that ran or would have run.
    fn dead_letter(&self) -> Option<FollowUp> {
        if !self.end.status.is_dead() {
            return None;
        }
        let revision = match &self.end.last {
            Some(last) => last.revision,
            None => self.entry.latest(),
        };
        let record: RevisionRecord = read(&revision.document).ok()?;
        let target = record.settings.dead_letter?;
        let Some(Place::Queue(arn)) = place_of(&target) else {
            return None;
        };
        let mut attributes = Attributes::default();
        attributes.set("RequestID", format!("String:{}", self.event.invocation()));
        attributes.set("ErrorCode", "Number:200");
        attributes.set("ErrorMessage", format!("String:{}", self.error_message()));
        Some(FollowUp {
            attributes,
            payload: self.event.payload.clone(),
            ..to(QUEUE_ADAPTER, arn, &Value::Null)
        })
    }

    fn error_message(&self) -> String {
        let answer = self.end.last.as_ref().map(|last| self.answer(last));
        let text = answer.as_ref().and_then(|answer| answer.get("errorMessage")?.as_str());
        let text = text.unwrap_or_else(|| self.condition());
        let mut end = text.len().min(ERROR_MESSAGE_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    }
}

/// The value of a payload; one that is no JSON is shown as text.
fn value_of(payload: &[u8]) -> Value {
    if payload.is_empty() {
        return Value::Null;
    }
    // Looked at as raw text first, so that a huge document is not refused for its depth.
    let raw: Result<&RawValue, _> = serde_json::from_slice(payload);
    raw.and_then(|raw| serde_json::from_str(raw.get()))
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()))
}

fn iso(moment: Timestamp) -> String {
    crate::control::url_time(moment)
}

fn to(adapter: &str, address: &str, payload: &Value) -> FollowUp {
    FollowUp {
        route: EventRoute::Destination {
            adapter: adapter.to_owned(),
            address: address.to_owned(),
        },
        name: address.to_owned(),
        payload: Bytes::from(payload.to_string()),
        attributes: Attributes::default(),
    }
}

/// A function takes the record as its event. One that is gone by now takes nothing, which its event's life shows.
fn to_function(arn: &str, record: &Value, catalog: &Catalog) -> Option<FollowUp> {
    let named = FunctionRef::parse(arn).ok()?;
    let home = Home {
        account: named.account?,
        region: named.region?,
    };
    let entry = catalog.find(&home.namespace(), &named.name);
    let Some(entry) = entry else {
        return Some(to(CONTRACT, arn, record));
    };
    let mut given = Attributes::default();
    given.set(attributes::INVOKED_ARN, arn);
    Some(FollowUp {
        route: EventRoute::Function {
            contract: CONTRACT.to_owned(),
            function: entry.function.id,
            qualifier: named.qualifier.as_ref().map(Qualifier::to_string),
        },
        name: named.name.to_string(),
        attributes: given,
        ..to(CONTRACT, arn, record)
    })
}

/// The key of a qualifier among a function's configurations.
pub(super) fn key_of(qualifier: Option<&str>) -> &str {
    qualifier.unwrap_or(LATEST)
}
