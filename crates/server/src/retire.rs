//! Tells the engine and the log when the catalog gives something up. The catalog is made before the pool, so the
//! dispatcher is filled in later; until then there is no instance to retire.

use std::sync::{Arc, OnceLock};

use sonagi_control::Retired;
use sonagi_dispatch::Dispatcher;
use sonagi_model::{FunctionId, Revision, RevisionId};
use sonagi_ports::LogSink;
use tokio_util::task::TaskTracker;

use crate::ahead::Ahead;

/// Passes the catalog's word on.
#[derive(Debug)]
pub(crate) struct RetireInstances {
    pub(crate) dispatcher: OnceLock<Dispatcher>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) logs: Arc<dyn LogSink>,
    pub(crate) tasks: TaskTracker,
}

impl Retired for RetireInstances {
    fn retired(&self, revision: RevisionId) {
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.pool().retire(revision);
        }
    }

    fn live(&self, old: Option<&Revision>, new: Option<&Revision>) {
        self.ahead.live(old, new);
    }

    fn removed(&self, function: FunctionId) {
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.remove_function(function);
        }
        let logs = Arc::clone(&self.logs);
        self.tasks.spawn(async move { logs.remove(function).await });
    }
}
