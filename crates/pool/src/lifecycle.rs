//! The life of one instance: what is true in each state, and the one function that changes it.
//!
//! ```text
//! starting ──ready──▶ idle ◀──release── busy ──take──▶ busy (where an instance may work on several)
//!    │                │ └──────take──────▲
//!    │              freeze               │
//!    │                ▼                  │
//!    │              frozen ─────take─────┘
//!    └──────────── reclaim from anywhere ────▶ reclaimed
//! ```

use tokio::time::Instant;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its process runs and has not asked for an event yet.
    Starting {
        /// Since when.
        since: Instant,
    },
    /// It waits for an event, its processes running.
    Idle {
        /// Since when.
        since: Instant,
    },
    /// It waits for an event, its processes stopped.
    Frozen {
        /// Since when it has been idle; freezing does not change that.
        idle_since: Instant,
    },
    /// It works on an event, or on several.
    Busy {
        /// Since when there is no moment without one.
        since: Instant,
    },
    /// It serves nobody any more and is being removed.
    Reclaimed {
        /// Why.
        why: End,
    },
}

/// Why an instance's life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It did not become ready.
    InitFailed,
    /// Idle for as long as is worth it.
    KeepAlive,
    /// It has reached the highest age.
    MaxAge,
    /// Its memory was needed for another.
    Evicted,
    /// Its revision is no longer called.
    Retired,
    /// Its process ended.
    Exited,
    /// It did something after which it is not used again.
    Condemned,
    /// The platform is stopping.
    Drained,
}

/// What happens to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// It asked for its first event.
    Ready,
    /// It gets an event; another one, if it works on one already.
    Take,
    /// It works on no event any more.
    Release,
    /// It has been idle long enough to be stopped.
    Freeze,
    /// It must go.
    Reclaim(End),
}

/// What has to be done to make the new state true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Stop its processes.
    Freeze,
    /// Let its processes run.
    Thaw,
    /// End and remove it.
    Destroy,
}

/// The life of an instance has no such step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is impossible for an instance that is {life:?}")]
pub struct IllegalStep {
    /// Where it is.
    pub life: Life,
    /// What was to happen.
    pub input: Input,
}

/// The next state, and what has to be done for it.
///
/// # Errors
/// [`IllegalStep`]; the state then stays.
pub const fn step(life: Life, input: Input, now: Instant) -> Result<(Life, Effect), IllegalStep> {
    match (life, input) {
        (Life::Starting { .. }, Input::Ready) | (Life::Busy { .. }, Input::Release) => {
            Ok((Life::Idle { since: now }, Effect::None))
        }
        (Life::Idle { .. }, Input::Take) => Ok((Life::Busy { since: now }, Effect::None)),
        (Life::Busy { since }, Input::Take) => Ok((Life::Busy { since }, Effect::None)),
        (Life::Frozen { .. }, Input::Take) => Ok((Life::Busy { since: now }, Effect::Thaw)),
        (Life::Idle { since }, Input::Freeze) => Ok((Life::Frozen { idle_since: since }, Effect::Freeze)),
        (Life::Starting { .. } | Life::Idle { .. } | Life::Frozen { .. } | Life::Busy { .. }, Input::Reclaim(why)) => {
            Ok((Life::Reclaimed { why }, Effect::Destroy))
        }
        (
            Life::Starting { .. }
            | Life::Idle { .. }
            | Life::Frozen { .. }
            | Life::Busy { .. }
            | Life::Reclaimed { .. },
            Input::Ready | Input::Take | Input::Release | Input::Freeze | Input::Reclaim(_),
        ) => Err(IllegalStep { life, input }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_step_of_the_table() {
        let then = Instant::now();
        let now = then + Duration::from_secs(1);
        let starting = Life::Starting { since: then };
        let idle = Life::Idle { since: then };
        let frozen = Life::Frozen { idle_since: then };
        let busy = Life::Busy { since: then };
        let gone = Life::Reclaimed { why: End::Evicted };
        let reclaim = Input::Reclaim(End::Retired);
        let to_idle = Some((Life::Idle { since: now }, Effect::None));
        let to_end = Some((Life::Reclaimed { why: End::Retired }, Effect::Destroy));
        let inputs = [Input::Ready, Input::Take, Input::Release, Input::Freeze, reclaim];
        let take = |effect| Some((Life::Busy { since: now }, effect));
        let table = [
            (starting, [to_idle, None, None, None, to_end]),
            (
                idle,
                [None, take(Effect::None), None, Some((frozen, Effect::Freeze)), to_end],
            ),
            (frozen, [None, take(Effect::Thaw), None, None, to_end]),
            (busy, [None, Some((busy, Effect::None)), to_idle, None, to_end]),
            (gone, [None; 5]),
        ];
        for (life, row) in table {
            for (input, expected) in inputs.into_iter().zip(row) {
                let got = step(life, input, now);
                match expected {
                    Some(expected) => assert_eq!(got, Ok(expected), "{life:?} {input:?}"),
                    None => assert_eq!(got, Err(IllegalStep { life, input })),
                }
            }
        }
    }
}
