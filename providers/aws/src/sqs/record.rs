//! What SQS knows of a queue beyond the store's settings, kept beside them. Stored: fields are added with a default,
//! never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sonagi_model::{Document, Timestamp};
use sonagi_ports::Queue;

use super::errors::{Kind, SqsError};

/// The format written today.
const FORMAT: u8 = 1;

/// Beside a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    pub(super) format: u8,
    /// Seconds for which a received message is hidden.
    pub(crate) visibility: u32,
    /// Seconds after which a message sent is visible.
    pub(crate) delay: u32,
    /// Largest message, bytes.
    pub(crate) largest: u32,
    /// Seconds that a request for messages waits.
    pub(crate) wait: u32,
    /// Whether messages without a token have one made of their content.
    #[serde(default)]
    pub(crate) content_tokens: bool,
    /// Whether tokens are those of a group; else of the queue.
    #[serde(default)]
    pub(crate) tokens_of_group: bool,
    /// `perMessageGroupId`; stored and shown.
    #[serde(default)]
    pub(crate) throughput_of_group: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redrive: Option<RedrivePolicy>,
    /// Stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redrive_allow: Option<String>,
    /// Stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Stored and shown: contents are as safe as the platform's disk.
    #[serde(default)]
    pub(crate) managed_encryption: bool,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key: Option<String>,
    /// Likewise.
    #[serde(default = "kms_reuse")]
    pub(crate) kms_reuse: u32,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) modified: Timestamp,
}

const fn kms_reuse() -> u32 {
    300
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedrivePolicy {
    #[serde(rename = "deadLetterTargetArn")]
    pub(crate) target: String,
    #[serde(rename = "maxReceiveCount")]
    pub(crate) after: u32,
}

impl QueueRecord {
    pub(crate) fn new(modified: Timestamp) -> Self {
        Self {
            format: FORMAT,
            visibility: 30,
            delay: 0,
            largest: 1_048_576,
            wait: 0,
            content_tokens: false,
            tokens_of_group: false,
            throughput_of_group: false,
            redrive: None,
            redrive_allow: None,
            policy: None,
            managed_encryption: false,
            kms_key: None,
            kms_reuse: kms_reuse(),
            tags: BTreeMap::new(),
            modified,
        }
    }

    /// The record beside a queue.
    pub(crate) fn of(queue: &Queue) -> Result<Self, SqsError> {
        let record = Self::deserialize(&queue.document.0);
        match record {
            Ok(record) if record.format <= FORMAT => Ok(record),
            Ok(_) | Err(_) => {
                tracing::error!(queue = %queue.id, "the record of a queue cannot be read");
                Err(SqsError::new(
                    Kind::Internal,
                    "The queue's stored record cannot be read.",
                ))
            }
        }
    }

    pub(crate) fn document(&self) -> Document {
        Document(serde_json::to_value(self).expect("records have text keys and no failing serializer"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As format 1 wrote it first: readable for ever.
    #[test]
    fn records_of_yesterday_are_read() {
        let stored = json!({"format": 1, "visibility": 30, "delay": 0, "largest": 1024, "wait": 0, "modified": 5,
            "redrive": {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d", "maxReceiveCount": 3}});
        let record = QueueRecord::deserialize(&stored).unwrap();
        assert_eq!(record.redrive.as_ref().unwrap().after, 3);
        assert_eq!(QueueRecord::deserialize(&record.document().0).unwrap(), record);
    }
}
