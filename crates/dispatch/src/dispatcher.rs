//! What adapters call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sonagi_model::{Function, FunctionId};
use sonagi_pool::{Contracts, Pool};
use sonagi_ports::{Clock, LogSink, RunStore};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Running};
use crate::api::{Answer, Refused, Request};
use crate::attempt::{Attempt, Keep};
use crate::persist::{Home, Persist};

/// Settings of a [`Dispatcher`].
#[derive(Debug, Clone)]
pub struct DispatchOptions {
    /// Instances to which an event is handed over, one after the other, while none of them takes it. Default 3.
    pub deliveries: u32,
    /// Longest wait for an answer that an instance may have sent before its process ended. Default 200 ms.
    pub last_words: Duration,
    /// Parts of a streamed answer that wait for a slow reader; then the function waits. Default 16.
    pub stream_parts: usize,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        Self {
            deliveries: 3,
            last_words: Duration::from_millis(200),
            stream_parts: 16,
        }
    }
}

/// Runs invocations. Cloning gives another handle on the same dispatcher.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: DispatchOptions,
    pub pool: Pool,
    pub contracts: Contracts,
    pub runs: Arc<dyn RunStore>,
    pub logs: Arc<dyn LogSink>,
    pub clock: Arc<dyn Clock>,
    /// Tasks, and a token for each attempt that is none.
    pub tasks: TaskTracker,
    runtime: Handle,
    admission: Admission,
    stopping: AtomicBool,
}

impl Home for Arc<Inner> {
    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Inner {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

impl Dispatcher {
    /// A dispatcher over a pool, with the same contracts. To be called on a tokio runtime, which then runs its tasks.
    #[must_use]
    pub fn new(
        options: DispatchOptions,
        pool: Pool,
        contracts: Contracts,
        runs: Arc<dyn RunStore>,
        logs: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            options,
            pool,
            contracts,
            runs,
            logs,
            clock,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            admission: Admission::default(),
            stopping: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs one attempt. Its record is in the ledger before the answer, or the last part of a streamed one, is handed
    /// out. A call at a limit is refused at once; one that passes waits only for an instance. Dropping the future does
    /// not end the attempt: it goes on by itself and is metered.
    ///
    /// # Errors
    /// [`Refused`]: nothing ran.
    pub async fn invoke(&self, request: Request) -> Result<Answer, Refused> {
        self.attempt(request, Keep::Ledger).await
    }

    /// As [`Dispatcher::invoke`]; `keep` says who keeps the record.
    pub(crate) async fn attempt(&self, request: Request, keep: Keep) -> Result<Answer, Refused> {
        let inner = &self.inner;
        if inner.stopping.load(Ordering::SeqCst) {
            return Err(Refused::Stopping);
        }
        let token = inner.admission.enter(&request.function, request.tenant_concurrency);
        let attempt = Attempt::new(inner.clone(), request, keep, token.map_err(Refused::Throttled)?);
        Persist::new(attempt.run(), inner.clone()).await
    }

    /// Takes note of a function's reserved concurrency, which lessens what other functions of its tenant may use even
    /// before it is called. To be called for every function at start and after every change.
    pub fn reserve(&self, function: &Function) {
        self.inner.admission.reserve(function);
    }

    /// A function is gone: its reservation ends, and its instances go as soon as they are idle.
    pub fn remove_function(&self, function: FunctionId) {
        self.inner.admission.forget(function);
        self.inner.pool.remove_function(function);
    }

    /// How many attempts of a function and of its tenant run now. Nothing is known of functions that were neither
    /// called nor reserved.
    #[must_use]
    pub fn running(&self, function: FunctionId) -> Running {
        self.inner.admission.running(function)
    }

    /// The pool beneath.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Refuses everything from now on; what runs goes on.
    pub fn stop_accepting(&self) {
        self.inner.stopping.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing runs any more, at most until `deadline`; whether that was reached. To be called after
    /// [`Dispatcher::stop_accepting`].
    pub async fn drained(&self, deadline: Instant) -> bool {
        self.inner.tasks.close();
        tokio::time::timeout_at(deadline, self.inner.tasks.wait()).await.is_ok()
    }
}
