//! Attempts that were under way when an earlier process ended: each leaves its record, costs nothing, and its event is
//! due again.

use std::sync::Arc;

use sonagi_crash::crash_point;
use sonagi_model::{FunctionName, Mebibytes, RevisionId, RunRecord, RunStatus, Start, TenantId};
use sonagi_ports::{EventHead, EventRoute, Postponement, Progress, QueuedEvent, StoreError};

use super::Runner;

/// Leased events that are read at once.
const PAGE: usize = 256;

/// The name in the record of an attempt whose function is gone and whose name is none that a function may have.
const UNKNOWN: &str = "unknown";

impl Runner {
    /// Settles what an earlier process left under way. There are at most as many as that worked on at once.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        loop {
            // Those that are postponed are not leased any more, so each page is the first.
            let heads = self.queue.leased(None, PAGE).await?;
            if heads.is_empty() {
                return Ok(());
            }
            tracing::warn!(events = heads.len(), "attempts were under way when the platform ended");
            crash_point!("event/orphans-read");
            for head in heads {
                self.lose(head).await?;
                crash_point!("event/orphan-metered");
            }
        }
    }

    async fn lose(&self, head: EventHead) -> Result<(), StoreError> {
        let attempt = head.progress.started.saturating_add(1);
        let event = self.queue.load(head.id).await?;
        let next = Postponement {
            due: self.now(),
            progress: Progress {
                started: attempt,
                ..head.progress
            },
        };
        let record = event.and_then(|event| self.lost_record(&event, attempt));
        self.queue.postpone(head.id, next, record).await
    }

    /// `None`: it was no call of a function.
    fn lost_record(&self, event: &QueuedEvent, attempt: u32) -> Option<RunRecord> {
        let EventRoute::Function { contract, function, .. } = &event.route else {
            return None;
        };
        let target = self
            .routes
            .functions
            .get(contract)
            .and_then(|targets| targets.resolve(event).ok());
        let revision = target.as_ref().map(|target| &target.revision);
        let name = FunctionName::parse(&event.name).or_else(|_| FunctionName::parse(UNKNOWN));
        let tenant = match revision {
            Some(revision) => revision.tenant.clone(),
            None => TenantId::parse(event.namespace.as_str()).ok()?,
        };
        Some(RunRecord {
            invocation: event.invocation(),
            attempt,
            function: *function,
            namespace: event.namespace.clone(),
            tenant,
            name: name.ok()?,
            revision: revision.map_or_else(|| RevisionId::from_uuid(*function.as_uuid()), |revision| revision.id),
            label: revision.map_or_else(String::new, |revision| revision.label.clone()),
            instance: None,
            started: self.now(),
            start: Start::Cold,
            phases: None,
            init_us: 0,
            duration_us: 0,
            billed_ms: 0,
            memory: revision.map_or(Mebibytes(0), |revision| revision.spec.memory),
            memory_peak: Mebibytes(0),
            scratch: revision.map_or(Mebibytes(0), |revision| revision.spec.scratch),
            response_bytes: 0,
            status: RunStatus::Lost,
            error_kind: None,
        })
    }
}
