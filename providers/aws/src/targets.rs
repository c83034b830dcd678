//! Where an accepted event goes at this moment: its qualifier is resolved again at every attempt.

use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_model::Revision;
use sonagi_ports::{
    Entropy, EventEnd, EventRoute, EventTargets, FollowUp, QueuedEvent, RetryRules, Target, Undeliverable,
};

use crate::arn::Qualifier;

/// Resolves events of Lambda functions.
#[derive(Debug)]
pub struct LambdaTargets {
    catalog: Arc<Catalog>,
    entropy: Arc<dyn Entropy>,
    account_concurrency: u32,
    rules: RetryRules,
}

impl LambdaTargets {
    /// Looks functions up in this catalog; `account_concurrency` is what an account may run at once, `rules` hold for
    /// functions without a configuration of their own.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, entropy: Arc<dyn Entropy>, account_concurrency: u32, rules: RetryRules) -> Self {
        Self {
            catalog,
            entropy,
            account_concurrency,
            rules,
        }
    }
}

impl EventTargets for LambdaTargets {
    fn resolve(&self, event: &QueuedEvent) -> Result<Target, Undeliverable> {
        let EventRoute::Function {
            function, qualifier, ..
        } = &event.route
        else {
            return Err(Undeliverable::Gone);
        };
        let entry = self.catalog.get(*function).ok_or(Undeliverable::Gone)?;
        let revision: Option<Arc<Revision>> = match qualifier.as_deref().map(Qualifier::parse) {
            None | Some(Some(Qualifier::Latest)) => Some(Arc::clone(entry.latest())),
            Some(Some(Qualifier::Version(number))) => entry.labelled(&number.to_string()).cloned(),
            Some(Some(Qualifier::Alias(name))) => entry.routed(name.as_str(), self.entropy.unit()).cloned(),
            Some(None) => None,
        };
        let revision = revision.ok_or(Undeliverable::Gone)?;
        if entry.function.reserved_concurrency == Some(0) {
            return Err(Undeliverable::Disabled);
        }
        Ok(Target {
            revision,
            function: Arc::clone(&entry.function),
            attributes: event.attributes.clone(),
            tenant_concurrency: self.account_concurrency,
            rules: self.rules.clone(),
        })
    }

    fn follow_ups(&self, _event: &QueuedEvent, _end: &EventEnd<'_>) -> Vec<FollowUp> {
        Vec::new()
    }
}
