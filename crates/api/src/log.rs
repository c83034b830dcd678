//! Lines of output.

use serde::{Deserialize, Serialize};

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The function.
    Function,
    /// The platform.
    Platform,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read, RFC 3339.
    pub time: String,
    /// Label of the revision that wrote it.
    pub version: String,
    /// The instance.
    pub instance: String,
    /// During which invocation, if any.
    pub invocation: Option<String>,
    /// By whom.
    pub source: LogSource,
    /// The text, without its line end.
    pub text: String,
    /// The line was cut, or lines were left out here.
    pub truncated: bool,
}
