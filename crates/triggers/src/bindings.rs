//! Bindings: which function of any provider gets what from a schedule or a bus. The native API's own triggers; providers
//! have theirs besides, on the same clockwork and the same bus.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sonagi_control::Table;
use sonagi_model::{Namespace, Timestamp};
use sonagi_ports::{Adapter, AdapterError, Clock, DeliveryError, MetadataStore, NativeCall, Record, StoreError};
use uuid::Uuid;

use crate::bus::{Broker, CloudEvent, Notice, Subscriber};
use crate::cron::Cron;
use crate::pattern::Pattern;
use crate::schedule::{
    Clockwork, Expression, Missed, MissedRules, OnTick, Plan, Scheduled, Tick, TickError, Timing, TooManySchedules,
    Units, zone,
};

/// Bindings of one namespace.
const BINDINGS_MAX: usize = 1000;
/// Longest name of a binding or a bus, and longest payload of a tick, bytes.
const NAME_MAX: usize = 64;
const PAYLOAD_MAX: usize = 64 * 1024;
/// Between namespace and name in a key: neither has it.
const SEPARATOR: char = ' ';
/// How long the tick of a schedule is made up for that has only one.
const ONCE_GRACE: Duration = Duration::from_secs(23 * 3600);
/// How long `all` missed ticks are made up for.
const ALL_GRACE: Duration = Duration::from_secs(3600);

/// Where a function's events come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The ticks of a schedule.
    Schedule {
        /// Five or six fields of cron, `cron(…)`, `rate(…)` or `at(…)`.
        expression: String,
        /// A time zone's name.
        zone: String,
        /// What the function gets; the moment and the binding's name if nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// What becomes of missed ticks: `skip`, `once`, `all`.
        missed: String,
    },
    /// The events of a bus.
    Bus {
        /// The bus.
        bus: String,
        /// Which of them: a pattern for the CloudEvent's JSON document; all if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Value>,
    },
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Its name, in the namespace.
    pub name: String,
    /// The function's namespace.
    pub namespace: Namespace,
    /// The function.
    pub function: String,
    /// Version or alias; the live one if nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<String>,
    /// Where its events come from.
    pub source: Source,
    /// When it was made.
    pub created: Timestamp,
    /// The name of its schedule in the clockwork.
    #[serde(default)]
    pub generation: String,
}

