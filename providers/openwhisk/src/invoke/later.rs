//! Activations that nobody waits for: accepted durably, then run by the queue, which hands them over here.
//!
//! A delivery lasts as long as the activation. After a crash the queue hands it over again, under the same id.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonagi_model::{EventId, InvocationId};
use sonagi_ports::{AcceptError, DeliveryError, Destination, EventRoute, NewEvent, QueuedEvent};
use tokio::sync::watch;

use super::{Arguments, Caller, Invoker, Order};
use crate::accounts::Accounts;
use crate::errors::WhiskError;
use crate::names::{FullName, core_namespace};

/// The name under which deliveries are registered.
pub const ADAPTER: &str = "openwhisk";

/// The longest that an activation can last: a composition of the most and slowest actions.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// An order as the queue keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    caller: String,
    action: FullName,
    value: Value,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    init: serde_json::Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<InvocationId>,
    transaction: String,
    asked: i64,
}

/// What takes the queue's deliveries.
#[derive(Debug, Default)]
pub struct Deliveries {
    parts: OnceLock<Parts>,
    /// Those under way: a second delivery of the same event waits for the first.
    running: Arc<Mutex<HashMap<EventId, watch::Receiver<()>>>>,
}

#[derive(Debug)]
struct Parts {
    invoker: Arc<Invoker>,
    accounts: Arc<Accounts>,
}

impl Deliveries {
    /// Says what runs them. Until then they are put off.
    pub(crate) fn attach(&self, invoker: Arc<Invoker>, accounts: Arc<Accounts>) {
        let _ = self.parts.set(Parts { invoker, accounts });
    }
}

impl Invoker {
    /// Accepts an order to be run later; durable when this returns. `name` is what its action was called.
    ///
    /// # Errors
    /// 503: it was not accepted.
    pub(crate) async fn accept(&self, order: &Order, name: &FullName) -> Result<(), WhiskError> {
        let kept = Kept {
            caller: order.caller.namespace.clone(),
            action: name.clone(),
            value: order.arguments.value.clone(),
            init: order.arguments.init.clone(),
            cause: order.cause,
            transaction: order.transaction.clone(),
            asked: order.asked,
        };
        let payload = serde_json::to_vec(&kept).map_err(WhiskError::malformed)?;
        let route = EventRoute::Destination {
            adapter: ADAPTER.to_owned(),
            address: name.to_string(),
        };
        let namespace = core_namespace(&order.caller.namespace).ok_or_else(WhiskError::missing)?;
        let event = NewEvent {
            id: EventId::from_uuid(*order.id.as_uuid()),
            ..NewEvent::new(route, namespace, name.to_string(), Bytes::from(payload))
        };
        match self.runner.accept(event).await {
            Ok(_) => Ok(()),
            Err(AcceptError::Store(error)) => Err(error.into()),
            Err(error @ (AcceptError::TooLarge { .. } | AcceptError::TokenReused { .. })) => {
                Err(WhiskError::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
            }
        }
    }
}

impl Parts {
    fn order(&self, event: &QueuedEvent) -> Result<Order, DeliveryError> {
        let refused = |why: String| DeliveryError::Refused(why);
        let kept: Kept = serde_json::from_slice(&event.payload).map_err(|error| refused(error.to_string()))?;
        let account = self
            .accounts
            .get(&kept.caller)
            .ok_or_else(|| DeliveryError::Gone(format!("namespace {} is gone", kept.caller)))?;
        let caller = Caller {
            namespace: account.namespace.clone(),
            api_key: account.auth(),
        };
        let callable = self
            .invoker
            .resolve(&caller, &kept.action)
            .map_err(|_| DeliveryError::Gone(format!("action {} is gone", kept.action)))?;
        Ok(Order {
            id: event.invocation(),
            caller,
            callable,
            arguments: Arguments {
                value: kept.value,
                init: kept.init,
            },
            cause: kept.cause,
            in_sequence: false,
            transaction: kept.transaction,
            asked: kept.asked,
        })
    }
}

#[async_trait]
impl Destination for Deliveries {
    async fn deliver(&self, event: &QueuedEvent) -> Result<(), DeliveryError> {
        let parts = self
            .parts
            .get()
            .ok_or_else(|| DeliveryError::Unavailable("the platform is starting".to_owned()))?;
        let known = self.running.lock().get(&event.id).cloned();
        let mut over = match known {
            Some(over) => over,
            None => {
                let order = parts.order(event)?;
                let (sender, receiver) = watch::channel(());
                self.running.lock().insert(event.id, receiver.clone());
                let (running, id) = (Arc::clone(&self.running), event.id);
                let work = parts.invoker.perform(order);
                parts.invoker.tasks.spawn(async move {
                    work.await;
                    running.lock().remove(&id);
                    drop(sender);
                });
                receiver
            }
        };
        // The sender says nothing; its end says all.
        let _ = over.changed().await;
        Ok(())
    }

    fn longest(&self) -> Option<Duration> {
        Some(LONGEST)
    }
}
