//! Who watches a function's lines as they come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use sonagi_model::FunctionId;
use sonagi_ports::LogLine;
use tokio::sync::broadcast;

/// Lines a follower may be behind before it loses the oldest.
const LINES: usize = 512;

/// A channel per function that somebody watches; none otherwise.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// How many there are: lines of functions that nobody watches cost one look at this.
    count: AtomicUsize,
    channels: Mutex<HashMap<FunctionId, broadcast::Sender<Arc<LogLine>>>>,
}

impl Followers {
    pub(super) fn follow(&self, function: FunctionId) -> broadcast::Receiver<Arc<LogLine>> {
        let mut channels = self.channels.lock();
        channels.retain(|_, channel| channel.receiver_count() > 0);
        let receiver = channels
            .entry(function)
            .or_insert_with(|| broadcast::channel(LINES).0)
            .subscribe();
        self.count.store(channels.len(), Ordering::Release);
        receiver
    }

    pub(super) fn publish(&self, line: &LogLine) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut channels = self.channels.lock();
        let Some(channel) = channels.get(&line.function) else {
            return;
        };
        if channel.send(Arc::new(line.clone())).is_err() {
            // Nobody listens any more.
            channels.remove(&line.function);
            self.count.store(channels.len(), Ordering::Release);
        }
    }
}
