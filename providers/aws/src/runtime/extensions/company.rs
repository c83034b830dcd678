//! Events, and the beginning and the end of an instance, where the runtime is not alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use sonagi_model::{InvocationId, Revision, RunRecord, Timestamp};
use sonagi_ports::{Call, Clock, Entropy, InitFailure, LogTap, Purpose, Reply, ReplyBody, SessionError};
use tokio::time::Instant;

use super::registry::{Failure, Registry};
use super::steward::Steward;
use super::telemetry::Telemetry;
use crate::runtime::system::{self, Done, RuntimeVersion};
use crate::runtime::{attributes, trace};

/// See the module.
#[derive(Debug)]
pub(crate) struct Company {
    pub(crate) registry: Arc<Registry>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Where there are programs beside the runtime.
    pub(crate) steward: Option<Arc<Steward>>,
    pub(crate) function_arn: String,
    pub(crate) revision: Arc<Revision>,
    pub(crate) purpose: Purpose,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The event that is worked on, or was last.
    pub(crate) event: Mutex<Option<Event>>,
}

/// An event under way.
#[derive(Debug)]
pub(crate) struct Event {
    invocation: InvocationId,
    trace: String,
    started: Timestamp,
    begun: Instant,
    /// How the runtime is done with it, once it is.
    done: Option<RuntimeIsDone>,
    /// Subscribers know that it is.
    told: bool,
}

#[derive(Debug)]
struct RuntimeIsDone {
    took: Duration,
    bytes: u64,
    status: &'static str,
    error_kind: Option<String>,
}

impl Event {
    fn tell(&mut self, telemetry: &Telemetry) {
        if let Some(done) = &self.done
            && !self.told
        {
            let done = Done {
                invocation: self.invocation,
                started: self.started,
                took: done.took,
                bytes: done.bytes,
                status: done.status,
                error_kind: done.error_kind.as_deref(),
                trace: Some(&self.trace),
            };
            telemetry.platform(&done.told());
            self.told = true;
        }
    }
}

/// Gives an event up when it is dropped before it is answered.
pub(crate) struct Underway<'a> {
    company: &'a Company,
    answered: bool,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.company.registry.give_up();
        }
    }
}

impl Company {
    /// Whether anything but the runtime is there. Asked for every event.
    pub(crate) fn any(&self) -> bool {
        self.registry.any()
    }

    /// Starts whatever is beside the runtime, then the runtime.
    pub(crate) async fn start(&self, instance: sonagi_model::InstanceId, version: impl FnOnce() -> RuntimeVersion) {
        if let Some(steward) = &self.steward {
            let told = system::init_start(&self.revision, &version(), instance, self.purpose);
            self.telemetry.platform(&told);
            steward.start().await;
        }
    }

    /// The runtime has asked for its first event, or failed: waits for the others.
    pub(crate) async fn initialized(&self, result: Result<(), InitFailure>, begun: Instant) -> Result<(), InitFailure> {
        let members = self.registry.close_registration();
        if !self.any() {
            return result;
        }
        let status = if result.is_ok() { "success" } else { "error" };
        self.telemetry
            .platform(&system::init_runtime_done(self.purpose, status));
        if result.is_ok() {
            for (name, events) in &members {
                let told = system::extension(name, events);
                self.telemetry.platform(&told);
                let text = format!("EXTENSION\tName: {name}\tState: Ready\tEvents: [{}]", events.join(", "));
                self.telemetry.say(&told, text);
            }
            self.registry.ready().await;
        }
        let told = system::init_report(self.purpose, begun.elapsed(), status, None);
        self.telemetry.platform(&told);
        self.telemetry.seal();
        result
    }

    /// Waits until an extension has failed.
    pub(crate) async fn failed(&self) -> Failure {
        self.registry.failed().await
    }

    /// Tells everybody of an event.
    pub(crate) fn hand_out(&self, call: &mut Call) -> Underway<'_> {
        let given = |key| {
            call.attributes
                .get(key)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let arn = given(attributes::INVOKED_ARN).unwrap_or_else(|| self.function_arn.clone());
        let trace = given(attributes::TRACE_ID).unwrap_or_else(|| {
            let new = trace::new(self.clock.now(), self.entropy.as_ref());
            call.attributes.replace(attributes::TRACE_ID, new.clone());
            new
        });
        let body = json!({
            "eventType": "INVOKE",
            "deadlineMs": call.deadline.as_millis(),
            "requestId": call.invocation.to_string(),
            "invokedFunctionArn": arn,
            "tracing": { "type": "X-Amzn-Trace-Id", "value": trace },
        });
        let told = system::start(call.invocation, &self.revision.label, Some(&trace));
        self.telemetry.platform(&told);
        *self.event.lock() = Some(Event {
            invocation: call.invocation,
            trace,
            started: self.clock.now(),
            begun: Instant::now(),
            done: None,
            told: false,
        });
        self.registry.invoke(&Bytes::from(body.to_string()));
        Underway {
            company: self,
            answered: false,
        }
    }

    /// Waits until nobody works on an event.
    pub(crate) async fn settled(&self) -> Result<(), SessionError> {
        if let Some(event) = &mut *self.event.lock() {
            event.tell(&self.telemetry);
        }
        let settled = self.registry.settled().await;
        settled.map_err(|failure| SessionError::Broken(failure.error(None)))
    }

    /// The attempt is over.
    pub(crate) fn metered(&self, record: &RunRecord) {
        let mut event = self.event.lock();
        let Some(event) = event.as_mut().filter(|event| event.invocation == record.invocation) else {
            return;
        };
        event.tell(&self.telemetry);
        let trace = Some(event.trace.as_str());
        if !event.told {
            let done = Done {
                trace,
                ..Done::of(record)
            };
            self.telemetry.platform(&done.told());
            event.told = true;
        }
        self.telemetry.platform(&system::report(record, trace));
    }

    /// Who hears what the function prints: only where somebody can be brought it.
    pub(crate) fn log_tap(&self) -> Option<Arc<dyn LogTap>> {
        self.steward
            .as_ref()
            .map(|_| Arc::clone(&self.telemetry) as Arc<dyn LogTap>)
    }
}

impl Underway<'_> {
    /// The runtime has answered, or something else has come of it.
    pub(crate) fn answered(mut self, result: &Result<Reply, SessionError>) {
        self.answered = true;
        let Ok(reply) = result else { return };
        let mut event = self.company.event.lock();
        let Some(event) = &mut *event else { return };
        let took = event.begun.elapsed();
        let (status, bytes, error_kind, whole) = match &reply.body {
            ReplyBody::Whole(Ok(body)) => ("success", body.len(), None, true),
            ReplyBody::Whole(Err(error)) => ("error", error.body.len(), error.kind.clone(), true),
            // It is known when the stream has ended; see `settled`.
            ReplyBody::Stream(_) => ("success", 0, None, false),
        };
        event.done = Some(RuntimeIsDone {
            took,
            bytes: bytes as u64,
            status,
            error_kind,
        });
        if whole {
            event.tell(&self.company.telemetry);
        }
    }
}
