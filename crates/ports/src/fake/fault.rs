//! Failures that a test asks a fake for.

use parking_lot::Mutex;

use crate::StoreError;

/// A failure of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`StoreError::Full`].
    Full,
    /// [`StoreError::Closed`].
    Closed,
    /// [`StoreError::Busy`].
    Busy,
}

/// What the next requests to a fake run into.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// How many requests still fail; `None`: all of them until [`Faults::heal`].
    left: Option<u32>,
}

impl Faults {
    /// Every request fails from now on.
    pub fn set(&self, fault: Fault) {
        *self.state.lock() = State {
            fault: Some(fault),
            left: None,
        };
    }

    /// The next `count` requests fail.
    pub fn next(&self, count: u32, fault: Fault) {
        *self.state.lock() = State {
            fault: Some(fault),
            left: Some(count),
        };
    }

    /// No request fails any more.
    pub fn heal(&self) {
        *self.state.lock() = State::default();
    }

    /// What the request that does `action` runs into.
    ///
    /// # Errors
    /// The failure asked for.
    pub fn check(&self, action: &'static str) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let Some(fault) = state.fault else { return Ok(()) };
        if let Some(left) = &mut state.left {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
        }
        Err(match fault {
            Fault::Full => StoreError::Full(action),
            Fault::Closed => StoreError::Closed,
            Fault::Busy => StoreError::Busy { what: action, limit: 0 },
        })
    }
}
