//! A set of typed records by key: read in memory, durable before visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sonagi_model::Document;
use sonagi_ports::{Change, MetadataStore, Record, StoreError};
use tokio::sync::Mutex;

/// See the module. A change copies the list of records, not the records.
#[derive(Debug)]
pub struct Table<T> {
    store: Arc<dyn MetadataStore>,
    collection: &'static str,
    rows: ArcSwap<BTreeMap<String, Arc<T>>>,
    turn: Mutex<()>,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The records of this set among those of the store.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for one that this program cannot read.
    pub fn load(
        records: &[Record],
        collection: &'static str,
        store: Arc<dyn MetadataStore>,
    ) -> Result<Self, StoreError> {
        let mut rows = BTreeMap::new();
        for record in records {
            let Record::Document {
                collection: found,
                key,
                value,
            } = record
            else {
                continue;
            };
            if found == collection {
                let row = T::deserialize(&value.0).map_err(|error| StoreError::Unreadable {
                    what: format!("{collection} {key:?}"),
                    why: error.to_string(),
                })?;
                rows.insert(key.clone(), Arc::new(row));
            }
        }
        Ok(Self {
            store,
            collection,
            rows: ArcSwap::from_pointee(rows),
            turn: Mutex::new(()),
        })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.rows.load().get(key).cloned()
    }

    /// All of them, by key.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<T>>> {
        self.rows.load_full()
    }

    /// Those whose keys begin so, by key.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Vec<(String, Arc<T>)> {
        let rows = self.rows.load();
        let from = rows.range(prefix.to_owned()..);
        let own = from.take_while(|(key, _)| key.starts_with(prefix));
        own.map(|(key, row)| (key.clone(), Arc::clone(row))).collect()
    }

    /// Inserts or replaces one.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing changed.
    pub async fn put(&self, key: &str, row: T) -> Result<Arc<T>, StoreError> {
        let value = serde_json::to_value(&row).map_err(|error| StoreError::Unreadable {
            what: format!("{} {key:?}", self.collection),
            why: error.to_string(),
        })?;
        let _turn = self.turn.lock().await;
        let record = Record::Document {
            collection: self.collection.to_owned(),
            key: key.to_owned(),
            value: Document(value),
        };
        self.store.commit(vec![Change::Put(record)]).await?;
        let row = Arc::new(row);
        let mut rows = BTreeMap::clone(&self.rows.load());
        rows.insert(key.to_owned(), Arc::clone(&row));
        self.rows.store(Arc::new(rows));
        Ok(row)
    }

    /// Removes some, all or none. Says how many were there.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing changed.
    pub async fn remove(&self, keys: &[String]) -> Result<usize, StoreError> {
        let _turn = self.turn.lock().await;
        let mut rows = BTreeMap::clone(&self.rows.load());
        let there: Vec<&String> = keys.iter().filter(|key| rows.remove(*key).is_some()).collect();
        if there.is_empty() {
            return Ok(0);
        }
        let changes = there.iter().map(|key| Change::RemoveDocument {
            collection: self.collection.to_owned(),
            key: (*key).clone(),
        });
        self.store.commit(changes.collect()).await?;
        self.rows.store(Arc::new(rows));
        Ok(there.len())
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::FakeMetadataStore;

    use super::*;

    #[tokio::test]
    async fn rows_are_kept_and_found_by_prefix() {
        let store = Arc::new(FakeMetadataStore::new());
        let load = async || {
            let records = store.load().await.unwrap();
            Table::<u32>::load(&records, "test.numbers", Arc::clone(&store) as _).unwrap()
        };
        let table = load().await;
        for (key, value) in [("a/x", 1), ("a/y", 2), ("ab", 3), ("b", 4)] {
            table.put(key, value).await.unwrap();
        }
        let again = load().await;
        let found: Vec<_> = again
            .with_prefix("a/")
            .into_iter()
            .map(|(key, row)| (key, *row))
            .collect();
        assert_eq!(found, [("a/x".to_owned(), 1), ("a/y".to_owned(), 2)]);
        let gone = ["a/x".to_owned(), "none".to_owned()];
        assert_eq!(
            (again.remove(&gone).await.unwrap(), again.remove(&gone).await.unwrap()),
            (1, 0)
        );
        assert_eq!((again.get("a/x"), load().await.all().len()), (None, 3));
    }
}
