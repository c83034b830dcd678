//! Writing down what becomes of an event, and what its end sends elsewhere.

use std::sync::Arc;

use sonagi_crash::crash_point;
use sonagi_events::{Input, Verdict};
use sonagi_model::EventId;
use sonagi_ports::{
    DeliveryEnd, EventEnd, EventHead, EventRoute, EventStatus, LastAttempt, NewEvent, Postponement, Progress,
    QueuedEvent, Settlement, StoreError,
};

use super::attempt::Done;
use super::{Runner, failed};

impl Runner {
    /// Writes a verdict down, and tells the machine.
    pub(super) async fn keep(self: Arc<Self>, head: EventHead, verdict: Verdict) {
        let id = head.id;
        let (event, done) = {
            let work = self.work.lock();
            let work = work.get(&id);
            let event = work.and_then(|work| work.event.clone());
            (event, work.and_then(|work| work.done.clone()).unwrap_or_default())
        };
        let record = done.record.clone();
        crash_point!("event/keeping");
        let kept = match verdict {
            Verdict::Postpone { due, progress } => {
                let next = Postponement { due, progress };
                let postponed = self.queue.postpone(id, next, record.clone()).await;
                crash_point!("event/postponed");
                postponed
            }
            Verdict::Settle { status, progress } => {
                let follow_ups = event.map_or_else(Vec::new, |event| self.follow_ups(&event, &done, status, progress));
                let lanes: Vec<_> = follow_ups.iter().map(|event| (event.route.lane(), event.due)).collect();
                let settlement = self.settlement(&done, status, progress);
                let settled = self.queue.settle(id, settlement, record.clone(), follow_ups).await;
                crash_point!("event/settled");
                if settled.is_ok() {
                    for (lane, due) in lanes {
                        self.feed(Input::Stored { lane, due });
                    }
                }
                settled
            }
        };
        match kept {
            Ok(()) => self.forget(id),
            Err(error @ StoreError::NotPending(_)) => {
                failed(&error, "an event was to be changed after its end");
                self.forget(id);
            }
            Err(error) => {
                failed(&error, "an event's state cannot be kept");
                if self.stop.is_cancelled() {
                    // Whatever runs after the next start, this attempt is metered.
                    self.work.lock().remove(&id);
                    if let Some(record) = record
                        && self.runs.append(&record).is_err()
                    {
                        tracing::error!(invocation = %record.invocation, "an attempt could not be metered");
                    }
                }
                self.feed(Input::KeepFailed(id));
            }
        }
    }

    fn forget(self: &Arc<Self>, id: EventId) {
        self.work.lock().remove(&id);
        self.feed(Input::Kept(id));
    }

    fn settlement(&self, done: &Done, status: EventStatus, progress: Progress) -> Settlement {
        let reason = if status == EventStatus::Succeeded {
            String::new()
        } else {
            done.reason.clone()
        };
        Settlement {
            reason,
            ..Settlement::new(status, self.now(), progress)
        }
    }

    /// What the end of an event sends elsewhere, as events of their own.
    fn follow_ups(
        &self,
        event: &QueuedEvent,
        done: &Done,
        status: EventStatus,
        progress: Progress,
    ) -> Vec<QueuedEvent> {
        let ups = match &event.route {
            EventRoute::Function { contract, .. } => {
                let end = EventEnd {
                    status,
                    progress,
                    last: done.last.as_ref().map(|last| LastAttempt {
                        revision: &last.revision,
                        outcome: &last.outcome,
                        body: &last.body,
                    }),
                };
                let targets = self.routes.functions.get(contract);
                targets.map(|targets| targets.follow_ups(event, &end))
            }
            EventRoute::Destination { adapter, .. } => {
                let end = DeliveryEnd {
                    status,
                    progress,
                    reason: &done.reason,
                };
                let destination = self.routes.destinations.get(adapter);
                destination.map(|destination| destination.follow_ups(event, &end))
            }
        };
        let now = self.now();
        let follow_ups = ups.unwrap_or_default().into_iter().map(|follow_up| {
            let new = NewEvent {
                attributes: follow_up.attributes,
                origin: Some(event.id),
                ..NewEvent::new(
                    follow_up.route,
                    event.namespace.clone(),
                    follow_up.name,
                    follow_up.payload,
                )
            };
            new.accepted(now).0
        });
        follow_ups.collect()
    }
}
