//! Points at which a debug build can be made to end at once, for the tests of what a restart finds. Nothing of it is in a
//! release build.
//!
//! With `SONAGI_CRASH=POINT` in its environment a process ends without any clean-up when it reaches that point, with
//! `SONAGI_CRASH=POINT:3` when it reaches it for the third time. A point lies between two durable effects; every new
//! step between such effects gets one, and a name in [`POINTS`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Actions of the store's writer, each of which has the three points `begun` (before its first change), `applied` (before
/// the commit) and `flushed` (on disk, before anybody is told).
pub const ACTIONS: &[&str] = &[
    "accept an event",
    "lease events",
    "postpone an event",
    "settle an event",
    "cancel an event",
    "repeat an event",
    "drop a dead letter",
    "commit records",
    "take over run records",
];

/// All other points.
pub const POINTS: &[&str] = &[
    // A schema step has been taken but not committed, and committed.
    "schema/taken",
    "schema/committed",
    // The content of a large event is on disk, its row is not; its row is gone, its file is not.
    "body/written",
    "body/unnamed",
    // An archive is in its place, its folder is not flushed; its tree is unpacked, its manifest is not written; all is.
    "artifact/archived",
    "artifact/unpacked",
    "artifact/recorded",
    // A record is in its ring; records are in the database, the ring still has them.
    "ledger/appended",
    "ledger/taken-over",
    // An event is durable, nobody knows; its first attempt is admitted; it is leased; its attempt begins; the function has
    // answered; what becomes of it is about to be written; it is written, the machine does not know.
    "event/accepted",
    "event/admitted",
    "event/leased",
    "event/begins",
    "event/answered",
    "event/keeping",
    "event/postponed",
    "event/settled",
    // A tick is accepted, how far its schedule is settled is not stored; it is.
    "tick/handed",
    "tick/kept",
    // A start has read what an earlier process left; has metered the first of it.
    "event/orphans-read",
    "event/orphan-metered",
    // The platform is assembled, the endpoint is not written.
    "platform/assembled",
];

/// Stages of an action.
pub const STAGES: &[&str] = &["begun", "applied", "flushed"];

/// Every point by its name.
#[must_use]
pub fn all() -> Vec<String> {
    let actions = ACTIONS
        .iter()
        .flat_map(|action| STAGES.iter().map(move |stage| format!("{action}/{stage}")));
    actions.chain(POINTS.iter().map(|point| (*point).to_owned())).collect()
}

struct Wanted {
    point: String,
    left: AtomicU32,
}

fn wanted() -> Option<&'static Wanted> {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    let read = || {
        let text = std::env::var("SONAGI_CRASH").ok()?;
        let (point, hit) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Wanted {
            point: point.to_owned(),
            left: AtomicU32::new(hit.parse().unwrap_or(1)),
        })
    };
    WANTED.get_or_init(read).as_ref()
}

/// Ends the process if this is the point and the time. Called through [`crash_point!`].
pub fn reach(point: &str) {
    let Some(wanted) = wanted() else { return };
    if wanted.point == point && wanted.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        eprintln!("ends at {point}");
        std::process::abort();
    }
}

/// The same for a stage of an action.
pub fn reach_stage(action: &str, stage: &str) {
    let is_it = |wanted: &Wanted| {
        let rest = wanted.point.strip_prefix(action);
        rest.and_then(|rest| rest.strip_prefix('/')) == Some(stage)
    };
    if let Some(wanted) = wanted()
        && is_it(wanted)
    {
        reach(&wanted.point);
    }
}

/// A point at which a debug build can be made to end: a name of [`POINTS`], or an action and a stage of it.
#[macro_export]
macro_rules! crash_point {
    ($point:literal) => {
        if cfg!(debug_assertions) {
            $crate::reach($point);
        }
    };
    ($action:expr, $stage:literal) => {
        if cfg!(debug_assertions) {
            $crate::reach_stage($action, $stage);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_have_names_of_their_own() {
        let all = all();
        assert!(all.len() >= 40, "{}", all.len());
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert!(all.iter().all(|point| !point.contains(':')));
    }
}
