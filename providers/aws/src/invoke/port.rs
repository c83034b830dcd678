//! What invocations need from the engine.

use std::sync::Arc;

use async_trait::async_trait;
use sonagi_dispatch::{Answer, Asynchronous, Dispatcher, FloorStatus, Refused, Request};
use sonagi_model::{Function, FunctionId, Revision, RevisionId};
use sonagi_ports::{AcceptError, Accepted, NewEvent};

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

    /// A function's reserved concurrency may have changed: what it reserves is taken from others from now on.
    fn reserve(&self, function: &Function);

    /// Keeps so many instances of these revisions loaded, and of no other revision of the function.
    fn provision(&self, function: FunctionId, floors: &[(Arc<Revision>, usize)]);

    /// How far that is for a revision; `None`: nothing is wanted.
    fn provisioned(&self, revision: RevisionId) -> Option<FloorStatus>;
}

/// The platform's own engine.
#[derive(Debug, Clone)]
pub struct Engine {
    dispatcher: Dispatcher,
    asynchronous: Asynchronous,
}

impl Engine {
    /// Runs synchronous calls on one and events on the other.
    #[must_use]
    pub const fn new(dispatcher: Dispatcher, asynchronous: Asynchronous) -> Self {
        Self {
            dispatcher,
            asynchronous,
        }
    }
}

#[async_trait]
impl Runner for Engine {
    async fn run(&self, request: Request) -> Result<Answer, Refused> {
        self.dispatcher.invoke(request).await
    }

    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError> {
        self.asynchronous.accept(event).await
    }

    fn reserve(&self, function: &Function) {
        self.dispatcher.reserve(function);
    }

    fn provision(&self, function: FunctionId, floors: &[(Arc<Revision>, usize)]) {
        if let Err(error) = self.dispatcher.pool().set_floors(function, floors) {
            // Either the platform stops, or the status says so: nothing is loaded.
            tracing::warn!(%function, %error, "instances cannot be kept loaded");
        }
    }

    fn provisioned(&self, revision: RevisionId) -> Option<FloorStatus> {
        self.dispatcher.pool().floor(revision)
    }
}
