//! Where an accepted detached call goes at this moment.

use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_ports::{EventEnd, EventRoute, EventTargets, FollowUp, QueuedEvent, RetryRules, Target, Undeliverable};

/// Resolves detached calls.
#[derive(Debug)]
pub struct FnTargets {
    catalog: Arc<Catalog>,
    concurrent: u32,
    rules: RetryRules,
}

impl FnTargets {
    /// Looks functions up in this catalog; `concurrent` is what an account may run at once. Of `rules` the waits after
    /// failures do not hold: upstream calls a detached function once, whatever it answers.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, concurrent: u32, rules: RetryRules) -> Self {
        Self {
            catalog,
            concurrent,
            rules: RetryRules {
                delays: Vec::new(),
                ..rules
            },
        }
    }
}

impl EventTargets for FnTargets {
    fn resolve(&self, event: &QueuedEvent) -> Result<Target, Undeliverable> {
        let EventRoute::Function { function, .. } = &event.route else {
            return Err(Undeliverable::Gone);
        };
        let entry = self.catalog.get(*function).ok_or(Undeliverable::Gone)?;
        Ok(Target {
            revision: Arc::clone(entry.latest()),
            function: Arc::clone(&entry.function),
            attributes: event.attributes.clone(),
            tenant_concurrency: self.concurrent,
            rules: self.rules.clone(),
        })
    }

    fn follow_ups(&self, _event: &QueuedEvent, _end: &EventEnd<'_>) -> Vec<FollowUp> {
        Vec::new()
    }
}
