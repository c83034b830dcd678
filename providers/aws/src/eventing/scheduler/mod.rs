//! EventBridge Scheduler: the service `scheduler`, by the REST protocol.

mod groups;
mod input;
mod record;
mod schedules;
mod tick;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use sonagi_control::Table;
use sonagi_ports::{Clock, Entropy, MetadataStore, Record, StoreError};
use sonagi_triggers::Clockwork;
use sonagi_wire::Body;

use super::{Reach, ServiceError, empty};
use crate::auth::Caller;
use crate::control::Query;
use crate::place::Place;
use record::{GroupRecord, ScheduleRecord};

/// Content type of answers.
const JSON: &str = "application/json";

/// Groups of one account and region. Source: "Quotas for EventBridge Scheduler".
const GROUPS_MAX: usize = 500;

/// The schedules of all accounts.
#[derive(Debug)]
pub(crate) struct Scheduler {
    schedules: Table<ScheduleRecord>,
    groups: Table<GroupRecord>,
    /// Keys of schedules by their names in the clockwork.
    ticking: RwLock<HashMap<String, String>>,
    reach: Reach,
    clockwork: Arc<Clockwork>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Changes one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// What the schedules stand on.
#[derive(Debug)]
pub(crate) struct SchedulerParts<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) store: Arc<dyn MetadataStore>,
    pub(crate) reach: Reach,
    pub(crate) clockwork: Arc<Clockwork>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

type Answer = Result<Response<Body>, ServiceError>;

/// One request, authenticated.
struct Call<'a> {
    place: &'a Place,
    query: Query,
    body: &'a Bytes,
}

impl Call<'_> {
    fn input<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { self.body };
        serde_json::from_slice(body)
            .map_err(|error| ServiceError::validation(format!("The request is not of the operation's shape: {error}")))
    }

    fn limit(&self) -> Result<usize, ServiceError> {
        let Some(text) = self.query.get("MaxResults") else {
            return Ok(100);
        };
        match text.parse() {
            Ok(limit @ 1..=100) => Ok(limit),
            Ok(_) | Err(_) => Err(ServiceError::constraint(
                text,
                "maxResults",
                "Member must have value from 1 to 100",
            )),
        }
    }
}

impl Scheduler {
    /// Takes up what an earlier process left.
    pub(crate) fn open(parts: SchedulerParts<'_>) -> Result<Arc<Self>, StoreError> {
        let scheduler = Arc::new(Self {
            schedules: Table::load(parts.records, "aws.schedules", Arc::clone(&parts.store))?,
            groups: Table::load(parts.records, "aws.schedule-groups", parts.store)?,
            ticking: RwLock::default(),
            reach: parts.reach,
            clockwork: parts.clockwork,
            clock: parts.clock,
            entropy: parts.entropy,
            turn: tokio::sync::Mutex::new(()),
        });
        for (key, schedule) in scheduler.schedules.all().iter() {
            if let Err(error) = scheduler.activate(key, schedule) {
                tracing::error!(schedule = schedule.name, %error, "a schedule cannot be taken up");
            }
        }
        Ok(scheduler)
    }

    /// Serves one request.
    pub(crate) async fn serve(self: &Arc<Self>, parts: &Parts, body: &Bytes, caller: &Caller) -> Response<Body> {
        let call = Call {
            place: &caller.place,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            body,
        };
        let decode = |segment: &str| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8_lossy()
                .into_owned()
        };
        let path: Vec<String> = parts.uri.path().trim_matches('/').split('/').map(decode).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match Box::pin(self.perform(&parts.method, &path, &call)).await {
            Ok(response) => response,
            Err(error) => error.response(JSON),
        }
    }

    async fn perform(self: &Arc<Self>, method: &Method, path: &[&str], call: &Call<'_>) -> Answer {
        match (method.as_str(), path) {
            ("GET", ["schedules"]) => self.list_schedules(call),
            ("POST", ["schedules", name]) => self.create_schedule(call, name).await,
            ("PUT", ["schedules", name]) => self.update_schedule(call, name).await,
            ("GET", ["schedules", name]) => self.get_schedule(call, name),
            ("DELETE", ["schedules", name]) => self.delete_schedule(call, name).await,
            ("GET", ["schedule-groups"]) => self.list_groups(call),
            ("POST", ["schedule-groups", name]) => self.create_group(call, name).await,
            ("GET", ["schedule-groups", name]) => self.get_group(call, name),
            ("DELETE", ["schedule-groups", name]) => self.delete_group(call, name).await,
            ("GET", ["tags", arn @ ..]) => self.list_tags(call, &arn.join("/")),
            ("POST", ["tags", arn @ ..]) => self.tag(call, &arn.join("/")).await,
            ("DELETE", ["tags", arn @ ..]) => self.untag(call, &arn.join("/")).await,
            _ => Err(ServiceError::new(
                404,
                "UnknownOperationException",
                format!("EventBridge Scheduler has no operation with the method {method} and this path."),
            )),
        }
    }
}

fn nothing() -> Response<Body> {
    empty(JSON)
}
