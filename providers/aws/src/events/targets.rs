//! Where an accepted event goes at this moment: its qualifier is resolved again at every attempt.

use std::sync::Arc;
use std::time::Duration;

use sonagi_control::Catalog;
use sonagi_model::Revision;
use sonagi_ports::{
    Entropy, EventEnd, EventRoute, EventTargets, FollowUp, QueuedEvent, RetryRules, Target, Undeliverable,
};

use super::ends::{Ending, key_of};
use super::{LOOP_LIMIT, count_of};
use crate::arn::Qualifier;
use crate::place::Place;
use crate::records::{AsyncRecord, FunctionRecord, RecursiveLoop, read};
use crate::runtime::attributes;

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

impl LambdaTargets {
    fn rules_of(&self, config: Option<&AsyncRecord>) -> RetryRules {
        let mut rules = self.rules.clone();
        if let Some(config) = config {
            if let Some(retries) = config.retries {
                rules.delays.truncate(usize::from(retries));
            }
            if let Some(seconds) = config.max_age {
                rules.max_age = rules.max_age.min(Duration::from_secs(u64::from(seconds)));
            }
        }
        rules
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
        // A record that cannot be read has been reported; the event runs by the platform's rules.
        let record: FunctionRecord = read(&entry.function.document).unwrap_or_default();
        let trace = event.attributes.get(attributes::TRACE_ID).unwrap_or_default();
        if record.recursive_loop == RecursiveLoop::Terminate && count_of(*function, trace) > LOOP_LIMIT {
            return Err(Undeliverable::Loop);
        }
        Ok(Target {
            revision,
            function: Arc::clone(&entry.function),
            attributes: event.attributes.clone(),
            tenant_concurrency: self.account_concurrency,
            rules: self.rules_of(record.asynchronous.get(key_of(qualifier.as_deref()))),
        })
    }

    fn follow_ups(&self, event: &QueuedEvent, end: &EventEnd<'_>) -> Vec<FollowUp> {
        let EventRoute::Function {
            function, qualifier, ..
        } = &event.route
        else {
            return Vec::new();
        };
        let (Some(entry), Some(home)) = (self.catalog.get(*function), Place::of(&event.namespace)) else {
            return Vec::new();
        };
        let record: FunctionRecord = read(&entry.function.document).unwrap_or_default();
        let qualifier = key_of(qualifier.as_deref());
        let config = record.asynchronous.get(qualifier);
        let ending = Ending {
            event,
            end,
            entry: &entry,
            home: &home,
            qualifier,
        };
        ending.follow_ups(config, &self.catalog)
    }
}
