//! Log lines in memory.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use sonagi_model::{FunctionId, InvocationId, Timestamp};
use tokio::sync::broadcast;

use super::Faults;
use crate::{LogLine, LogSink, StoreError};

/// Lines a follower may be behind before it loses the oldest.
const FOLLOW_LINES: usize = 512;

/// A [`LogSink`] that keeps every line until it is told to forget.
#[derive(Debug, Default)]
pub struct FakeLogSink {
    lines: Mutex<HashMap<FunctionId, Vec<LogLine>>>,
    followers: Mutex<HashMap<FunctionId, broadcast::Sender<Arc<LogLine>>>>,
    faults: Faults,
}

impl FakeLogSink {
    /// An empty sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What reading is told to run into.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Every line of a function, oldest first.
    #[must_use]
    pub fn all(&self, function: FunctionId) -> Vec<LogLine> {
        self.lines.lock().get(&function).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl LogSink for FakeLogSink {
    fn write(&self, lines: Vec<LogLine>) {
        let mut kept = self.lines.lock();
        let followers = self.followers.lock();
        for line in lines {
            if let Some(follower) = followers.get(&line.function) {
                // Nobody listening any more is no failure.
                let _ = follower.send(Arc::new(line.clone()));
            }
            kept.entry(line.function).or_default().push(line);
        }
    }

    async fn read(
        &self,
        function: FunctionId,
        invocation: Option<InvocationId>,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        self.faults.check("read logs")?;
        let mut lines = self.all(function);
        lines.retain(|line| {
            (invocation.is_none() || line.invocation == invocation) && since.is_none_or(|since| line.time >= since)
        });
        let surplus = lines.len().saturating_sub(limit);
        lines.drain(..surplus);
        Ok(lines)
    }

    fn follow(&self, function: FunctionId) -> broadcast::Receiver<Arc<LogLine>> {
        let mut followers = self.followers.lock();
        followers.retain(|_, sender| sender.receiver_count() > 0);
        followers
            .entry(function)
            .or_insert_with(|| broadcast::channel(FOLLOW_LINES).0)
            .subscribe()
    }

    async fn remove(&self, function: FunctionId) {
        self.lines.lock().remove(&function);
    }
}
