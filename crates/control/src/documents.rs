//! Sets of documents that belong to no function: accounts, settings. In memory for readers, durable before visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sonagi_model::Document;
use sonagi_ports::{Change, MetadataStore, Record, StoreError};
use tokio::sync::Mutex;

/// One set of documents.
#[derive(Debug)]
pub struct Documents {
    store: Arc<dyn MetadataStore>,
    collection: &'static str,
    current: ArcSwap<BTreeMap<String, Document>>,
    turn: Mutex<()>,
}

impl Documents {
    /// The documents of this set among the records of the store.
    #[must_use]
    pub fn load(records: &[Record], collection: &'static str, store: Arc<dyn MetadataStore>) -> Self {
        let current = records.iter().filter_map(|record| match record {
            Record::Document {
                collection: found,
                key,
                value,
            } if found == collection => Some((key.clone(), value.clone())),
            Record::Document { .. } | Record::Function(_) | Record::Revision(_) | Record::Alias(_) => None,
        });
        let current = ArcSwap::from_pointee(current.collect());
        Self {
            store,
            collection,
            current,
            turn: Mutex::new(()),
        }
    }

    /// All of them, by key.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Document>> {
        self.current.load_full()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Document> {
        self.current.load().get(key).cloned()
    }

    /// Inserts or replaces one.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing changed.
    pub async fn put(&self, key: &str, value: Document) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let record = Record::Document {
            collection: self.collection.to_owned(),
            key: key.to_owned(),
            value: value.clone(),
        };
        self.store.commit(vec![Change::Put(record)]).await?;
        let mut next = (**self.current.load()).clone();
        next.insert(key.to_owned(), value);
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// Removes one. Says whether it was there.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing changed.
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        if !self.current.load().contains_key(key) {
            return Ok(false);
        }
        let change = Change::RemoveDocument {
            collection: self.collection.to_owned(),
            key: key.to_owned(),
        };
        self.store.commit(vec![change]).await?;
        let mut next = (**self.current.load()).clone();
        next.remove(key);
        self.current.store(Arc::new(next));
        Ok(true)
    }
}
