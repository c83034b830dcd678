//! One attempt for an event: a call of its function, or a message for its destination.

use std::sync::Arc;

use bytes::Bytes;
use sonagi_crash::crash_point;
use sonagi_events::{Ended, Input, is_expired};
use sonagi_model::{Blame, Outcome, Revision, RunRecord};
use sonagi_ports::{DeliveryError, EventHead, EventRoute, EventStatus, QueuedEvent, RetryRules, StreamPart, Target};

use super::{Runner, failed};
use crate::api::{Answer, Finished, LogTail, Refused, Request};
use crate::attempt::Keep;

/// What is known of an attempt that has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// Its record, if it began and was a call.
    pub(super) record: Option<RunRecord>,
    /// Why it did not succeed, for people.
    pub(super) reason: String,
    /// What it answered, for whoever is told of the event's end.
    pub(super) last: Option<Last>,
}

/// What an attempt answered.
#[derive(Debug, Clone)]
pub(super) struct Last {
    pub(super) revision: Arc<Revision>,
    pub(super) outcome: Outcome,
    pub(super) body: Bytes,
}

impl Done {
    fn because(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            ..Self::default()
        }
    }
}

impl Runner {
    /// Runs one attempt, remembers what came of it, and tells the machine.
    pub(super) async fn run(self: Arc<Self>, head: EventHead) {
        let id = head.id;
        let event = match self.event(&head).await {
            Some(event) => event,
            None => return self.over(id, Ended::Throttled, RetryRules::default(), Done::default()),
        };
        crash_point!("event/begins");
        let (ended, rules, done) = match &event.route {
            EventRoute::Function { contract, .. } => {
                let targets = self.routes.functions.get(contract);
                match targets.map(|targets| targets.resolve(&event)) {
                    Some(Ok(target)) => self.call(&head, &event, target).await,
                    Some(Err(why)) => (Ended::Over(why.status()), RetryRules::default(), Done::because(why)),
                    None => gone(format!("no provider of {contract} functions")),
                }
            }
            EventRoute::Destination { adapter, .. } => self.deliver(&event, adapter).await,
        };
        crash_point!("event/answered");
        self.over(id, ended, rules, done);
    }

    /// The event with its content: from memory right after it was accepted, else from the store.
    async fn event(&self, head: &EventHead) -> Option<QueuedEvent> {
        let known = self.work.lock().get(&head.id).and_then(|work| work.event.clone());
        if known.is_some() {
            return known;
        }
        let event = match self.queue.load(head.id).await {
            Ok(event) => event?,
            Err(error) => {
                failed(&error, "an event cannot be read");
                return None;
            }
        };
        self.work.lock().entry(head.id).or_default().event = Some(event.clone());
        Some(event)
    }

    fn over(self: &Arc<Self>, id: sonagi_model::EventId, ended: Ended, rules: RetryRules, done: Done) {
        self.work.lock().entry(id).or_default().done = Some(done);
        self.feed(Input::Ended { id, ended, rules });
    }

    async fn call(&self, head: &EventHead, event: &QueuedEvent, target: Target) -> (Ended, RetryRules, Done) {
        let rules = target.rules;
        if is_expired(event.accepted, &rules, self.now()) {
            return (
                Ended::Over(EventStatus::Expired),
                rules,
                Done::because("older than allowed"),
            );
        }
        let revision = target.revision;
        let request = Request {
            function: target.function,
            revision: revision.clone(),
            invocation: event.invocation(),
            attempt: head.progress.started.saturating_add(1),
            payload: event.payload.clone(),
            attributes: target.attributes,
            tenant_concurrency: target.tenant_concurrency,
            log_tail: LogTail::Omit,
        };
        let finished = match self.dispatcher.attempt(request, Keep::Caller).await {
            Ok(answer) => whole(answer).await,
            Err(Refused::Throttled(reason)) => {
                return (Ended::Throttled, rules, Done::because(format!("throttled: {reason:?}")));
            }
            Err(Refused::Stopping) => None,
        };
        let Some(finished) = finished else {
            return (Ended::Interrupted, rules, Done::default());
        };
        let ended = match finished.outcome.blame() {
            Blame::None => Ended::Succeeded,
            Blame::Function => Ended::Failed,
            Blame::Platform => Ended::PlatformFailed,
        };
        let done = Done {
            record: Some(RunRecord::clone(&finished.record)),
            reason: reason(&finished.outcome),
            last: Some(Last {
                revision,
                outcome: finished.outcome,
                body: finished.body,
            }),
        };
        (ended, rules, done)
    }

    async fn deliver(&self, event: &QueuedEvent, adapter: &str) -> (Ended, RetryRules, Done) {
        let Some(destination) = self.routes.destinations.get(adapter) else {
            return gone(format!("no destinations of the kind {adapter}"));
        };
        let rules = destination.rules(event, &self.options.delivery_rules);
        if is_expired(event.accepted, &rules, self.now()) {
            return (
                Ended::Over(EventStatus::Expired),
                rules,
                Done::because("older than allowed"),
            );
        }
        let limit = self.options.delivery_timeout;
        let limit = destination.longest().map_or(limit, |longest| longest.max(limit));
        let delivered = tokio::time::timeout(limit, destination.deliver(event)).await;
        let delivered = delivered.unwrap_or_else(|_| {
            let text = format!("not taken within {} s", limit.as_secs());
            Err(DeliveryError::Unavailable(text))
        });
        match delivered {
            Ok(()) => (Ended::Succeeded, rules, Done::default()),
            Err(DeliveryError::Gone(why)) => gone(why),
            Err(DeliveryError::Refused(why)) => (Ended::Failed, rules, Done::because(why)),
            Err(DeliveryError::Unavailable(why)) => (Ended::PlatformFailed, rules, Done::because(why)),
        }
    }
}

fn gone(why: String) -> (Ended, RetryRules, Done) {
    let ended = Ended::Over(EventStatus::TargetGone);
    (ended, RetryRules::default(), Done::because(why))
}

/// Waits for the end of an answer; the content of a streamed one is not kept. `None`: the platform is stopping.
async fn whole(answer: Answer) -> Option<Finished> {
    match answer {
        Answer::Whole(finished) => Some(finished),
        Answer::Stream(mut streaming) => {
            while let Some(part) = streaming.parts.recv().await {
                match part {
                    StreamPart::Data(_) | StreamPart::End | StreamPart::Failed(_) => {}
                }
            }
            streaming.finished.await.ok()
        }
    }
}

/// Why an attempt failed, for people.
fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Success | Outcome::CallerGone => String::new(),
        Outcome::FunctionError(error) | Outcome::InitError(error) => {
            let kind = error.kind.as_deref().unwrap_or("function error");
            format!("{kind}: {}", String::from_utf8_lossy(&error.body))
        }
        Outcome::Timeout => "timed out".to_owned(),
        Outcome::Exited(exit) => format!("the function's process ended: {exit}"),
        Outcome::InitExited(exit) => format!("the function's process ended while it initialized: {exit}"),
        Outcome::InitTimeout => "initialization timed out".to_owned(),
        Outcome::ResponseTooLarge(limit) => format!("the answer has more than {limit} bytes"),
        Outcome::ProtocolViolation(what) => format!("the function broke its contract: {what}"),
        Outcome::EntryPoint { message, .. } => message.clone(),
        Outcome::ArtifactDamaged(what) | Outcome::Platform(what) => what.clone(),
    }
}
