//! One action, one attempt.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sonagi_dispatch::{Answer, Finished, LogTail, Refused, Request};
use sonagi_model::{Exit, Outcome, RunRecord, ThrottleReason};
use sonagi_ports::{Attributes, Language};

use super::record::{Activation, Annotated};
use super::{Invoker, Order, id_text, logs};
use crate::kinds::Runtime;
use crate::runtime::attributes;
use crate::runtime::classify::{Envelope, Status, Verdict, texts};

/// How an attempt went, with its times.
struct Ran {
    verdict: Verdict,
    begun: i64,
    ended: i64,
    init_ms: Option<i64>,
    timed_out: bool,
    output: Vec<u8>,
    run: Option<Arc<RunRecord>>,
}

impl Invoker {
    /// Runs an order of a plain action.
    pub(super) async fn single(self: &Arc<Self>, order: &Order) -> Activation {
        let ran = self.attempt(order).await;
        let record = &order.callable.record;
        let mut log = logs::lines(&ran.output, ran.ended, record.limits.logs_mb);
        if ran.verdict.status == Status::DeveloperError {
            log.push(logs::incomplete(ran.ended));
        }
        let mut annotations = self.annotations(order);
        annotations.push(("timeout", json!(ran.timed_out)));
        annotations.push(("waitTime", json!((ran.begun - order.asked).max(0))));
        if let Some(init_ms) = ran.init_ms {
            annotations.push(("initTime", json!(init_ms)));
        }
        let mut activation = self.activation(order, ran.verdict, annotations);
        (activation.start, activation.end) = (ran.begun, Some(ran.ended));
        activation.duration = ran.ended - ran.begun;
        activation.logs = log;
        activation.run = ran.run;
        activation
    }

    /// An activation without times and logs.
    pub(super) fn activation(&self, order: &Order, verdict: Verdict, annotations: Annotated) -> Activation {
        let callable = &order.callable;
        let mut label = callable.name.clone();
        if let Some(binding) = &callable.binding {
            label.package = Some(binding.name.clone());
        }
        Activation {
            id: order.id,
            namespace: order.caller.namespace.clone(),
            name: callable.name.name.clone(),
            label: Activation::label(&label),
            version: callable.record.head.version,
            cause: order.cause,
            start: self.now(),
            end: Some(self.now()),
            duration: 0,
            verdict,
            logs: Vec::new(),
            annotations,
            run: None,
            memory_mb: callable.record.limits.memory_mb,
        }
    }

    /// What every activation of an action says.
    pub(super) fn annotations(&self, order: &Order) -> Annotated {
        let callable = &order.callable;
        let mut annotations: Annotated = vec![("path", json!(callable.name.to_string()))];
        if let Some(binding) = &callable.binding {
            annotations.push(("binding", json!(binding.to_string())));
        }
        annotations.push(("kind", json!(callable.record.exec.kind)));
        annotations.push(("limits", callable.record.limits.shown()));
        if order.in_sequence {
            annotations.push(("causedBy", json!("sequence")));
        }
        annotations
    }

    async fn attempt(&self, order: &Order) -> Ran {
        let entry = &order.callable.entry;
        let payload = order.arguments.value.to_string();
        let request = Request {
            function: Arc::clone(&entry.function),
            revision: Arc::clone(entry.latest()),
            invocation: order.id,
            attempt: 1,
            payload: Bytes::from(payload),
            attributes: attributes_of(order),
            // How many may run at once is counted where requests come in: parts of sequences are not counted.
            tenant_concurrency: u32::MAX,
            log_tail: LogTail::Bytes(logs::KEPT),
        };
        match self.runner.run(request).await {
            Ok(Answer::Whole(finished)) => self.judge(order, finished),
            Ok(Answer::Stream(streaming)) => match streaming.finished.await {
                Ok(finished) => self.judge(order, finished),
                Err(_) => self.nothing_ran("The platform lost track of the activation."),
            },
            Err(Refused::Throttled(ThrottleReason::NodeCapacity)) => {
                self.nothing_ran("No invokers available: the node has no room for another instance.")
            }
            Err(Refused::Throttled(ThrottleReason::FunctionConcurrency | ThrottleReason::TenantConcurrency)) => {
                self.nothing_ran("Too many concurrent requests in flight.")
            }
            Err(Refused::Stopping) => self.nothing_ran("The platform is stopping."),
        }
    }