/// A binding cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// Something about it is wrong: what.
    #[error("{0}")]
    Invalid(String),
    /// There is one of this name.
    #[error("binding {0} exists already")]
    Exists(String),
    /// There are too many.
    #[error("there are {BINDINGS_MAX} bindings in the namespace already, which is the limit")]
    TooMany,
    /// Or too many schedules.
    #[error(transparent)]
    Schedules(#[from] TooManySchedules),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// See the module.
#[derive(Debug)]
pub struct Bindings {
    table: Table<Binding>,
    adapters: OnceLock<Vec<Arc<dyn Adapter>>>,
    /// Patterns of bindings to buses, by key.
    filters: RwLock<HashMap<String, Option<Arc<Pattern>>>>,
    /// Keys of bindings by the names of their schedules.
    ticking: RwLock<HashMap<String, String>>,
    clockwork: Arc<Clockwork>,
    clock: Arc<dyn Clock>,
    turn: tokio::sync::Mutex<()>,
}

fn key_of(namespace: &Namespace, name: &str) -> String {
    format!("{namespace}{SEPARATOR}{name}")
}

fn invalid<T>(text: impl Into<String>) -> Result<T, BindingError> {
    Err(BindingError::Invalid(text.into()))
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// The plan and the rules of a schedule.
fn plan_of(
    expression: &str,
    zone_name: &str,
    missed: &str,
    since: Timestamp,
) -> Result<(Plan, MissedRules), BindingError> {
    let wrapped = ["rate(", "cron(", "at("]
        .iter()
        .any(|kind| expression.trim_start().starts_with(kind));
    let timing = if wrapped {
        let read = Expression::parse(expression, Units::Any);
        match read.map_err(|error| BindingError::Invalid(error.to_string()))? {
            Expression::Rate(period) => Timing::Every {
                period,
                first: since.plus(period),
            },
            Expression::Cron(cron) => Timing::Cron(cron),
            Expression::At(date) => Timing::Once(date),
        }
    } else {
        Timing::Cron(Cron::unix(expression).map_err(|error| BindingError::Invalid(error.to_string()))?)
    };
    let Some(here) = zone(zone_name) else {
        return invalid(format!("{zone_name:?} is no time zone such as UTC or Europe/Berlin"));
    };
    let (policy, grace) = match missed {
        "skip" => (Missed::Skip, MissedRules::default().grace),
        "once" => (Missed::Once, MissedRules::default().grace),
        "all" => (Missed::All, ALL_GRACE),
        other => return invalid(format!("missed {other:?} is none of skip, once, all")),
    };
    // One that ticks once is made up for as long as its function's provider knows tokens.
    let grace = match &timing {
        Timing::Once(_) => ONCE_GRACE,
        Timing::Every { .. } | Timing::Cron(_) => grace,
    };
    let plan = Plan {
        timing,
        zone: here,
        start: None,
        end: None,
    };
    Ok((plan, MissedRules { policy, grace }))
}

impl Bindings {
    /// Takes up what an earlier process left. Nothing is sent before [`Bindings::attach`].
    ///
    /// # Errors
    /// [`StoreError`]: a binding cannot be read.
    pub fn open(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        clockwork: Arc<Clockwork>,
        broker: &Broker,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let bindings = Arc::new(Self {
            table: Table::load(records, "triggers.bindings", store)?,
            adapters: OnceLock::new(),
            filters: RwLock::default(),
            ticking: RwLock::default(),
            clockwork,
            clock,
            turn: tokio::sync::Mutex::new(()),
        });
        for (key, binding) in bindings.table.all().iter() {
            if let Err(error) = bindings.activate(key, binding) {
                tracing::error!(binding = binding.name, %error, "a binding cannot be taken up");
            }
        }
        broker.subscribe(Arc::clone(&bindings) as _);
        Ok(bindings)
    }

    /// The providers whose functions are sent to.
    pub fn attach(&self, adapters: Vec<Arc<dyn Adapter>>) {
        let _ = self.adapters.set(adapters);
    }

    /// Of one namespace, by name.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Vec<Arc<Binding>> {
        let found = self.table.with_prefix(&key_of(namespace, ""));
        found.into_iter().map(|(_, binding)| binding).collect()
    }

    /// When a binding's schedule ticks next.
    #[must_use]
    pub fn next(&self, binding: &Binding) -> Option<Timestamp> {
        self.clockwork.next(&binding.generation)
    }

    /// Makes a binding: durable and in force when this returns.
    ///
    /// # Errors
    /// [`BindingError`].
    pub async fn add(self: &Arc<Self>, mut binding: Binding) -> Result<Arc<Binding>, BindingError> {
        if !is_name(&binding.name) {
            return invalid(format!(
                "{:?} is no name of a binding: 1 to {NAME_MAX} letters, digits, '-', '_', '.'",
                binding.name
            ));
        }
        let now = self.clock.now();
        match &binding.source {
            Source::Schedule {
                expression,
                zone,
                payload,
                missed,
            } => {
                plan_of(expression, zone, missed, now)?;
                let size = payload.as_ref().map_or(0, |payload| payload.to_string().len());
                if size > PAYLOAD_MAX {
                    return invalid(format!("the payload has {size} bytes, more than {PAYLOAD_MAX}"));
                }
            }
            Source::Bus { bus, filter } => {
                if !is_name(bus) {
                    return invalid(format!("{bus:?} is no name of a bus"));
                }
                pattern(filter.as_ref())?;
            }
        }
        let _turn = self.turn.lock().await;
        let key = key_of(&binding.namespace, &binding.name);
        if self.table.get(&key).is_some() {
            return Err(BindingError::Exists(binding.name));
        }
        if self.of(&binding.namespace).len() >= BINDINGS_MAX {
            return Err(BindingError::TooMany);
        }
        binding.created = now;
        binding.generation = Uuid::new_v4().to_string();
        let binding = self.table.put(&key, binding).await?;
        if let Err(error) = self.activate(&key, &binding) {
            self.table.remove(&[key]).await?;
            return Err(error);
        }
        Ok(binding)
    }

    /// Removes a binding; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, namespace: &Namespace, name: &str) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        let key = key_of(namespace, name);
        let Some(binding) = self.table.get(&key) else {
            return Ok(false);
        };
        self.table.remove(std::slice::from_ref(&key)).await?;
        self.filters.write().remove(&key);
        self.ticking.write().remove(&binding.generation);
        self.clockwork.remove(&binding.generation).await;
        Ok(true)
    }

    fn activate(self: &Arc<Self>, key: &str, binding: &Binding) -> Result<(), BindingError> {
        match &binding.source {
            Source::Schedule {
                expression,
                zone,
                missed,
                ..
            } => {
                let (plan, rules) = plan_of(expression, zone, missed, binding.created)?;
                self.ticking.write().insert(binding.generation.clone(), key.to_owned());
                let scheduled = Scheduled {
                    plan,
                    rules,
                    since: binding.created,
                    owner: Arc::clone(self) as _,
                };
                self.clockwork.set(&binding.generation, scheduled)?;
            }
            Source::Bus { filter, .. } => {
                let pattern = pattern(filter.as_ref())?;
                self.filters.write().insert(key.to_owned(), pattern);
            }
        }
        Ok(())
    }

    /// Sends an event to a binding's function, by the token once. One that the function's provider will never take is
    /// reported and dropped.
    async fn send(&self, binding: &Binding, payload: Bytes, token: String) -> Result<(), String> {
        let provider = binding.namespace.as_str().split('/').next().unwrap_or_default();
        let adapters = self.adapters.get().ok_or("the platform is starting")?;
        let Some(adapter) = adapters.iter().find(|adapter| adapter.provider() == provider) else {
            tracing::error!(binding = binding.name, provider, "a binding's provider is not served");
            return Ok(());
        };
        let call = NativeCall {
            namespace: binding.namespace.clone(),
            name: binding.function.clone(),
            qualifier: binding.qualifier.clone(),
            payload,
            token: Some(token),
        };
        match adapter.send(call).await {
            Ok(_) => Ok(()),
            Err(error @ (AdapterError::Invalid { .. } | AdapterError::Missing(_) | AdapterError::Conflict(_))) => {
                tracing::warn!(binding = binding.name, %error, "a function does not take an event of its binding");
                Ok(())
            }
            Err(error @ (AdapterError::Throttled(_) | AdapterError::Platform(_))) => Err(error.to_string()),
        }
    }

    fn wanting(&self, namespace: &Namespace, bus: &str, event: &CloudEvent) -> Vec<Arc<Binding>> {
        let document = event.document();
        let filters = self.filters.read();
        let wants = |binding: &Arc<Binding>| {
            let Source::Bus { bus: own, .. } = &binding.source else {
                return false;
            };
            let filter = filters.get(&key_of(namespace, &binding.name));
            own == bus && filter.is_some_and(|filter| filter.as_ref().is_none_or(|filter| filter.matches(&document)))
        };
        self.of(namespace).into_iter().filter(wants).collect()
    }
}

