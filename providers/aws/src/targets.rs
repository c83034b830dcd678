//! Where an accepted event goes at this moment: its qualifier is resolved again at every attempt.

use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_model::Revision;
use sonagi_ports::{Entropy, EventTargets, QueuedEvent, Target, TargetGone};

use crate::arn::Qualifier;

/// Resolves events of Lambda functions.
#[derive(Debug)]
pub struct LambdaTargets {
    catalog: Arc<Catalog>,
    entropy: Arc<dyn Entropy>,
    account_concurrency: u32,
}

impl LambdaTargets {
    /// Looks functions up in this catalog; `account_concurrency` is what an account may run at once.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, entropy: Arc<dyn Entropy>, account_concurrency: u32) -> Self {
        Self {
            catalog,
            entropy,
            account_concurrency,
        }
    }
}

impl EventTargets for LambdaTargets {
    fn resolve(&self, event: &QueuedEvent) -> Result<Target, TargetGone> {
        let entry = self.catalog.get(event.function).ok_or(TargetGone)?;
        let revision: Option<Arc<Revision>> = match event.qualifier.as_deref().map(Qualifier::parse) {
            None | Some(Some(Qualifier::Latest)) => Some(Arc::clone(entry.latest())),
            Some(Some(Qualifier::Version(number))) => entry.labelled(&number.to_string()).cloned(),
            Some(Some(Qualifier::Alias(name))) => entry.routed(name.as_str(), self.entropy.unit()).cloned(),
            Some(None) => None,
        };
        Ok(Target {
            revision: revision.ok_or(TargetGone)?,
            function: Arc::clone(&entry.function),
            attributes: event.attributes.clone(),
            tenant_concurrency: self.account_concurrency,
        })
    }
}
