//! The stores on a real disk: the ports' suites, what survives the end of a process, hostile archives.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod archives;
mod backup;
mod crash;
mod crowd;
mod damage;
mod durability;
mod failing_disk;
mod logs;
mod opened;
mod orphans;
mod raw_zip;
mod secrets;
mod suites;
