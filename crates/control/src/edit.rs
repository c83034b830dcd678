//! One change of one function: a draft that a plain closure alters, and the list of durable changes that follows.

use std::sync::Arc;

use sonagi_model::{
    Alias, AliasName, ArtifactRef, Document, Function, Revision, RevisionId, RevisionSpec, Route, Timestamp,
};
use sonagi_ports::{Change, Record};

use crate::FunctionEntry;

/// What a new revision is made of; the rest comes from its function.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// The name under which the running code sees it.
    pub label: String,
    /// Its code.
    pub artifact: ArtifactRef,
    /// Its configuration.
    pub spec: RevisionSpec,
    /// The provider's own record.
    pub document: Document,
}

/// A draft of a function. Nothing is visible or durable until the catalog has committed it.
#[derive(Debug)]
pub struct Edit {
    entry: FunctionEntry,
    changes: Vec<Change>,
    removed: Vec<Arc<Revision>>,
    now: Timestamp,
}

impl Edit {
    pub(crate) const fn new(entry: FunctionEntry, now: Timestamp) -> Self {
        Self {
            entry,
            changes: Vec::new(),
            removed: Vec::new(),
            now,
        }
    }

    /// The draft as it stands.
    #[must_use]
    pub const fn entry(&self) -> &FunctionEntry {
        &self.entry
    }

    /// The time of this change.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Changes the function's own record. Identity, name and owner stay what they are.
    pub fn function(&mut self, alter: impl FnOnce(&mut Function)) {
        let old = Arc::clone(&self.entry.function);
        let mut function = (*old).clone();
        alter(&mut function);
        function.id = old.id;
        function.namespace = old.namespace.clone();
        function.tenant = old.tenant.clone();
        function.name = old.name.clone();
        self.changes.push(Change::Put(Record::Function(function.clone())));
        self.entry.function = Arc::new(function);
    }

    /// Adds a revision. It does not become the latest by itself.
    pub fn add_revision(&mut self, new: NewRevision) -> Arc<Revision> {
        let function = &self.entry.function;
        let revision = Arc::new(Revision {
            id: RevisionId::generate(),
            function: function.id,
            namespace: function.namespace.clone(),
            tenant: function.tenant.clone(),
            name: function.name.clone(),
            label: new.label,
            artifact: new.artifact,
            beside: None,
            spec: new.spec,
            created: self.now,
            document: new.document,
        });
        self.changes.push(Change::Put(Record::Revision((*revision).clone())));
        self.entry.revisions.insert(revision.id, Arc::clone(&revision));
        revision
    }

    /// Gives a revision that this change adds a second tree beside its code; the revision as it is then.
    pub fn set_beside(&mut self, revision: &Arc<Revision>, beside: Option<ArtifactRef>) -> Arc<Revision> {
        if revision.beside == beside {
            return Arc::clone(revision);
        }
        let revision = Arc::new(Revision {
            beside,
            ..(**revision).clone()
        });
        self.changes.push(Change::Put(Record::Revision((*revision).clone())));
        self.entry.revisions.insert(revision.id, Arc::clone(&revision));
        revision
    }

    /// Makes a revision of this function the latest one; does nothing if it is not there.
    pub fn set_latest(&mut self, revision: RevisionId) {
        if self.entry.revisions.contains_key(&revision) && self.entry.function.latest != revision {
            self.function(|function| function.latest = revision);
        }
    }

    /// Replaces the provider's record of a revision; does nothing if it is not there.
    pub fn set_document(&mut self, revision: RevisionId, document: Document) {
        if let Some(old) = self.entry.revisions.get(&revision) {
            let revision = Revision {
                document,
                ..(**old).clone()
            };
            self.changes.push(Change::Put(Record::Revision(revision.clone())));
            self.entry.revisions.insert(revision.id, Arc::new(revision));
        }
    }

    /// Removes a revision, unless it is the latest one or an alias points at it. Says whether it is gone.
    pub fn remove_revision(&mut self, revision: RevisionId) -> bool {
        if self.entry.function.latest == revision || self.aliases_of(revision).next().is_some() {
            return false;
        }
        if let Some(old) = self.entry.revisions.remove(&revision) {
            self.changes.push(Change::RemoveRevision(revision));
            self.removed.push(old);
        }
        true
    }

    /// Aliases that point at a revision.
    pub fn aliases_of(&self, revision: RevisionId) -> impl Iterator<Item = &AliasName> {
        self.entry.aliases.values().filter_map(move |alias| {
            let Route { primary, secondary } = &alias.route;
            let hit = *primary == revision || secondary.is_some_and(|(other, _)| other == revision);
            hit.then_some(&alias.name)
        })
    }

    /// Inserts or replaces an alias. Says whether both ends of the route exist; if not, nothing changed.
    pub fn put_alias(&mut self, name: AliasName, route: Route, document: Document) -> bool {
        let known = |id: &RevisionId| self.entry.revisions.contains_key(id);
        if !known(&route.primary) || !route.secondary.iter().all(|(id, _)| known(id)) {
            return false;
        }
        let alias = Alias {
            function: self.entry.function.id,
            name: name.clone(),
            route,
            document,
        };
        self.changes.push(Change::Put(Record::Alias(alias.clone())));
        self.entry.aliases.insert(name, Arc::new(alias));
        true
    }

    /// Removes an alias. Says whether it was there.
    pub fn remove_alias(&mut self, name: &AliasName) -> bool {
        let found = self.entry.aliases.remove(name).is_some();
        if found {
            self.changes
                .push(Change::RemoveAlias(self.entry.function.id, name.clone()));
        }
        found
    }

    /// Removes the oldest revisions with this label beyond `keep`, the latest one never: history for rollbacks, bounded.
    pub fn prune(&mut self, label: &str, keep: usize) {
        let old: Vec<_> = self
            .entry
            .revisions
            .values()
            .filter(|revision| revision.label == label)
            .map(|revision| revision.id)
            .collect();
        for id in old.iter().take(old.len().saturating_sub(keep)) {
            self.remove_revision(*id);
        }
    }

    pub(crate) fn finish(self) -> (FunctionEntry, Vec<Change>, Vec<Arc<Revision>>) {
        (self.entry, self.changes, self.removed)
    }
}
