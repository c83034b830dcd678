//! Typed records by scope and id: an account's apps, an app's triggers.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sonagi_control::Table;
use sonagi_ports::{MetadataStore, Record, StoreError};

/// No scope has this character, so that keys can be taken apart again.
const SEPARATOR: char = '/';

/// See the module.
#[derive(Debug)]
pub(crate) struct Scoped<T>(Table<T>);

fn key(scope: &str, id: &str) -> String {
    format!("{scope}{SEPARATOR}{id}")
}

impl<T: Serialize + DeserializeOwned> Scoped<T> {
    /// The records of this set.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for one that this program cannot read.
    pub(crate) fn load(
        records: &[Record],
        collection: &'static str,
        store: Arc<dyn MetadataStore>,
    ) -> Result<Self, StoreError> {
        Table::load(records, collection, store).map(Self)
    }

    pub(crate) fn get(&self, scope: &str, id: &str) -> Option<Arc<T>> {
        self.0.get(&key(scope, id))
    }

    /// All of a scope, by id.
    pub(crate) fn of(&self, scope: &str) -> Vec<Arc<T>> {
        let own = self.0.with_prefix(&key(scope, ""));
        own.into_iter().map(|(_, row)| row).collect()
    }

    /// All of them with their scopes and ids.
    pub(crate) fn entries(&self) -> Vec<((String, String), Arc<T>)> {
        let all = self.0.all();
        let apart = |key: &str| {
            let (scope, id) = key.split_once(SEPARATOR).unwrap_or((key, ""));
            (scope.to_owned(), id.to_owned())
        };
        all.iter().map(|(key, row)| (apart(key), Arc::clone(row))).collect()
    }

    /// Inserts or replaces one.
    pub(crate) async fn put(&self, scope: &str, id: &str, row: T) -> Result<Arc<T>, StoreError> {
        self.0.put(&key(scope, id), row).await
    }

    /// Removes one. Says whether it was there.
    pub(crate) async fn remove(&self, scope: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.0.remove(&[key(scope, id)]).await? > 0)
    }
}
