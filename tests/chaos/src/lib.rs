//! Destructive tests of a real platform: it is killed, ended at chosen points, and its disk is copied at any moment; then
//! a client's history and what the platform says are compared.
//!
//! Each campaign is a function with its numbers as arguments; `cargo xtask chaos` runs them at the numbers that are
//! promised, the ordinary tests at small ones.

pub mod checker;
pub mod client;
pub mod crash_points;
pub mod dice;
pub mod disk;
pub mod disk_full;
pub mod kill;
pub mod messages;
pub mod power_cut;
pub mod ticks;

/// The function that all campaigns call: it fails, and takes its time, when it is told to.
pub const FUNCTION: &str = r#"
import time

def handler(event, context):
    n = event["n"]
    time.sleep(event.get("seconds", 0))
    if event.get("fails"):
        raise ValueError("event %d fails" % n)
    return n
"#;

/// Its name.
pub const NAME: &str = "witness";
