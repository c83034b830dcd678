//! Records in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{Alias, AliasName, Document, Function, FunctionId, FunctionName, Namespace, Revision, RevisionId};

use super::Faults;
use crate::{Change, MetadataStore, Record, StoreError};

/// A [`MetadataStore`] that forgets everything with the process.
#[derive(Debug, Default)]
pub struct FakeMetadataStore {
    records: Mutex<Records>,
    faults: Faults,
}

#[derive(Debug, Default, Clone)]
struct Records {
    functions: BTreeMap<FunctionId, Function>,
    revisions: BTreeMap<RevisionId, Revision>,
    aliases: BTreeMap<(FunctionId, AliasName), Alias>,
    documents: BTreeMap<(String, String), Document>,
}

/// Two functions of one namespace cannot have one name.
#[derive(Debug, thiserror::Error)]
#[error("function {name} exists already in {namespace}")]
struct NameTaken {
    namespace: Namespace,
    name: FunctionName,
}

impl FakeMetadataStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it is told to run into.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Records {
    fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Put(record) => return self.put(record),
            Change::RemoveFunction(id) => {
                self.functions.remove(&id);
                self.revisions.retain(|_, revision| revision.function != id);
                self.aliases.retain(|(function, _), _| *function != id);
            }
            Change::RemoveRevision(id) => drop(self.revisions.remove(&id)),
            Change::RemoveAlias(function, name) => drop(self.aliases.remove(&(function, name))),
            Change::RemoveDocument { collection, key } => drop(self.documents.remove(&(collection, key))),
        }
        Ok(())
    }

    fn put(&mut self, record: Record) -> Result<(), StoreError> {
        match record {
            Record::Function(function) => {
                let taken = self.functions.values().any(|other| {
                    other.id != function.id && other.namespace == function.namespace && other.name == function.name
                });
                if taken {
                    let (namespace, name) = (function.namespace, function.name);
                    let source = Box::new(NameTaken { namespace, name });
                    return Err(StoreError::Database {
                        action: "commit records",
                        source,
                    });
                }
                self.functions.insert(function.id, function);
            }
            Record::Revision(revision) => drop(self.revisions.insert(revision.id, revision)),
            Record::Alias(alias) => drop(self.aliases.insert((alias.function, alias.name.clone()), alias)),
            Record::Document { collection, key, value } => drop(self.documents.insert((collection, key), value)),
        }
        Ok(())
    }
}

#[async_trait]
impl MetadataStore for FakeMetadataStore {
    async fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.faults.check("load records")?;
        let records = self.records.lock().clone();
        let documents = records.documents.into_iter();
        Ok((records.functions.into_values().map(Record::Function))
            .chain(records.revisions.into_values().map(Record::Revision))
            .chain(records.aliases.into_values().map(Record::Alias))
            .chain(documents.map(|((collection, key), value)| Record::Document { collection, key, value }))
            .collect())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.faults.check("commit records")?;
        let mut records = self.records.lock();
        let mut next = records.clone();
        for change in changes {
            next.apply(change)?;
        }
        *records = next;
        Ok(())
    }
}
