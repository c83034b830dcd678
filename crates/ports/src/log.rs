//! Output of functions and the platform's words about them.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sonagi_model::{FunctionId, InstanceId, InvocationId, Timestamp};
use tokio::sync::broadcast;

use crate::StoreError;

/// Who wrote a line. A function cannot write a line of the platform, whatever it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The function's standard output or error.
    Function,
    /// The platform.
    Platform,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read.
    pub time: Timestamp,
    /// Of which function.
    pub function: FunctionId,
    /// Label of the revision.
    pub label: String,
    /// From which instance.
    pub instance: InstanceId,
    /// During which invocation; `None`: during initialization or between two.
    pub invocation: Option<InvocationId>,
    /// By whom.
    pub source: LogSource,
    /// The text, without its line end. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// The line was longer than the limit, or lines were left out here.
    pub truncated: bool,
}

/// Where lines go. Never blocks a function or an answer: when writing cannot keep up, lines are dropped and a marked
/// line says how many.
#[async_trait]
pub trait LogSink: Send + Sync + std::fmt::Debug {
    /// Takes lines of one instance, in order.
    fn write(&self, lines: Vec<LogLine>);

    /// The last `limit` lines of a function at or after `since`, oldest first; of one invocation if given.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read(
        &self,
        function: FunctionId,
        invocation: Option<InvocationId>,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<LogLine>, StoreError>;

    /// Lines of a function from now on. A reader that falls behind loses the oldest and is told how many.
    fn follow(&self, function: FunctionId) -> broadcast::Receiver<Arc<LogLine>>;

    /// Forgets a function's lines.
    async fn remove(&self, function: FunctionId);
}
