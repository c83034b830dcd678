//! Conductors: an action that says which action comes next.
//! Source: apache/openwhisk (commit 1fae641), `PrimitiveActions.scala` (`invokeConductor`), `Messages.scala`.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use sonagi_model::RunRecord;

use super::record::Activation;
use super::single::part;
use super::{Invoker, Order, gate, new_id};
use crate::estate::Callable;
use crate::names::{FullName, OWN, is_name};
use crate::runtime::classify::{Status, Verdict};

/// What a composition has done so far.
struct Composition<'a> {
    order: &'a Order,
    parts: Vec<String>,
    duration: i64,
    memory_mb: u64,
    components: usize,
    conductions: usize,
    run: Option<Arc<RunRecord>>,
}

/// What the conductor wants next.
enum Next {
    /// Run this with that; its result comes back with the state.
    Component(String, Value, Map<String, Value>),
    /// Nothing: this is the result.
    Done(Verdict),
    /// It cannot be understood; the conductor is told.
    Confused(String, Map<String, Value>),
}

impl Invoker {
    /// Runs an order of a conductor; `topmost` unless it is a component itself.
    pub(super) fn conductor<'a>(self: &'a Arc<Self>, order: &'a Order, topmost: bool) -> BoxFuture<'a, Activation> {
        async move {
            let start = self.now();
            let mut composition = Composition {
                order,
                parts: Vec::new(),
                duration: 0,
                memory_mb: 0,
                components: 0,
                conductions: 0,
                run: None,
            };
            let verdict = self.compose(&mut composition).await;
            let mut annotations = self.annotations(order);
            annotations.retain(|(key, _)| !matches!(*key, "limits" | "kind"));
            annotations.push(("topmost", json!(topmost)));
            annotations.push(("kind", json!("sequence")));
            annotations.push(("conductor", json!(true)));
            annotations.push(("timeout", json!(false)));
            let mut limits = order.callable.record.limits;
            limits.memory_mb = composition.memory_mb.max(limits.memory_mb);
            annotations.push(("limits", limits.shown()));
            let mut activation = self.activation(order, verdict, annotations);
            (activation.start, activation.end) = (start, Some(self.now()));
            activation.duration = composition.duration;
            activation.logs = composition.parts;
            activation.run = composition.run;
            activation.memory_mb = composition.memory_mb;
            activation
        }
        .boxed()
    }

    async fn compose(self: &Arc<Self>, composition: &mut Composition<'_>) -> Verdict {
        let limit = self.limits.sequence;
        let mut input = composition.order.arguments.value.clone();
        loop {
            if composition.conductions > 2 * limit {
                return too_many();
            }
            composition.conductions += 1;
            let verdict = self.conduct(composition, input).await;
            input = match next(verdict) {
                Next::Done(verdict) => return verdict,
                Next::Confused(error, state) => with_state(json!({ "error": error }), state),
                Next::Component(name, params, state) => match self.find(composition.order, &name) {
                    Ok(_) if composition.components >= limit => {
                        let told = json!({ "error": "Too many actions in the composition." });
                        with_state(told, state)
                    }
                    Ok(callable) => {
                        composition.components += 1;
                        let result = self.run_part(composition, callable, params).await.result;
                        with_state(result, state)
                    }
                    Err(error) => with_state(json!({ "error": error }), state),
                },
            };
        }
    }

    /// Calls the conductor itself.
    async fn conduct(self: &Arc<Self>, composition: &mut Composition<'_>, input: Value) -> Verdict {
        let order = composition.order;
        let conductor = Order {
            id: new_id(),
            arguments: gate::given(&order.callable, input),
            cause: Some(order.id),
            in_sequence: true,
            asked: self.now(),
            ..order.clone()
        };
        let activation = self.single(&conductor).await;
        self.file(&activation);
        composition.took(&activation);
        activation.verdict
    }

    async fn run_part(
        self: &Arc<Self>,
        composition: &mut Composition<'_>,
        callable: Callable,
        params: Value,
    ) -> Verdict {
        let order = composition.order;
        let component = Order {
            id: new_id(),
            caller: order.caller.clone(),
            arguments: gate::given(&callable, params),
            callable,
            cause: Some(order.id),
            in_sequence: true,
            transaction: order.transaction.clone(),
            asked: self.now(),
        };
        let activation = self.component(&component).await;
        composition.took(&activation);
        activation.verdict
    }

