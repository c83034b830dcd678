//! Which bodies are being read: their files stay until that is over.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::Segment;

#[derive(Debug, Default, Clone)]
pub(crate) struct Pins {
    counts: Arc<Mutex<HashMap<String, u32>>>,
}

/// Keeps bodies until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    names: Vec<String>,
}

impl Pins {
    pub(crate) fn pin(&self, segments: &[Segment]) -> Pin {
        let names: Vec<String> = segments.iter().map(|segment| segment.body.clone()).collect();
        let mut counts = self.counts.lock();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        drop(counts);
        Pin {
            pins: self.clone(),
            names,
        }
    }

    /// Does it unless somebody reads the body, and lets nobody begin meanwhile; says whether it was done.
    pub(crate) fn unless_pinned(&self, name: &str, work: impl FnOnce() -> bool) -> bool {
        let counts = self.counts.lock();
        !counts.contains_key(name) && work()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.counts.lock();
        for name in &self.names {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}