    fn nothing_ran(&self, text: &str) -> Ran {
        let now = self.now();
        Ran {
            verdict: Verdict::error(Status::InternalError, text),
            begun: now,
            ended: now,
            init_ms: None,
            timed_out: false,
            output: Vec::new(),
            run: None,
        }
    }

    fn judge(&self, order: &Order, finished: Finished) -> Ran {
        let envelope = if let Outcome::FunctionError(error) = &finished.outcome {
            Envelope::open(&error.body)
        } else {
            Envelope::open(&finished.body)
        };
        let output = finished.log_tail.unwrap_or_default();
        if let Some(envelope) = envelope {
            return Ran {
                verdict: Verdict {
                    status: envelope.status,
                    result: envelope.result,
                },
                begun: envelope.begun,
                ended: envelope.ended,
                init_ms: envelope.init_ms,
                timed_out: false,
                output,
                run: Some(finished.record),
            };
        }
        let record = Arc::clone(&finished.record);
        let ended = self.now();
        let duration = i64::try_from(record.duration_us / 1000).unwrap_or(i64::MAX);
        Ran {
            timed_out: matches!(finished.outcome, Outcome::Timeout | Outcome::InitTimeout),
            verdict: self.without_answer(order, &finished.outcome),
            begun: (ended - duration).max(record.started.as_millis()),
            ended,
            init_ms: None,
            output,
            run: Some(finished.record),
        }
    }

    /// What is said where an action gave no answer.
    fn without_answer(&self, order: &Order, outcome: &Outcome) -> Verdict {
        let limit = order.callable.record.limits.timeout_ms;
        let kind = &order.callable.record.exec.kind;
        let initializing = self.contract.ended_initializing(order.id);
        let node = matches!(Runtime::of(kind), Some(Runtime::Managed(Language::Node, _)));
        let internal = |text: &str| Verdict::error(Status::InternalError, text);
        match outcome {
            Outcome::Timeout => Verdict::developer(texts::timed_out(limit)),
            Outcome::InitTimeout => Verdict::developer(texts::timed_out_at_init(limit)),
            Outcome::Exited(Exit::OutOfMemory) | Outcome::InitExited(Exit::OutOfMemory) => {
                Verdict::developer(texts::MEMORY)
            }
            Outcome::Exited(_) if initializing && node => Verdict::developer(texts::GONE_AT_INIT),
            Outcome::Exited(_) if initializing => Verdict::developer("Cannot start action. Check logs for details."),
            Outcome::Exited(_) if node => Verdict::developer(texts::GONE),
            // Upstream's action loop outlives the program and says so.
            Outcome::Exited(_) => Verdict::developer(texts::COMMAND_EXITED),
            Outcome::InitExited(_) | Outcome::InitError(_) => Verdict::developer(texts::GONE_AT_INIT),
            Outcome::EntryPoint { message, .. } => Verdict::developer(message.as_str()),
            Outcome::ArtifactDamaged(_) => internal("The action's code is damaged."),
            Outcome::Success
            | Outcome::FunctionError(_)
            | Outcome::ResponseTooLarge(_)
            | Outcome::ProtocolViolation(_)
            | Outcome::CallerGone
            | Outcome::Platform(_) => internal("There was an internal server error."),
        }
    }
}

/// What goes to the session beside the arguments.
fn attributes_of(order: &Order) -> Attributes {
    let record = &order.callable.record;
    let mut given = Attributes::default();
    given.set(attributes::NAMESPACE, order.caller.namespace.as_str());
    given.set(attributes::ACTION, format!("/{}", order.callable.name));
    given.set(attributes::VERSION, record.head.version.to_string());
    given.set(attributes::TRANSACTION, order.transaction.as_str());
    // Whoever made an action before the annotation existed counted on the key.
    let wanted = record.head.annotations.get("provide-api-key");
    if wanted.is_none_or(crate::entities::keyed::truthy) {
        given.set(attributes::API_KEY, order.caller.api_key.as_str());
    }
    if !order.arguments.init.is_empty() {
        let init = Value::Object(order.arguments.init.clone());
        given.set(attributes::INIT, init.to_string());
    }
    given
}

/// The line that leads from a sequence's record to that of a part.
pub(super) fn part(activation: &Activation) -> String {
    id_text(activation.id)
}
