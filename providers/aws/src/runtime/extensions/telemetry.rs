//! What subscribers are sent: records of the platform, lines of the function, lines of extensions. Queues with bounds;
//! what has no room is dropped and counted, and the count is told.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sonagi_model::{Revision, Timestamp};
use sonagi_ports::{Clock, InstanceLog, LogLine, LogSource, LogTap};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::deliver;
use super::steward::Steward;
use super::subscription::{Api, Wanted};
use crate::runtime::narrate;
use crate::runtime::system::{self, Told};

/// A queue holds this many batches at most.
const BATCHES: usize = 4;
/// Records that are kept for whoever subscribes later; there are fewer before the first event.
const PAST: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Telemetry {
    state: Mutex<State>,
    changed: Notify,
    revision: Arc<Revision>,
    log: Arc<dyn InstanceLog>,
    clock: Arc<dyn Clock>,
    steward: OnceLock<Weak<Steward>>,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: Vec<Subscription>,
    /// Records of the initialization.
    past: Vec<Bytes>,
    /// Nobody subscribes any more.
    sealed: bool,
    /// Everything is to go out now.
    flushing: bool,
}

#[derive(Debug)]
struct Subscription {
    extension: Uuid,
    wanted: Wanted,
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// When the oldest came.
    since: Option<Instant>,
    /// A batch is on its way.
    sending: bool,
    dropped: (u64, u64),
}

/// Which of the three types an item is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Platform,
    Function,
    Extension,
}

