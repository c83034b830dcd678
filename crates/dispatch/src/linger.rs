//! The end of an attempt in whose instance something may still work on the event when it is answered.
//!
//! Whoever called gets the answer at once; the attempt goes on until nothing works on it any more, or until its deadline:
//! that time is metered, and nobody else gets the instance before. Where the record belongs to the answer (the end of an
//! event, the end of the log) both wait for it.

use std::sync::Arc;

use bytes::Bytes;
use sonagi_pool::Lease;
use tokio::time::{Instant, timeout_at};

use crate::api::{Finished, LogTail};
use crate::attempt::{Attempt, Ending, Keep, Usable};

impl Attempt {
    /// See the module.
    pub(crate) async fn linger(self, lease: Lease, ending: Ending, begun: Instant) -> Finished {
        if ending.instance == Usable::No {
            return self.settle_up(lease, ending, begun).await;
        }
        match (self.keep, self.request.log_tail) {
            (Keep::Caller, _) | (Keep::Ledger, LogTail::Bytes(_)) => self.wait_and_settle(lease, ending, begun).await,
            (Keep::Ledger, LogTail::Omit) => {
                let answer = Finished {
                    record: Arc::new(self.measured(&lease, &ending, begun.elapsed())),
                    outcome: ending.outcome.clone(),
                    body: ending.body.clone(),
                    content_type: ending.content_type.clone(),
                    log_tail: None,
                };
                let rest = Ending {
                    body: Bytes::new(),
                    ..ending
                };
                let inner = self.inner.clone();
                inner.spawn(async move { drop(self.wait_and_settle(lease, rest, begun).await) });
                answer
            }
        }
    }

    async fn wait_and_settle(self, lease: Lease, mut ending: Ending, begun: Instant) -> Finished {
        let deadline = begun.checked_add(self.timeout()).unwrap_or(begun);
        let settled = tokio::select! {
            biased;
            settled = timeout_at(deadline, lease.session().settled()) => matches!(settled, Ok(Ok(()))),
            _exit = lease.exited() => false,
        };
        if !settled {
            ending.instance = Usable::No;
        }
        self.settle_up(lease, ending, begun).await
    }

    async fn settle_up(self, lease: Lease, ending: Ending, begun: Instant) -> Finished {
        let (record, log_tail) = self.close(lease, &ending, begun.elapsed());
        self.keep(ending, record, log_tail).await
    }
}
