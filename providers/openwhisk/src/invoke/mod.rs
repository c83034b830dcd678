//! Running actions: one order in, one activation out, its record filed before anybody hears of the end.

mod conductor;
mod gate;
mod later;
mod logs;
mod record;
mod sequence;
mod single;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sonagi_dispatch::{Answer, Refused, Request};
use sonagi_model::InvocationId;
use sonagi_ports::{AcceptError, Accepted, Archive, NewEvent};
use tokio_util::task::TaskTracker;

use crate::errors::WhiskError;
use crate::estate::{Callable, Estate};
use crate::limits::WhiskLimits;
use crate::names::FullName;
use crate::runtime::WhiskContract;
use crate::throttle::{Running, Throttle};

pub(crate) use gate::{Arguments, arguments, given};
pub use later::{ADAPTER, Deliveries};
pub(crate) use record::{Activation, Logs, id_text, scope};

/// Runs functions now or later.
#[async_trait]
pub trait Runner: Send + Sync + std::fmt::Debug {
    /// Runs one attempt.
    ///
    /// # Errors
    /// [`Refused`]: nothing ran.
    async fn run(&self, request: Request) -> Result<Answer, Refused>;

    /// Accepts an event; when it returns, the event is durable.
    ///
    /// # Errors
    /// [`AcceptError`]: the event was not accepted.
    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError>;
}

/// What came of waiting for an activation.
pub(crate) enum Waited {
    /// It is over.
    Over(Box<Activation>),
    /// It goes on.
    Running,
    /// The platform lost it.
    Lost,
}

/// Who is served: the namespace that pays, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) namespace: String,
    pub(crate) api_key: String,
}

/// One action to run.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: InvocationId,
    pub(crate) caller: Caller,
    pub(crate) callable: Callable,
    /// What it is given, parameters merged: an object, or an array.
    pub(crate) arguments: Arguments,
    /// The activation by which it was made.
    pub(crate) cause: Option<InvocationId>,
    /// Whether that is a sequence of which it is a component.
    pub(crate) in_sequence: bool,
    pub(crate) transaction: String,
    /// When it was asked for, milliseconds since the epoch.
    pub(crate) asked: i64,
}

/// What runs orders.
#[derive(Debug)]
pub(crate) struct Invoker {
    pub(crate) estate: Arc<Estate>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) contract: Arc<WhiskContract>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) limits: Arc<WhiskLimits>,
    pub(crate) throttle: Throttle,
    /// Activations that go on after their caller went away.
    pub(crate) tasks: TaskTracker,
}

impl Invoker {
    pub(crate) fn now(&self) -> i64 {
        self.estate.now_ms()
    }

    /// Runs an order to its end and files its record. Its end does not depend on whether somebody waits.
    pub(crate) fn perform(self: &Arc<Self>, order: Order) -> BoxFuture<'static, Activation> {
        let invoker = Arc::clone(self);
        async move {
            let activation = if order.callable.record.exec.is_sequence() {
                invoker.sequence(&order, true).await
            } else if order.callable.record.head.annotations.is_truthy("conductor") {
                invoker.conductor(&order, true).await
            } else {
                invoker.single(&order).await
            };
            invoker.file(&activation);
            activation
        }
        .boxed()
    }

    /// Runs an order as a task of its own, so that it goes on whoever goes away, and waits for it for a time.
    pub(crate) async fn wait_for(self: Arc<Self>, order: Order, running: Running, wait: Duration) -> Waited {
        let work = self.perform(order);
        let task = self.tasks.spawn(async move {
            let activation = work.await;
            drop(running);
            activation
        });
        match tokio::time::timeout(wait, task).await {
            Ok(Ok(activation)) => Waited::Over(Box::new(activation)),
            Ok(Err(_crashed)) => Waited::Lost,
            Err(_elapsed) => Waited::Running,
        }
    }

    /// Keeps a record. One that cannot be kept is lost, which its reader learns by not finding it.
    pub(crate) fn file(&self, activation: &Activation) {
        if let Err(error) = self.archive.file(activation.filing()) {
            tracing::error!(activation = %activation.id, error = &error as &dyn std::error::Error, "an activation cannot be kept");
        }
    }

    /// The order for an action by name.
    ///
    /// # Errors
    /// As of [`Estate::callable`].
    pub(crate) fn resolve(&self, caller: &Caller, name: &FullName) -> Result<Callable, WhiskError> {
        self.estate.callable(&caller.namespace, name)
    }
}

/// A new activation id.
pub(crate) fn new_id() -> InvocationId {
    InvocationId::generate()
}
