//! Where those wait who want messages of one queue.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sonagi_model::Timestamp;
use tokio::sync::Notify;

/// One queue's door.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Counts what may have made a message available.
    version: AtomicU64,
    changed: Notify,
    quiet: Mutex<Option<Quiet>>,
}

/// The queue had nothing to hand out, and nothing has happened since.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    version: u64,
    /// When a message becomes visible; `None`: none will.
    until: Option<Timestamp>,
}

/// Whether asking is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// There may be something.
    Ask,
    /// Nothing before this moment; never by itself, if there is none.
    Wait(Option<Timestamp>),
}

impl Door {
    /// Something may be available now.
    pub(crate) fn wake(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// To be made before [`Self::version`] is read, so that nothing is missed in between.
    pub(crate) fn waiter(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The queue had nothing when it was asked after this version was read.
    pub(crate) fn found_nothing(&self, version: u64, until: Option<Timestamp>) {
        *self.quiet.lock() = Some(Quiet { version, until });
    }

    pub(crate) fn look(&self, version: u64, now: Timestamp) -> Look {
        match *self.quiet.lock() {
            Some(quiet) if quiet.version == version && quiet.until.is_none_or(|until| until > now) => {
                Look::Wait(quiet.until)
            }
            Some(_) | None => Look::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_queue_is_asked_when_something_happened_or_is_due() {
        let (door, at) = (Door::default(), Timestamp::from_millis);
        assert_eq!(door.look(door.version(), at(0)), Look::Ask);
        let version = door.version();
        door.found_nothing(version, Some(at(5)));
        assert_eq!(door.look(version, at(4)), Look::Wait(Some(at(5))));
        assert_eq!(door.look(version, at(5)), Look::Ask);
        door.wake();
        assert_eq!(door.look(door.version(), at(4)), Look::Ask);
        // Found by somebody who asked before that.
        door.found_nothing(version, None);
        assert_eq!(door.look(door.version(), at(4)), Look::Ask);
        door.found_nothing(door.version(), None);
        assert_eq!(door.look(door.version(), at(1_000_000)), Look::Wait(None));
    }
}
