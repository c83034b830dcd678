//! One function with its revisions and aliases, as readers see it: an immutable value, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use sonagi_model::{Alias, AliasName, Function, Revision, RevisionId};

/// A function with everything that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionEntry {
    /// The function.
    pub function: Arc<Function>,
    /// Its revisions, oldest first.
    pub revisions: BTreeMap<RevisionId, Arc<Revision>>,
    /// Its aliases, by name.
    pub aliases: BTreeMap<AliasName, Arc<Alias>>,
}

impl FunctionEntry {
    /// The newest revision.
    ///
    /// # Panics
    /// Never: the catalog refuses an entry whose latest revision is missing.
    #[must_use]
    pub fn latest(&self) -> &Arc<Revision> {
        self.revisions
            .get(&self.function.latest)
            .expect("the catalog keeps the latest revision of every function")
    }

    /// The newest revision that carries this label.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Option<&Arc<Revision>> {
        if self.latest().label == label {
            return Some(self.latest());
        }
        self.revisions.values().rev().find(|revision| revision.label == label)
    }

    /// Where an alias sends one call; `draw` is uniform in 0.0..1.0.
    #[must_use]
    pub fn routed(&self, alias: &str, draw: f64) -> Option<&Arc<Revision>> {
        let alias = self.aliases.iter().find(|(name, _)| name.as_str() == alias)?.1;
        self.revisions.get(&alias.route.pick(draw))
    }
}