impl Telemetry {
    pub(crate) fn new(revision: Arc<Revision>, log: Arc<dyn InstanceLog>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            revision,
            log,
            clock,
            steward: OnceLock::new(),
        })
    }

    /// Who connects to subscribers. Without, nobody can subscribe.
    pub(crate) fn attach(&self, steward: &Arc<Steward>) {
        let _ = self.steward.set(Arc::downgrade(steward));
    }

    /// `PUT …/telemetry` or `…/logs`.
    ///
    /// # Errors
    /// Why it cannot be served here.
    pub(super) fn subscribe(self: &Arc<Self>, extension: Uuid, name: &str, wanted: Wanted) -> Result<(), String> {
        let steward = self.steward.get().and_then(Weak::upgrade);
        let steward = steward.ok_or("subscriptions need an external extension in the function's layers")?;
        let types = wanted.types.names();
        let api = wanted.api;
        let index = {
            let mut state = self.state.lock();
            let state = &mut *state;
            if state
                .subscriptions
                .iter()
                .any(|other| other.extension == extension && other.wanted.api != api)
            {
                return Err("the extension has subscribed through the other API".to_owned());
            }
            let mut subscription = Subscription {
                extension,
                wanted,
                queue: VecDeque::new(),
                bytes: 0,
                since: None,
                sending: false,
                dropped: (0, 0),
            };
            if subscription.wanted.types.platform {
                for item in &state.past {
                    subscription.push(item.clone());
                }
            }
            // A later subscription of the same extension takes the place of its first.
            match state
                .subscriptions
                .iter_mut()
                .position(|other| other.extension == extension)
            {
                Some(at) => {
                    state.subscriptions[at] = subscription;
                    None
                }
                None => {
                    state.subscriptions.push(subscription);
                    Some(state.subscriptions.len() - 1)
                }
            }
        };
        if let Some(index) = index {
            steward.spawn(deliver::run(Arc::clone(self), Arc::clone(&steward), index));
        }
        self.announce(api, name, &types);
        Ok(())
    }

    fn announce(&self, api: Api, name: &str, types: &[&str]) {
        let (kind, word) = match api {
            Api::Telemetry => ("platform.telemetrySubscription", "TELEMETRY"),
            Api::Logs => ("platform.logsSubscription", "LOGS"),
        };
        let told = system::subscription(kind, name, types);
        let text = format!("{word}\tName: {name}\tState: Subscribed\tTypes: [{}]", types.join(", "));
        self.platform(&told);
        self.say(&told, text);
    }

    /// A line about an extension in the function's log, as text or in JSON.
    pub(crate) fn say(&self, told: &Told, text: String) {
        let line = match narrate::json_level(&self.revision) {
            Some(level) if told.level >= level => told.at(self.clock.now()).to_string(),
            Some(_) => return,
            None => text,
        };
        self.log.write(LogSource::Platform, vec![line]);
    }

    /// A record of the platform.
    pub(crate) fn platform(&self, told: &Told) {
        self.push(Kind::Platform, &[told.at(self.clock.now())]);
    }

    /// Nobody subscribes any more.
    pub(crate) fn seal(&self) {
        let mut state = self.state.lock();
        state.sealed = true;
        state.past = Vec::new();
    }

    /// A line of the platform in the function's log.
    pub(super) fn note(&self, text: String) {
        self.log.write(LogSource::Platform, vec![text]);
    }

    /// Lines of extensions: for subscribers and the function's log.
    pub(super) fn extension_lines(&self, lines: &[String], now: Timestamp) {
        let item = |line: &String| json!({ "time": system::iso_millis(now), "type": "extension", "record": line });
        self.push(Kind::Extension, &lines.iter().map(item).collect::<Vec<_>>());
        self.log.write(LogSource::Function, lines.to_vec());
    }

    fn push(&self, kind: Kind, items: &[Value]) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let keeps = kind == Kind::Platform && !state.sealed;
        if !keeps && state.subscriptions.is_empty() {
            return;
        }
        for item in items {
            let item = Bytes::from(item.to_string());
            for subscription in state.subscriptions.iter_mut().filter(|found| found.wants(kind)) {
                subscription.push(item.clone());
            }
            if keeps && state.past.len() < PAST {
                state.past.push(item);
            }
        }
        self.changed.notify_waiters();
    }

    /// Waits until everything has gone out. Cancel safe.
    pub(super) async fn flush(&self) {
        self.state.lock().flushing = true;
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            let done = {
                let state = self.state.lock();
                state
                    .subscriptions
                    .iter()
                    .all(|found| found.queue.is_empty() && !found.sending)
            };
            if done {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a batch is due: its body, where it goes. `None`: the subscription is gone.
    pub(super) async fn batch(&self, index: usize) -> Option<(Bytes, Wanted)> {
        loop {
            let changed = self.changed.notified();
            let due = {
                let mut state = self.state.lock();
                let flushing = state.flushing;
                let subscription = state.subscriptions.get_mut(index)?;
                match subscription.due(flushing) {
                    Due::Now => return Some((subscription.take(self.clock.now()), subscription.wanted.clone())),
                    Due::At(at) => Some(at),
                    Due::Never => None,
                }
            };
            match due {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The batch is there, or lost.
    pub(super) fn sent(&self, index: usize) {
        if let Some(subscription) = self.state.lock().subscriptions.get_mut(index) {
            subscription.sending = false;
        }
        self.changed.notify_waiters();
    }
}

/// When a batch is due.
enum Due {
    Now,
    At(Instant),
    Never,
}

impl Subscription {
    fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::Platform => self.wanted.types.platform,
            Kind::Function => self.wanted.types.function,
            Kind::Extension => self.wanted.types.extension,
        }
    }

    fn push(&mut self, item: Bytes) {
        let full =
            self.bytes + item.len() > self.wanted.bytes * BATCHES || self.queue.len() >= self.wanted.items * BATCHES;
        if full {
            self.dropped = (self.dropped.0 + 1, self.dropped.1 + item.len() as u64);
            return;
        }
        self.bytes += item.len();
        self.since.get_or_insert_with(Instant::now);
        self.queue.push_back(item);
    }

    fn due(&self, flushing: bool) -> Due {
        match self.since {
            None => Due::Never,
            Some(_) if self.sending => Due::Never,
            Some(_) if flushing || self.queue.len() >= self.wanted.items || self.bytes >= self.wanted.bytes => Due::Now,
            Some(since) => {
                let at = since + self.wanted.after;
                if at <= Instant::now() { Due::Now } else { Due::At(at) }
            }
        }
    }

    /// A batch as an array, and what was dropped before it.
    fn take(&mut self, now: Timestamp) -> Bytes {
        let mut body = vec![b'['];
        let mut items = 0;
        while let Some(item) = self.queue.front() {
            if items > 0 && (items >= self.wanted.items || body.len() + item.len() > self.wanted.bytes) {
                break;
            }
            if items > 0 {
                body.push(b',');
            }
            body.extend_from_slice(item);
            self.bytes -= item.len();
            self.queue.pop_front();
            items += 1;
        }
        let (records, bytes) = std::mem::take(&mut self.dropped);
        if records > 0 {
            let lost = system::logs_dropped(records, bytes).at(now).to_string();
            body.push(b',');
            body.extend_from_slice(lost.as_bytes());
        }
        body.push(b']');
        self.sending = true;
        self.since = (!self.queue.is_empty()).then(Instant::now);
        body.into()
    }
}

impl LogTap for Telemetry {
    fn heard(&self, lines: &[LogLine]) {
        let json = narrate::json_level(&self.revision).is_some();
        let own = lines.iter().filter(|line| line.source == LogSource::Function);
        let items: Vec<Value> = own
            .map(|line| {
                let object = || serde_json::from_str(&line.text).ok().filter(Value::is_object);
                let record = json.then(object).flatten();
                let record = record.unwrap_or_else(|| line.text.as_str().into());
                json!({ "time": system::iso_millis(line.time), "type": "function", "record": record })
            })
            .collect();
        if !items.is_empty() {
            self.push(Kind::Function, &items);
        }
    }
}
