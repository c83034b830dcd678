//! EventBridge: the service `events`, by the JSON protocol.

mod buses;
mod destination;
mod put;
mod record;
mod rules;
mod spread;
mod tags;
mod targets;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sonagi_control::Table;
use sonagi_ports::{Clock, MetadataStore, Record, StoreError};
use sonagi_triggers::{Broker, Clockwork, Pattern};
use sonagi_wire::Body;

use super::{Reach, SEPARATOR, ServiceError, empty, json, key_of};
use crate::auth::Caller;
use crate::place::{AccountId, Place, Region};

pub use destination::BusDeliveries;
use record::{BusRecord, DEFAULT_BUS, RuleRecord};
pub(in crate::eventing) use record::{DeadLetterConfig, RetryPolicy, SqsParameters};
pub(in crate::eventing) use tags::{TagInput, add as add_tags};

/// Content type of requests and answers.
const JSON: &str = "application/x-amz-json-1.1";

/// What comes before an operation's name in `X-Amz-Target`.
const TARGET: &str = "AWSEvents.";

/// Rules of one bus. Source: "Amazon EventBridge quotas".
const RULES_MAX: usize = 300;
/// Buses of one account and region.
const BUSES_MAX: usize = 100;
/// Targets of one rule.
const TARGETS_MAX: usize = 5;

/// The EventBridge of all accounts.
#[derive(Debug)]
pub(crate) struct Bridge {
    buses: Table<BusRecord>,
    rules: Table<RuleRecord>,
    /// Patterns of rules that are enabled, by the rule's key.
    patterns: RwLock<HashMap<String, Arc<Pattern>>>,
    /// Keys of rules by the names of their schedules.
    ticking: RwLock<HashMap<String, String>>,
    reach: Reach,
    broker: Arc<Broker>,
    clockwork: Arc<Clockwork>,
    clock: Arc<dyn Clock>,
    /// Changes one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// What a bridge stands on.
#[derive(Debug)]
pub(crate) struct BridgeParts<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) store: Arc<dyn MetadataStore>,
    pub(crate) reach: Reach,
    pub(crate) broker: Arc<Broker>,
    pub(crate) clockwork: Arc<Clockwork>,
    pub(crate) clock: Arc<dyn Clock>,
}

type Answer = Result<Response<Body>, ServiceError>;

/// One request, authenticated.
struct Call<'a> {
    place: &'a Place,
    body: &'a Bytes,
}

impl Call<'_> {
    fn input<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_slice(self.body).map_err(|error| {
            ServiceError::new(
                400,
                "SerializationException",
                format!("The request is not of the operation's shape: {error}"),
            )
        })
    }
}

impl Bridge {
    /// Takes up what an earlier process left.
    pub(crate) fn open(parts: BridgeParts<'_>) -> Result<Arc<Self>, StoreError> {
        let bridge = Arc::new(Self {
            buses: Table::load(parts.records, "aws.event-buses", Arc::clone(&parts.store))?,
            rules: Table::load(parts.records, "aws.event-rules", parts.store)?,
            patterns: RwLock::default(),
            ticking: RwLock::default(),
            reach: parts.reach,
            broker: parts.broker,
            clockwork: parts.clockwork,
            clock: parts.clock,
            turn: tokio::sync::Mutex::new(()),
        });
        for (key, rule) in bridge.rules.all().iter() {
            if let Err(error) = bridge.activate(key, rule) {
                tracing::error!(rule = rule.name, %error, "a rule cannot be taken up");
            }
        }
        bridge.broker.subscribe(Arc::clone(&bridge) as _);
        Ok(bridge)
    }

    /// Serves one request.
    pub(crate) async fn serve(self: &Arc<Self>, parts: &Parts, body: &Bytes, caller: &Caller) -> Response<Body> {
        let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let operation = target
            .and_then(|target| target.strip_prefix(TARGET))
            .unwrap_or_default();
        let call = Call {
            place: &caller.place,
            body,
        };
        match Box::pin(self.perform(operation, &call)).await {
            Ok(response) => response,
            Err(error) => error.response(JSON),
        }
    }

    async fn perform(self: &Arc<Self>, operation: &str, call: &Call<'_>) -> Answer {
        match operation {
            "PutEvents" => self.put_events(call).await,
            "TestEventPattern" => put::test_event_pattern(call),
            "CreateEventBus" => self.create_event_bus(call).await,
            "UpdateEventBus" => self.update_event_bus(call).await,
            "DeleteEventBus" => self.delete_event_bus(call).await,
            "DescribeEventBus" => self.describe_event_bus(call),
            "ListEventBuses" => self.list_event_buses(call),
            "PutRule" => self.put_rule(call).await,
            "DeleteRule" => self.delete_rule(call).await,
            "DescribeRule" => self.describe_rule(call),
            "ListRules" => self.list_rules(call),
            "EnableRule" => self.switch_rule(call, true).await,
            "DisableRule" => self.switch_rule(call, false).await,
            "PutTargets" => self.put_targets(call).await,
            "RemoveTargets" => self.remove_targets(call).await,
            "ListTargetsByRule" => self.list_targets(call),
            "ListRuleNamesByTarget" => self.list_rule_names(call),
            "TagResource" => self.tag(call).await,
            "UntagResource" => self.untag(call).await,
            "ListTagsForResource" => self.list_tags(call),
            other => {
                let shown: String = other.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
                let text = format!("This platform does not offer the operation {shown:?} of EventBridge.");
                Err(ServiceError::new(400, "UnknownOperationException", text))
            }
        }
    }

    /// The name of a bus that is given by name or ARN; `None` is the default one. It must exist.
    fn bus_of(&self, place: &Place, given: Option<&str>) -> Result<String, ServiceError> {
        let given = given.unwrap_or(DEFAULT_BUS);
        let name = given.split_once(":event-bus/").map_or(given, |(_, name)| name);
        let missing = || {
            let text = format!("Event bus {name} does not exist.");
            ServiceError::new(400, "ResourceNotFoundException", text)
        };
        if given.starts_with("arn:") && given != record::bus_arn(place, name) {
            return Err(missing());
        }
        if name != DEFAULT_BUS && self.buses.get(&key_of(place, &[name])).is_none() {
            return Err(missing());
        }
        Ok(name.to_owned())
    }
}

/// The place of a key.
pub(super) fn place_of_key(key: &str) -> Option<Place> {
    let mut parts = key.split(SEPARATOR);
    Some(Place {
        account: AccountId::parse(parts.next()?).ok()?,
        region: Region::parse(parts.next()?).ok()?,
    })
}

/// A list's `Limit`.
fn limit(given: Option<i64>) -> Result<usize, ServiceError> {
    match given {
        None => Ok(100),
        Some(limit) => match usize::try_from(limit) {
            Ok(limit @ 1..=100) => Ok(limit),
            Ok(_) | Err(_) => Err(ServiceError::constraint(
                &limit.to_string(),
                "limit",
                "Member must have value from 1 to 100",
            )),
        },
    }
}

/// Leaves nulls out, as the service does.
fn shown(mut document: Value) -> Response<Body> {
    if let Some(members) = document.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    json(JSON, &document)
}

fn nothing() -> Response<Body> {
    empty(JSON)
}