fn pattern(filter: Option<&Value>) -> Result<Option<Arc<Pattern>>, BindingError> {
    let read = filter.map(Pattern::from_value).transpose();
    let read = read.map_err(|error| BindingError::Invalid(format!("the filter is not valid: {error}")))?;
    Ok(read.map(Arc::new))
}

#[async_trait]
impl OnTick for Bindings {
    async fn tick(&self, tick: &Tick) -> Result<(), TickError> {
        let key = self.ticking.read().get(&*tick.schedule).cloned();
        let Some(binding) = key.and_then(|key| self.table.get(&key)) else {
            return Ok(());
        };
        let Source::Schedule { payload, .. } = &binding.source else {
            return Ok(());
        };
        let time = jiff::Timestamp::from_microsecond(tick.planned.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let payload = payload
            .clone()
            .unwrap_or_else(|| json!({ "schedule": binding.name, "time": time.to_string() }));
        let token = format!("tick {} {}", tick.schedule, tick.planned.as_micros());
        self.send(&binding, payload.to_string().into(), token)
            .await
            .map_err(TickError)
    }

    /// A binding stays when its last tick is over.
    async fn over(&self, _schedule: &str) {}
}

#[async_trait]
impl Subscriber for Bindings {
    fn wants(&self, namespace: &Namespace, bus: &str, event: &CloudEvent) -> bool {
        !self.wanting(namespace, bus, event).is_empty()
    }

    async fn receive(&self, notice: &Notice) -> Result<(), DeliveryError> {
        let payload = Bytes::from(notice.event.document().to_string());
        for binding in self.wanting(&notice.namespace, &notice.bus, &notice.event) {
            let token = format!("bus {} {}", notice.id, binding.name);
            let sent = self.send(&binding, payload.clone(), token).await;
            sent.map_err(DeliveryError::Unavailable)?;
        }
        Ok(())
    }
}
