//! A pool over fakes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{ArchiveLimits, ArtifactRef, Revision, RevisionId};
use sonagi_pool::{AcquireError, Contracts, Lease, Pool, PoolOptions, PoolSnapshot};
use sonagi_ports::fake::{
    FakeArtifactStore, FakeContract, FakeInit, FakeInstance, FakeLogSink, FakeSandbox, TokioClock, sample,
};
use sonagi_ports::{ArtifactStore, Contract};
use tokio::time::Instant;

pub struct Bed {
    pub sandbox: Arc<FakeSandbox>,
    pub contract: Arc<FakeContract>,
    pub artifacts: Arc<FakeArtifactStore>,
    pub logs: Arc<FakeLogSink>,
    pub pool: Pool,
    artifact: ArtifactRef,
}

impl Bed {
    pub async fn new(options: PoolOptions) -> Self {
        let sandbox = Arc::new(FakeSandbox::new());
        let contract = Arc::new(FakeContract::new());
        let artifacts = Arc::new(FakeArtifactStore::new());
        let logs = Arc::new(FakeLogSink::new());
        let archive = Bytes::from_static(b"PK\x03\x04code");
        let artifact = artifacts
            .put(archive, &ArchiveLimits::default())
            .await
            .expect("it is a zip archive");
        let contracts: Contracts = [contract.clone() as Arc<dyn Contract>].into_iter().collect();
        let pool = Pool::new(
            options,
            sandbox.clone(),
            contracts,
            artifacts.clone(),
            logs.clone(),
            Arc::new(TokioClock::new()),
        );
        Self {
            sandbox,
            contract,
            artifacts,
            logs,
            pool,
            artifact,
        }
    }

    pub fn revision(&self) -> Arc<Revision> {
        Arc::new(Revision {
            id: RevisionId::generate(),
            artifact: self.artifact.clone(),
            beside: None,
            ..sample::revision(&sample::function("pooled"))
        })
    }

    pub async fn lease(&self, revision: &Arc<Revision>) -> Lease {
        self.pool.acquire(revision).await.expect("an instance")
    }

    /// Initializations take so long from now on, for `count` instances.
    pub fn slow_inits(&self, takes: Duration, count: usize) {
        let init = FakeInit {
            takes: Some(takes),
            result: Ok(()),
        };
        self.contract.script_inits(vec![init; count]);
    }

    pub fn instance(&self, lease: &Lease) -> Arc<FakeInstance> {
        let instances = self.sandbox.instances();
        instances
            .into_iter()
            .find(|instance| instance.plan().instance == lease.id())
            .expect("it was started")
    }

    /// Waits until the pool is in a state; with the clock paused that takes no time.
    pub async fn until(&self, what: &str, reached: impl Fn(&PoolSnapshot) -> bool) {
        for _ in 0..2000 {
            if reached(&self.pool.snapshot()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never {what}: {:?}", self.pool.snapshot());
    }

    pub async fn until_gone(&self, instance: &FakeInstance) {
        for _ in 0..2000 {
            if instance.is_destroyed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never destroyed: {:?}", self.pool.snapshot());
    }

    pub async fn drain(&self) -> usize {
        self.pool.drain(Instant::now() + Duration::from_secs(60)).await
    }
}

/// Runs the tasks that can run, without letting time pass.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub fn failure(result: Result<Lease, AcquireError>) -> sonagi_pool::StartFailure {
    match result {
        Err(AcquireError::Failed(failure)) => failure,
        other => panic!("no failed start: {other:?}"),
    }
}
