//! How a mapping is doing at this moment.

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::record::MappingRecord;

/// What the mapping's state says. It is enabled only while the last poll got an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Creating,
    Enabling,
    Enabled,
    Updating,
    Disabling,
    Disabled,
    Deleting,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Updating => "Updating",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Deleting => "Deleting",
        }
    }
}

/// One version of a mapping: replaced when it is changed.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) record: MappingRecord,
    /// Cancelled when it is to end.
    pub(super) stop: CancellationToken,
    /// Cancelled when everything that it began is over.
    pub(super) ended: CancellationToken,
    status: Mutex<Status>,
}

#[derive(Debug)]
struct Status {
    state: State,
    result: String,
    /// When the poller last asked or got an answer.
    beat: Instant,
    /// Whether it waits for its own invocations rather than for the queue.
    busy: bool,
}

impl Live {
    pub(super) fn new(record: MappingRecord, state: State, stop: CancellationToken) -> Self {
        let status = Status {
            state,
            result: "No records processed".to_owned(),
            beat: Instant::now(),
            busy: false,
        };
        Self {
            record,
            stop,
            ended: CancellationToken::new(),
            status: Mutex::new(status),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.status.lock().state
    }

    /// What happened last.
    pub(crate) fn result(&self) -> String {
        self.status.lock().result.clone()
    }

    /// It is to end; what it does is finished first.
    pub(super) fn end(&self, state: State) {
        self.status.lock().state = state;
        self.stop.cancel();
    }

    /// The queue is asked: from now on an answer is waited for.
    pub(super) fn asks(&self) {
        let mut status = self.status.lock();
        (status.beat, status.busy) = (Instant::now(), false);
    }

    /// The queue answered.
    pub(super) fn answered(&self) {
        let mut status = self.status.lock();
        (status.beat, status.busy) = (Instant::now(), false);
        if !self.stop.is_cancelled() {
            status.state = State::Enabled;
        }
    }

    /// All places are taken.
    pub(super) fn is_busy(&self) {
        self.status.lock().busy = true;
    }

    /// Nothing can be polled: says why, until it can.
    pub(super) fn hindered(&self, why: String) {
        let mut status = self.status.lock();
        (status.beat, status.busy) = (Instant::now(), false);
        status.result = why;
        if status.state == State::Enabled {
            status.state = State::Enabling;
        }
    }

    pub(super) fn processed(&self, result: impl Into<String>) {
        self.status.lock().result = result.into();
    }

    /// Since when the poller has got no answer that it waits for.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let status = self.status.lock();
        (!status.busy).then_some(status.beat)
    }

    pub(super) fn is_over(&self) {
        let mut status = self.status.lock();
        if status.state == State::Disabling {
            status.state = State::Disabled;
        }
        self.ended.cancel();
    }
}
