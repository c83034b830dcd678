//! A dispatcher over a pool over fakes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_dispatch::{Answer, DispatchOptions, Dispatcher, Finished, LogTail, Request};
use sonagi_model::{ArchiveLimits, Function, FunctionError, InvocationId, Revision};
use sonagi_pool::{Contracts, Pool, PoolOptions};
use sonagi_ports::fake::{FakeArtifactStore, FakeContract, FakeLogSink, FakeRunStore, FakeSandbox, TokioClock, sample};
use sonagi_ports::{ArtifactStore, Attributes, Contract};

pub struct Bed {
    pub sandbox: Arc<FakeSandbox>,
    pub contract: Arc<FakeContract>,
    pub logs: Arc<FakeLogSink>,
    pub runs: Arc<FakeRunStore>,
    pub clock: Arc<TokioClock>,
    pub pool: Pool,
    pub dispatcher: Dispatcher,
    pub function: Arc<Function>,
    pub revision: Arc<Revision>,
}

impl Bed {
    pub async fn new() -> Self {
        Self::with(PoolOptions::default()).await
    }

    pub async fn with(pool_options: PoolOptions) -> Self {
        let sandbox = Arc::new(FakeSandbox::new());
        let contract = Arc::new(FakeContract::new());
        let artifacts = Arc::new(FakeArtifactStore::new());
        let logs = Arc::new(FakeLogSink::new());
        let runs = Arc::new(FakeRunStore::new());
        let clock = Arc::new(TokioClock::new());
        let archive = Bytes::from_static(b"PK\x03\x04code");
        let artifact = artifacts
            .put(archive, &ArchiveLimits::default())
            .await
            .expect("it is a zip archive");
        let contracts: Contracts = [contract.clone() as Arc<dyn Contract>].into_iter().collect();
        let pool = Pool::new(
            pool_options,
            sandbox.clone(),
            contracts.clone(),
            artifacts,
            logs.clone(),
            clock.clone(),
        );
        let options = DispatchOptions::default();
        let dispatcher = Dispatcher::new(
            options,
            pool.clone(),
            contracts,
            runs.clone(),
            logs.clone(),
            clock.clone(),
        );
        let function = Function {
            reserved_concurrency: None,
            ..sample::function("called")
        };
        let revision = Revision {
            artifact,
            beside: None,
            ..sample::revision(&function)
        };
        Self {
            sandbox,
            contract,
            logs,
            runs,
            clock,
            pool,
            dispatcher,
            function: Arc::new(function),
            revision: Arc::new(revision),
        }
    }

    pub fn request(&self) -> Request {
        Request {
            function: self.function.clone(),
            revision: self.revision.clone(),
            invocation: InvocationId::generate(),
            attempt: 1,
            payload: Bytes::from_static(b"event"),
            attributes: Attributes::default(),
            tenant_concurrency: 1000,
            log_tail: LogTail::Omit,
        }
    }

    pub async fn call(&self) -> Finished {
        whole(self.dispatcher.invoke(self.request()).await.expect("it runs"))
    }

    /// Waits until so many instances are left; with the clock paused that takes no time.
    pub async fn until_alive(&self, wanted: usize) {
        self.until("alive", || {
            sonagi_ports::Sandbox::alive(self.sandbox.as_ref()) == wanted
        })
        .await;
    }

    pub async fn until(&self, what: &str, reached: impl Fn() -> bool) {
        for _ in 0..5000 {
            if reached() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never {what}: {:?}", self.pool.snapshot());
    }
}

pub fn whole(answer: Answer) -> Finished {
    match answer {
        Answer::Whole(finished) => finished,
        Answer::Stream(_) => panic!("a streamed answer"),
    }
}

pub fn error(body: &'static [u8]) -> FunctionError {
    FunctionError {
        kind: Some("Oops".to_owned()),
        body: body.to_vec(),
    }
}
