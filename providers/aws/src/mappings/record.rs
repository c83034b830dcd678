//! Event source mappings as they are stored. Fields are added with a default, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sonagi_model::{Document, Timestamp};
use uuid::Uuid;

/// The format written today.
const FORMAT: u8 = 1;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MappingRecord {
    format: u8,
    pub(crate) id: Uuid,
    /// The queue, by its ARN.
    pub(crate) source: String,
    /// The function, by its ARN, with a qualifier if it was named with one.
    pub(crate) function: String,
    pub(crate) enabled: bool,
    /// Most messages of one invocation.
    pub(crate) batch: u32,
    /// Seconds that a batch waits to become full.
    pub(crate) window: u32,
    /// Whether the function's answer names the messages that failed.
    #[serde(default)]
    pub(crate) partial: bool,
    /// Most invocations at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<u32>,
    /// Patterns, as they were given; a message that matches none is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) modified: Timestamp,
}

impl MappingRecord {
    /// An enabled mapping with nothing set.
    pub(crate) fn new(source: String, function: String, modified: Timestamp) -> Self {
        Self {
            format: FORMAT,
            id: Uuid::new_v4(),
            source,
            function,
            enabled: true,
            batch: 10,
            window: 0,
            partial: false,
            concurrency: None,
            filters: Vec::new(),
            tags: BTreeMap::new(),
            modified,
        }
    }

    pub(super) fn document(&self) -> Document {
        Document(serde_json::to_value(self).expect("records have text keys and no failing serializer"))
    }

    /// `None`: written by a newer platform, or damaged.
    pub(super) fn of(document: &Document) -> Option<Self> {
        let record = Self::deserialize(&document.0).ok();
        record.filter(|record| record.format <= FORMAT)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As format 1 wrote it first: readable for ever.
    #[test]
    fn records_of_yesterday_are_read() {
        let stored = Document(
            json!({"format": 1, "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "source": "s",
            "function": "f", "enabled": true, "batch": 10, "window": 0, "modified": 5}),
        );
        let record = MappingRecord::of(&stored).unwrap();
        assert_eq!(MappingRecord::of(&record.document()), Some(record));
        assert_eq!(MappingRecord::of(&Document(json!({"format": 2}))), None);
    }
}