    /// The action that a conductor names: `action`, `package/action` or with a namespace.
    fn find(&self, order: &Order, name: &str) -> Result<Callable, String> {
        let own = &order.caller.namespace;
        let parts: Vec<&str> = name.trim_start_matches('/').split('/').collect();
        let full = match parts.as_slice() {
            [action] => is_name(action).then(|| FullName::new(own, None, action)),
            [package, action] if !name.starts_with('/') && *package != OWN && *package != own => {
                (is_name(package) && is_name(action)).then(|| FullName::new(own, Some(package), action))
            }
            _ => FullName::parse(name, own),
        };
        let unresolved = || format!("Failed to resolve action with name '{name}' during composition.");
        let full = full.ok_or_else(unresolved)?;
        self.estate.callable(own, &full).map_err(|error| {
            if error.status == http::StatusCode::FORBIDDEN {
                format!("Failed entitlement check for action with name '{name}' during composition.")
            } else {
                unresolved()
            }
        })
    }
}

impl Composition<'_> {
    fn took(&mut self, activation: &Activation) {
        self.parts.push(part(activation));
        self.run = activation.run.clone().or_else(|| self.run.take());
        self.duration += activation.duration;
        self.memory_mb = self.memory_mb.max(activation.memory_mb);
    }
}

fn too_many() -> Verdict {
    Verdict::error(Status::ApplicationError, "Too many actions in the composition.")
}

/// What a conductor's answer asks for. An answer that is an error ends the composition.
fn next(verdict: Verdict) -> Next {
    let Value::Object(mut result) = verdict.result else {
        return Next::Done(verdict);
    };
    if verdict.status != Status::Success {
        return Next::Done(Verdict {
            status: verdict.status,
            result: Value::Object(result),
        });
    }
    let state = match result.shift_remove("state") {
        None => Map::new(),
        Some(Value::Object(state)) => state,
        Some(other) => Map::from_iter([("state".to_owned(), other)]),
    };
    match result.shift_remove("action") {
        None => {
            let result = match result.shift_remove("params") {
                Some(params) => boxed(params),
                None => {
                    if !state.is_empty() {
                        result.insert("state".to_owned(), Value::Object(state));
                    }
                    Value::Object(result)
                }
            };
            Next::Done(ended(result))
        }
        Some(Value::String(name)) => {
            let params = result.shift_remove("params").map_or_else(|| json!({}), boxed);
            Next::Component(name, params, state)
        }
        Some(other) => Next::Confused(
            format!("Failed to parse action name from json value {other} during composition."),
            state,
        ),
    }
}

/// The end of a composition: an error where its result has one.
fn ended(result: Value) -> Verdict {
    match result.get("error") {
        Some(error) => Verdict::error(Status::ApplicationError, error.clone()),
        None => Verdict {
            status: Status::Success,
            result,
        },
    }
}

fn boxed(value: Value) -> Value {
    if value.is_object() {
        value
    } else {
        json!({ "value": value })
    }
}

/// A component's result with the conductor's own state over it.
fn with_state(result: Value, state: Map<String, Value>) -> Value {
    let Value::Object(mut result) = boxed(result) else {
        return Value::Null;
    };
    result.extend(state);
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: Value) -> Next {
        next(Verdict {
            status: Status::Success,
            result,
        })
    }

    #[test]
    fn a_conductors_answer_says_what_is_next() {
        let Next::Component(name, params, state) = answer(json!({ "action": "a", "params": 1, "state": 2 })) else {
            panic!("not a component");
        };
        assert_eq!(
            (name.as_str(), params, Value::Object(state)),
            ("a", json!({ "value": 1 }), json!({ "state": 2 }))
        );
        let Next::Done(verdict) = answer(json!({ "params": { "x": 1 }, "y": 2 })) else {
            panic!("not done");
        };
        assert_eq!(verdict.result, json!({ "x": 1 }));
        let Next::Done(verdict) = answer(json!({ "y": 2 })) else {
            panic!("not done");
        };
        assert_eq!(verdict.result, json!({ "y": 2 }));
        let Next::Confused(text, _) = answer(json!({ "action": 7 })) else {
            panic!("understood");
        };
        assert_eq!(
            text,
            "Failed to parse action name from json value 7 during composition."
        );
    }
}
