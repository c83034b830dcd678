//! The feed package `/whisk.system/alarms`: triggers that fire by time. What was set is durable; one task sleeps until the
//! next moment, and not at all while there is none.
//! Source: apache/openwhisk-package-alarms, `README.md`: parameters of the feeds `alarm`, `interval` and `once`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sonagi_ports::{Clock, MetadataStore, Record, StoreError};
use sonagi_triggers::{Cron, Plan, Timing};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::api::{Firing, fire};
use crate::errors::WhiskError;
use crate::invoke::{Caller, Invoker};
use crate::names::FullName;
use crate::table::Table;

/// Firings of a trigger after which its alarm ends, where nothing is said.
const FIRES_STANDARD: i64 = 1_000_000;
/// The longest sleep, after which the clock is looked at again: it may have been set.
const NAP: Duration = Duration::from_secs(60);
/// How late a firing may be. What was missed while the platform was down is not made up for, as upstream.
const LATE_MS: i64 = 60_000;

/// When a trigger fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    /// By a pattern.
    Cron(String),
    /// Every so many minutes.
    Minutes(i64),
    /// At this moment, milliseconds since the epoch.
    Once(i64),
}

/// One trigger that fires by time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Alarm {
    namespace: String,
    trigger: String,
    when: When,
    payload: Map<String, Value>,
    /// Milliseconds since the epoch.
    start: Option<i64>,
    stop: Option<i64>,
    fires_left: i64,
    paused: bool,
    /// The next firing; `None`: there is none.
    next: Option<i64>,
    /// Whether the trigger goes after its only firing.
    delete_after: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Alarms {
    table: Table<Alarm>,
    clock: Arc<dyn Clock>,
    changed: Notify,
    /// Changes one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// The feeds of the package, with what they are for.
pub(crate) const FEEDS: [(&str, &str); 3] = [
    ("alarm", "Fire trigger when alarm occurs"),
    ("interval", "Fire trigger on an interval schedule"),
    ("once", "Fire trigger once when alarm occurs"),
];

fn bad(text: impl Into<String>) -> WhiskError {
    WhiskError::bad(text)
}

impl Alarm {
    /// The first firing after a moment.
    fn after(&self, now: i64) -> Option<i64> {
        if self.fires_left <= 0 {
            return None;
        }
        let from = self.start.map_or(now, |start| now.max(start - 1));
        let next = match &self.when {
            When::Cron(pattern) => {
                let plan = Plan {
                    timing: Timing::Cron(Cron::unix(pattern).ok()?),
                    zone: jiff::tz::TimeZone::UTC,
                    start: None,
                    end: None,
                };
                plan.next(sonagi_model::Timestamp::from_millis(from))?.as_millis()
            }
            When::Minutes(minutes) => match self.start {
                Some(start) if start > now => start,
                start => {
                    let (period, base) = (minutes * 60_000, start.unwrap_or(now));
                    base + ((now - base).div_euclid(period) + 1) * period
                }
            },
            When::Once(at) => (*at > now).then_some(*at)?,
        };
        self.stop.is_none_or(|stop| next <= stop).then_some(next)
    }
}

impl Alarms {
    pub(crate) fn load(
        records: &[Record],
        store: &Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            table: Table::load(records, "openwhisk.alarms", Arc::clone(store))?,
            clock,
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// A trigger is gone, and its alarm with it.
    pub(crate) async fn forget(&self, namespace: &str, trigger: &str) -> Result<(), WhiskError> {
        let _turn = self.turn.lock().await;
        if self.table.get(namespace, trigger).is_some() {
            self.table.remove(namespace, trigger).await?;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// One step of a feed's life: what the feed action answers.
    ///
    /// # Errors
    /// 400 for what is missing or wrong, 404 where there is no alarm.
    pub(crate) async fn step(
        &self,
        feed: &str,
        own: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, WhiskError> {
        let text = |key: &str| arguments.get(key).and_then(Value::as_str);
        let trigger = text("triggerName").and_then(|name| FullName::parse(name, own));
        let trigger = trigger.ok_or_else(|| bad("triggerName must be the full name of a trigger"))?;
        if trigger.namespace != own {
            return Err(WhiskError::forbidden(&trigger));
        }
        let _turn = self.turn.lock().await;
        let found = self.table.get(own, &trigger.name);
        let absent = || WhiskError::missing();
        match text("lifecycleEvent").unwrap_or("CREATE") {
            "CREATE" => {
                let alarm = self.described(feed, own, &trigger.name, arguments)?;
                self.keep(alarm).await?;
                Ok(json!({ "status": "active" }))
            }
            "READ" => Ok(shown(&*found.ok_or_else(absent)?)),
            "UPDATE" => {
                found.ok_or_else(absent)?;
                let alarm = self.described(feed, own, &trigger.name, arguments)?;
                self.keep(alarm).await?;
                Ok(json!({ "status": "active" }))
            }
            event @ ("PAUSE" | "UNPAUSE") => {
                let mut alarm = Alarm::clone(&*found.ok_or_else(absent)?);
                alarm.paused = event == "PAUSE";
                alarm.next = alarm.after(self.now());
                self.keep(alarm).await?;
                Ok(json!({ "status": if event == "PAUSE" { "paused" } else { "active" } }))
            }
            "DELETE" => {
                found.ok_or_else(absent)?;
                self.table.remove(own, &trigger.name).await?;
                self.changed.notify_one();
                Ok(json!({ "status": "deleted" }))
            }
            other => Err(bad(format!(
                "lifecycleEvent {other:?} must be one of CREATE, READ, UPDATE, DELETE, PAUSE, UNPAUSE"
            ))),
        }
    }

    async fn keep(&self, alarm: Alarm) -> Result<(), WhiskError> {
        let (namespace, trigger) = (alarm.namespace.clone(), alarm.trigger.clone());
        self.table.put(&namespace, &trigger, alarm).await?;
        self.changed.notify_one();
        Ok(())
    }

    fn described(
        &self,
        feed: &str,
        namespace: &str,
        trigger: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Alarm, WhiskError> {
        let date = |key: &str| arguments.get(key).map(moment).transpose();
        let when = match feed {
            "alarm" => {
                let pattern = arguments.get("cron").and_then(Value::as_str);
                let pattern = pattern.ok_or_else(|| bad("alarms trigger feed is missing the cron parameter"))?;
                Cron::unix(pattern).map_err(|why| bad(format!("cron pattern '{pattern}' is not valid: {why}")))?;
                When::Cron(pattern.to_owned())
            }
            "interval" => {
                let minutes = arguments.get("minutes").and_then(whole).filter(|minutes| *minutes > 0);
                When::Minutes(minutes.ok_or_else(|| bad("the minutes parameter must be a whole number above 0"))?)
            }
            _ => {
                When::Once(date("date")?.ok_or_else(|| bad("alarms once trigger feed is missing the date parameter"))?)
            }
        };
        let payload = match arguments.get("trigger_payload") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(payload)) => payload.clone(),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(payload)) => payload,
                Ok(_) | Err(_) => Map::from_iter([("payload".to_owned(), json!(text))]),
            },
            Some(other) => Map::from_iter([("payload".to_owned(), other.clone())]),
        };
        let fires = match arguments.get("maxTriggers").map(whole) {
            None => FIRES_STANDARD,
            Some(Some(-1)) => i64::MAX,
            Some(Some(fires)) if fires > 0 => fires,
            Some(_) => return Err(bad("the maxTriggers parameter must be -1 or a whole number above 0")),
        };
        let (start, stop) = (date("startDate")?, date("stopDate")?);
        if stop.is_some_and(|stop| stop <= self.now())
            || matches!((start, stop), (Some(start), Some(stop)) if stop <= start)
        {
            return Err(bad("the stopDate parameter must be later than the startDate and now"));
        }
        let mut alarm = Alarm {
            namespace: namespace.to_owned(),
            trigger: trigger.to_owned(),
            fires_left: if matches!(when, When::Once(_)) { 1 } else { fires },
            when,
            payload,
            start,
            stop,
            paused: false,
            next: None,
            delete_after: matches!(arguments.get("deleteAfterFire"), Some(Value::Bool(true)))
                || arguments.get("deleteAfterFire").and_then(Value::as_str) == Some("true"),
        };
        alarm.next = alarm.after(self.now());
        if alarm.next.is_none() {
            return Err(bad("the alarm would never fire: its moment is in the past"));
        }
        Ok(alarm)
    }

    // === firing

    /// The next moment at which something fires.
    fn due(&self) -> Option<i64> {
        let all = self.table.all();
        all.iter()
            .filter(|alarm| !alarm.paused)
            .filter_map(|alarm| alarm.next)
            .min()
    }

    /// Fires what is due, until the end. Sleeps while nothing is.
    pub(crate) async fn run(self: Arc<Self>, invoker: Arc<Invoker>, accounts: Arc<Accounts>, stop: CancellationToken) {
        loop {
            let now = self.now();
            let wait = self.due().map(|due| {
                let wait = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
                wait.min(NAP)
            });
            let slept = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => continue,
                () = slept => {}
            }
            for alarm in self.table.all() {
                if !alarm.paused && alarm.next.is_some_and(|next| next <= self.now()) {
                    self.fire(&alarm, &invoker, &accounts).await;
                }
            }
        }
    }

    async fn fire(&self, alarm: &Alarm, invoker: &Arc<Invoker>, accounts: &Accounts) {
        let turn = self.turn.lock().await;
        let Some(known) = self.table.get(&alarm.namespace, &alarm.trigger) else {
            return;
        };
        let now = self.now();
        let late = known.next.is_none_or(|next| now - next > LATE_MS);
        let mut next = Alarm::clone(&known);
        if !late {
            next.fires_left = next.fires_left.saturating_sub(1);
        }
        next.next = next.after(now);
        let over = next.next.is_none();
        // Kept before it fires: a firing may be lost at a crash, never repeated.
        let kept = if over && alarm.delete_after {
            self.table.remove(&alarm.namespace, &alarm.trigger).await.map(|_| ())
        } else {
            self.table.put(&alarm.namespace, &alarm.trigger, next).await.map(|_| ())
        };
        drop(turn);
        if let Err(error) = kept {
            tracing::error!(error = &error as &dyn std::error::Error, "an alarm cannot be kept");
            // Not again at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return;
        }
        let trigger = invoker.estate.triggers.get(&alarm.namespace, &alarm.trigger);
        let account = accounts.get(&alarm.namespace);
        let (Some(trigger), Some(account), false) = (trigger, account, late) else {
            return;
        };
        let caller = Caller {
            namespace: account.namespace.clone(),
            api_key: account.auth(),
        };
        let transaction = uuid::Uuid::new_v4().as_simple().to_string();
        let firing = Firing {
            payload: alarm.payload.clone(),
            headers: None,
            transaction: &transaction,
        };
        fire(invoker, &caller, &trigger, firing).await;
        if over && alarm.delete_after {
            let removed = invoker.estate.triggers.remove(&alarm.namespace, &alarm.trigger).await;
            if let Err(error) = removed {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a trigger that fired once cannot be removed"
                );
            }
        }
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A moment: milliseconds since the epoch, or a date as text.
fn moment(value: &Value) -> Result<i64, WhiskError> {
    let wrong = || {
        bad(format!(
            "{value} is no date: milliseconds since 1970, or a text like 2026-01-31T12:00:00Z"
        ))
    };
    if let Some(number) = whole(value) {
        return Ok(number);
    }
    let text = value.as_str().ok_or_else(wrong)?;
    let at: Timestamp = text.parse().map_err(|_| wrong())?;
    Ok(at.as_millisecond())
}

fn shown(alarm: &Alarm) -> Value {
    let mut config = json!({ "name": alarm.trigger, "namespace": alarm.namespace, "payload": alarm.payload });
    let mut set = |key: &str, value: Value| config[key] = value;
    match &alarm.when {
        When::Cron(pattern) => set("cron", json!(pattern)),
        When::Minutes(minutes) => set("minutes", json!(minutes)),
        When::Once(at) => set("date", json!(at)),
    }
    if let Some(start) = alarm.start {
        set("startDate", json!(start));
    }
    if let Some(stop) = alarm.stop {
        set("stopDate", json!(stop));
    }
    json!({
        "config": config,
        "status": {
            "active": !alarm.paused && alarm.next.is_some(),
            "nextFiring": alarm.next,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(when: When) -> Alarm {
        Alarm {
            namespace: "a".to_owned(),
            trigger: "t".to_owned(),
            when,
            payload: Map::new(),
            start: None,
            stop: None,
            fires_left: 2,
            paused: false,
            next: None,
            delete_after: false,
        }
    }

    #[test]
    fn alarms_fire_by_their_kind_within_their_window() {
        let minute = 60_000;
        assert_eq!(alarm(When::Minutes(2)).after(5), Some(5 + 2 * minute));
        let started = Alarm {
            start: Some(10),
            ..alarm(When::Minutes(1))
        };
        assert_eq!((started.after(5), started.after(10)), (Some(10), Some(10 + minute)));
        assert_eq!(alarm(When::Once(7)).after(6), Some(7));
        assert_eq!(alarm(When::Once(7)).after(7), None);
        let cron = alarm(When::Cron("* * * * *".to_owned()));
        assert_eq!(cron.after(1), Some(minute));
        let stopped = Alarm {
            stop: Some(minute - 1),
            ..cron.clone()
        };
        assert_eq!(stopped.after(1), None);
        assert_eq!(Alarm { fires_left: 0, ..cron }.after(1), None);
    }

    #[test]
    fn dates_are_numbers_or_texts() {
        assert_eq!(moment(&json!(5)).unwrap(), 5);
        assert_eq!(moment(&json!("1970-01-01T00:00:01Z")).unwrap(), 1000);
        assert!(moment(&json!("soon")).is_err());
    }
}
