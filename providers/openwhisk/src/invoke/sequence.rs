//! Sequences: each component gets what the one before it answered.
//! Source: apache/openwhisk (commit 1fae641), `SequenceActions.scala`.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sonagi_model::RunRecord;

use super::record::Activation;
use super::single::part;
use super::{Invoker, Order, gate, new_id};
use crate::runtime::classify::{Status, Verdict};

/// What a sequence has done so far.
struct Progress {
    verdict: Verdict,
    parts: Vec<String>,
    duration: i64,
    memory_mb: u64,
    run: Option<Arc<RunRecord>>,
}

impl Invoker {
    /// Runs an order of a sequence; `topmost` unless it is a component itself.
    pub(super) fn sequence<'a>(self: &'a Arc<Self>, order: &'a Order, topmost: bool) -> BoxFuture<'a, Activation> {
        async move {
            let start = self.now();
            let progress = self.components(order).await;
            let mut annotations = self.annotations(order);
            annotations.push(("topmost", json!(topmost)));
            annotations.push(("timeout", json!(false)));
            annotations.retain(|(key, _)| *key != "limits");
            let mut limits = order.callable.record.limits;
            limits.memory_mb = progress.memory_mb.max(1);
            annotations.push(("limits", limits.shown()));
            let mut activation = self.activation(order, progress.verdict, annotations);
            (activation.start, activation.end) = (start, Some(self.now()));
            activation.duration = progress.duration;
            activation.logs = progress.parts;
            activation.run = progress.run;
            activation.memory_mb = progress.memory_mb;
            activation
        }
        .boxed()
    }

    async fn components(self: &Arc<Self>, order: &Order) -> Progress {
        // A sequence has no parameters of its own: its input is what its caller gave.
        let mut progress = Progress {
            verdict: Verdict {
                status: Status::Success,
                result: order.arguments.value.clone(),
            },
            parts: Vec::new(),
            duration: 0,
            memory_mb: 0,
            run: None,
        };
        for name in &order.callable.record.exec.components {
            let input = std::mem::take(&mut progress.verdict.result);
            let callable = match self.estate.callable(&order.caller.namespace, name) {
                Ok(callable) => callable,
                Err(_) => {
                    let text = "Sequence component does not exist.";
                    progress.verdict = Verdict::error(Status::ApplicationError, text);
                    return progress;
                }
            };
            let component = Order {
                id: new_id(),
                caller: order.caller.clone(),
                arguments: gate::given(&callable, input),
                callable,
                cause: Some(order.id),
                in_sequence: true,
                transaction: order.transaction.clone(),
                asked: self.now(),
            };
            let activation = self.component(&component).await;
            progress.parts.push(part(&activation));
            progress.duration += activation.duration;
            progress.memory_mb = progress.memory_mb.max(activation.memory_mb);
            let failed = has_error(&activation.verdict.result) || activation.verdict.status != Status::Success;
            progress.run = activation.run.or(progress.run);
            progress.verdict = activation.verdict;
            if failed {
                return progress;
            }
        }
        progress
    }

    /// Runs one part of a sequence or composition and files its record.
    pub(super) async fn component(self: &Arc<Self>, order: &Order) -> Activation {
        let activation = if order.callable.record.exec.is_sequence() {
            self.sequence(order, false).await
        } else if order.callable.record.head.annotations.is_truthy("conductor") {
            self.conductor(order, false).await
        } else {
            self.single(order).await
        };
        self.file(&activation);
        activation
    }
}

fn has_error(result: &Value) -> bool {
    result.as_object().is_some_and(|object| object.contains_key("error"))
}
