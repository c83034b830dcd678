//! The ledger of attempts in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{
    FunctionName, InvocationId, Mebibytes, Namespace, RunRecord, RunStatus, Start, TenantId, Timestamp,
};

use super::Faults;
use crate::{LedgerError, RunFilter, RunStore, StoreError, UsageFilter, UsageRow};

/// A [`RunStore`] that forgets everything with the process.
#[derive(Debug, Default)]
pub struct FakeRunStore {
    runs: Mutex<BTreeMap<(InvocationId, u32), RunRecord>>,
    refuse: Mutex<Option<LedgerError>>,
    faults: Faults,
}

impl FakeRunStore {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What everything but [`RunStore::append`] is told to run into.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What [`RunStore::append`] answers from now on; `None`: it takes records.
    pub fn refuse_appends(&self, error: Option<LedgerError>) {
        *self.refuse.lock() = error;
    }

    /// Every record, by invocation and attempt.
    #[must_use]
    pub fn all(&self) -> Vec<RunRecord> {
        self.runs.lock().values().cloned().collect()
    }

    /// Keeps a record; one of an attempt that is known already changes nothing.
    pub(super) fn keep(&self, record: RunRecord) {
        self.runs
            .lock()
            .entry((record.invocation, record.attempt))
            .or_insert(record);
    }
}

fn add(row: &mut UsageRow, run: &RunRecord) {
    row.attempts += 1;
    row.errors += u64::from(run.status != RunStatus::Success);
    row.cold_starts += u64::from(run.start == Start::Cold);
    row.duration_us += run.duration_us;
    row.billed_ms += run.billed_ms;
    row.response_bytes += run.response_bytes;
}

fn in_period(started: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.is_none_or(|from| started >= from) && to.is_none_or(|to| started < to)
}

#[async_trait]
impl RunStore for FakeRunStore {
    fn append(&self, record: &RunRecord) -> Result<(), LedgerError> {
        if let Some(error) = *self.refuse.lock() {
            return Err(error);
        }
        self.keep(record.clone());
        Ok(())
    }

    async fn append_slow(&self, record: RunRecord) -> Result<(), StoreError> {
        self.faults.check("keep a run record")?;
        self.keep(record);
        Ok(())
    }

    async fn attempts(&self, invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError> {
        self.faults.check("read runs")?;
        let runs = self.runs.lock();
        Ok(runs
            .range((invocation, 0)..=(invocation, u32::MAX))
            .map(|(_, run)| run.clone())
            .collect())
    }

    async fn recent(&self, filter: RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.faults.check("read runs")?;
        let limit = if filter.limit == 0 { 50 } else { filter.limit.min(1000) };
        let mut runs: Vec<RunRecord> = (self.runs.lock().values())
            .filter(|run| filter.function.is_none_or(|function| run.function == function))
            .filter(|run| {
                filter
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| run.namespace == *namespace)
            })
            .filter(|run| in_period(run.started, filter.since, None))
            .filter(|run| !filter.failed || run.status != RunStatus::Success)
            .cloned()
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse((run.started, run.invocation, run.attempt)));
        runs.truncate(limit);
        Ok(runs)
    }

    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        self.faults.check("read usage")?;
        let mut rows: BTreeMap<(TenantId, Namespace, FunctionName, u32, u32), UsageRow> = BTreeMap::new();
        for run in self.runs.lock().values() {
            let asked = filter.tenant.as_ref().is_none_or(|tenant| run.tenant == *tenant)
                && filter
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| run.namespace == *namespace)
                && in_period(run.started, filter.from, filter.to);
            if asked {
                let (Mebibytes(memory), Mebibytes(scratch)) = (run.memory, run.scratch);
                let key = (
                    run.tenant.clone(),
                    run.namespace.clone(),
                    run.name.clone(),
                    memory,
                    scratch,
                );
                add(rows.entry(key).or_insert_with(|| UsageRow::empty_for(run)), run);
            }
        }
        Ok(rows.into_values().collect())
    }
}

impl UsageRow {
    fn empty_for(run: &RunRecord) -> Self {
        Self {
            tenant: run.tenant.clone(),
            namespace: run.namespace.clone(),
            name: run.name.clone(),
            memory: run.memory,
            scratch: run.scratch,
            attempts: 0,
            errors: 0,
            cold_starts: 0,
            duration_us: 0,
            billed_ms: 0,
            response_bytes: 0,
        }
    }
}
