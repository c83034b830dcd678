//! Backups.

use serde::{Deserialize, Serialize};

/// Where a backup goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// A folder of the platform's machine, by its absolute path; empty, or not there yet.
    pub to: String,
}

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Where it is.
    pub to: String,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The name of the key that its secrets are sealed with, which is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
