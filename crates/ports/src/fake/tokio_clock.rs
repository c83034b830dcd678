//! A wall clock that moves with tokio's, paused or not.

use sonagi_model::Timestamp;
use tokio::time::Instant;

use super::sample;
use crate::Clock;

/// Wall time that started at the moment of the samples when this was made, and passes as tokio's time does.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// A clock that stands at [`sample::NOW`] now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        sample::NOW.plus(self.0.elapsed())
    }
}
