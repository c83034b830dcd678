//! Wall time that never jumps: where the wall clock stood at the start, plus what has passed since. Waits of events are
//! as long as they should be whatever is done to the clock meanwhile.

use sonagi_model::Timestamp;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall {
    then: Timestamp,
    since: Instant,
}

impl Wall {
    pub(super) fn starting(then: Timestamp) -> Self {
        let since = Instant::now();
        Self { then, since }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.then.plus(self.since.elapsed())
    }
}
