//! What a warm call costs in the dispatcher and the pool, without a process, a store or a socket: everything beneath is
//! a fake that answers at once. Prints microseconds a call, best and median of several rounds.
//!
//! `cargo run --release -p sonagi-dispatch --example warm`
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sonagi_dispatch::{Answer, DispatchOptions, Dispatcher, LogTail, Request};
use sonagi_model::{
    ArchiveLimits, Function, FunctionId, InvocationId, LogLimits, Mebibytes, Outcome, Revision, RunRecord, Timestamp,
};
use sonagi_pool::{Contracts, Pool, PoolOptions};
use sonagi_ports::fake::{FakeArtifactStore, FakeContract, FakeSandbox, sample};
use sonagi_ports::{
    ArtifactStore, Attributes, Contract, LedgerError, LogLine, LogSink, RunFilter, RunStore, StoreError, SystemClock,
    UsageFilter, UsageRow,
};
use tokio::sync::broadcast;

const CALLS: u32 = 20_000;
const ROUNDS: usize = 9;

/// Takes everything and keeps nothing, so that what is measured is not the growth of a fake.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl RunStore for Nowhere {
    fn append(&self, record: &RunRecord) -> Result<(), LedgerError> {
        std::hint::black_box(record);
        Ok(())
    }

    async fn append_slow(&self, _record: RunRecord) -> Result<(), StoreError> {
        Ok(())
    }

    async fn attempts(&self, _invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn recent(&self, _filter: RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn usage(&self, _filter: UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl LogSink for Nowhere {
    fn write(&self, lines: Vec<LogLine>) {
        std::hint::black_box(lines);
    }

    async fn read(
        &self,
        _function: FunctionId,
        _invocation: Option<InvocationId>,
        _since: Option<Timestamp>,
        _limit: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        Ok(Vec::new())
    }

    fn follow(&self, _function: FunctionId) -> broadcast::Receiver<Arc<LogLine>> {
        broadcast::channel(1).1
    }

    async fn remove(&self, _function: FunctionId) {}
}

async fn dispatcher() -> anyhow::Result<(Dispatcher, Request)> {
    let artifacts = Arc::new(FakeArtifactStore::new());
    let archive = Bytes::from_static(b"PK\x03\x04code");
    let artifact = artifacts.put(archive, &ArchiveLimits::default()).await?;
    let contract: Arc<dyn Contract> = Arc::new(FakeContract::new());
    let contracts: Contracts = [contract].into_iter().collect();
    let options = PoolOptions {
        node_memory: Mebibytes(1024),
        logs: LogLimits::default(),
        ..PoolOptions::default()
    };
    let (sandbox, clock) = (Arc::new(FakeSandbox::new()), Arc::new(SystemClock));
    let pool = Pool::new(
        options,
        sandbox,
        contracts.clone(),
        artifacts,
        Arc::new(Nowhere),
        clock.clone(),
    );
    let (runs, logs) = (Arc::new(Nowhere), Arc::new(Nowhere));
    let dispatcher = Dispatcher::new(DispatchOptions::default(), pool, contracts, runs, logs, clock);
    let function = Function {
        reserved_concurrency: None,
        ..sample::function("warm")
    };
    let revision = Revision {
        artifact,
        ..sample::revision(&function)
    };
    let request = Request {
        function: Arc::new(function),
        revision: Arc::new(revision),
        invocation: InvocationId::generate(),
        attempt: 1,
        payload: Bytes::from_static(b"{}"),
        attributes: Attributes::default(),
        tenant_concurrency: 1000,
        log_tail: LogTail::Omit,
    };
    Ok((dispatcher, request))
}

async fn round(dispatcher: &Dispatcher, request: &Request) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    for _ in 0..CALLS {
        match dispatcher.invoke(request.clone()).await? {
            Answer::Whole(finished) if finished.outcome == Outcome::Success => {}
            other @ (Answer::Whole(_) | Answer::Stream(_)) => anyhow::bail!("unexpected answer: {other:?}"),
        }
    }
    Ok(begun.elapsed() / CALLS)
}

async fn measure() -> anyhow::Result<()> {
    let (dispatcher, request) = dispatcher().await?;
    // The first round has the cold start and fills caches.
    round(&dispatcher, &request).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&dispatcher, &request).await?.as_nanos());
    }
    rounds.sort_unstable();
    let micros = |nanos: u128| nanos as f64 / 1000.0;
    let (best, median) = (micros(rounds[0]), micros(rounds[ROUNDS / 2]));
    println!("warm call through dispatcher and pool: best {best:.2} us, median {median:.2} us");
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}
