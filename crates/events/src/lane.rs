//! One lane: the next few of its events, and how many of them may run.

use std::collections::VecDeque;
use std::time::Duration;

use sonagi_model::Timestamp;
use sonagi_ports::EventHead;

/// The first pause of a lane none of whose events may run; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct LaneState {
    /// Read and due, in order.
    pub window: VecDeque<EventHead>,
    /// When the first event that is neither in the window nor worked on is due. Never too late; too early costs a read.
    pub next: Option<Timestamp>,
    /// A read is under way; what is stored meanwhile may be missing from its answer.
    pub reading: bool,
    /// The earliest due moment reported since that read began.
    pub since_read: Option<Timestamp>,
    /// Whether it is in the ring of lanes that take turns.
    pub ringed: bool,
    /// Events worked on.
    pub running: usize,
    /// As many may be worked on as last fitted within the limits of whoever runs them.
    cap: usize,
    /// Successes since the cap last grew.
    successes: usize,
    paused_until: Option<Timestamp>,
    pauses: u32,
}

impl Default for LaneState {
    fn default() -> Self {
        Self {
            window: VecDeque::new(),
            next: None,
            reading: false,
            since_read: None,
            ringed: false,
            running: 0,
            cap: usize::MAX,
            successes: 0,
            paused_until: None,
            pauses: 0,
        }
    }
}

impl LaneState {
    /// An event that is not in the window becomes due then.
    pub(crate) fn expect(&mut self, due: Timestamp) {
        let earliest = |known: Option<Timestamp>| Some(known.map_or(due, |known| known.min(due)));
        self.next = earliest(self.next);
        if self.reading {
            self.since_read = earliest(self.since_read);
        }
    }

    /// Whether nothing of it is left to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.next.is_none() && !self.reading && self.running == 0
    }

    /// Whether it has something that may begin or be read now.
    pub(crate) fn has_work(&self, now: Timestamp) -> bool {
        !self.window.is_empty() || (!self.reading && self.next.is_some_and(|next| next <= now))
    }

    /// Until when nothing of it may begin.
    pub(crate) fn pause(&self, now: Timestamp) -> Option<Timestamp> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Whether one more may be worked on by the limits it has met.
    pub(crate) const fn has_room(&self) -> bool {
        self.running < self.cap
    }

    /// One of its events ran into a limit: no more at once than those that run now. When none runs, a pause.
    pub(crate) fn throttled(&mut self, now: Timestamp) {
        self.cap = self.running.max(1);
        self.successes = 0;
        if self.running == 0 {
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.pauses));
            self.paused_until = Some(now.plus(pause.min(LONGEST_PAUSE)));
            self.pauses = self.pauses.saturating_add(1);
        }
    }

    /// One of its events has run: the limit may have been raised. One more is tried for each round of successes.
    pub(crate) fn ran(&mut self) {
        (self.paused_until, self.pauses) = (None, 0);
        if self.cap < usize::MAX {
            self.successes += 1;
            if self.successes >= self.cap {
                (self.cap, self.successes) = (self.cap + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample::NOW;

    use super::*;

    #[test]
    fn the_cap_follows_the_limits_that_are_met() {
        let mut lane = LaneState {
            running: 3,
            ..LaneState::default()
        };
        assert!(lane.has_room());
        lane.throttled(NOW);
        assert!(!lane.has_room() && lane.pause(NOW).is_none());
        for _ in 0..3 {
            assert!(!lane.has_room());
            lane.ran();
        }
        assert!(lane.has_room(), "one more after as many successes as fit");
        lane.running = 0;
        for millis in [100, 200, 400] {
            lane.throttled(NOW);
            assert_eq!(lane.pause(NOW), Some(NOW.plus(Duration::from_millis(millis))));
        }
        assert_eq!(lane.pause(NOW.plus(Duration::from_millis(400))), None);
        lane.ran();
        assert_eq!(lane.pause(NOW), None);
    }
}
