//! A set of typed records by namespace and name: read in memory, durable before visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sonagi_control::Documents;
use sonagi_model::Document;
use sonagi_ports::{MetadataStore, Record, StoreError};

type Rows<T> = BTreeMap<(String, String), Arc<T>>;

/// See the module. Writers of one namespace come one after the other; that is its callers' business.
#[derive(Debug)]
pub(crate) struct Table<T> {
    documents: Documents,
    rows: ArcSwap<Rows<T>>,
}

/// No name has this character, so that keys can be taken apart again.
const SEPARATOR: char = '/';

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The records of this set.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for one that this program cannot read.
    pub(crate) fn load(
        records: &[Record],
        collection: &'static str,
        store: Arc<dyn MetadataStore>,
    ) -> Result<Self, StoreError> {
        let documents = Documents::load(records, collection, store);
        let mut rows = Rows::new();
        for (key, document) in documents.all().iter() {
            let row = serde_json::from_value(document.0.clone()).map_err(|error| StoreError::Unreadable {
                what: format!("{collection} {key}"),
                why: error.to_string(),
            })?;
            let (namespace, name) = key.split_once(SEPARATOR).unwrap_or((key, ""));
            rows.insert((namespace.to_owned(), name.to_owned()), Arc::new(row));
        }
        Ok(Self {
            documents,
            rows: ArcSwap::from_pointee(rows),
        })
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.rows.load().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All of a namespace, by name.
    pub(crate) fn of(&self, namespace: &str) -> Vec<Arc<T>> {
        let rows = self.rows.load();
        let from = (namespace.to_owned(), String::new());
        let own = rows.range(from..).take_while(|((space, _), _)| space == namespace);
        own.map(|(_, row)| Arc::clone(row)).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.rows.load().values().cloned().collect()
    }

    /// Inserts or replaces.
    pub(crate) async fn put(&self, namespace: &str, name: &str, row: T) -> Result<Arc<T>, StoreError> {
        let value = serde_json::to_value(&row).map_err(|error| StoreError::Unreadable {
            what: format!("record of {namespace}/{name}"),
            why: error.to_string(),
        })?;
        self.documents
            .put(&format!("{namespace}{SEPARATOR}{name}"), Document(value))
            .await?;
        let row = Arc::new(row);
        let key = (namespace.to_owned(), name.to_owned());
        self.rows.rcu(|rows| {
            let mut rows = Rows::clone(rows);
            rows.insert(key.clone(), Arc::clone(&row));
            rows
        });
        Ok(row)
    }

    /// Removes. Says whether it was there.
    pub(crate) async fn remove(&self, namespace: &str, name: &str) -> Result<bool, StoreError> {
        let found = self.documents.remove(&format!("{namespace}{SEPARATOR}{name}")).await?;
        let key = (namespace.to_owned(), name.to_owned());
        self.rows.rcu(|rows| {
            let mut rows = Rows::clone(rows);
            rows.remove(&key);
            rows
        });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::FakeMetadataStore;

    use super::*;

    #[tokio::test]
    async fn rows_are_kept_and_namespaces_apart() {
        let store = Arc::new(FakeMetadataStore::new());
        let load = async || {
            let records = store.load().await.unwrap();
            Table::<u32>::load(&records, "test.numbers", Arc::clone(&store) as _).unwrap()
        };
        let table = load().await;
        for (namespace, name, value) in [("a", "x y", 1), ("a", "z", 2), ("a.b", "x", 3), ("b", "x", 4)] {
            table.put(namespace, name, value).await.unwrap();
        }
        let again = load().await;
        assert_eq!(again.of("a"), [Arc::new(1), Arc::new(2)]);
        assert_eq!(again.get("a.b", "x"), Some(Arc::new(3)));
        assert!(again.remove("a", "z").await.unwrap());
        assert_eq!((again.of("a").len(), load().await.all().len()), (1, 3));
    }
}
