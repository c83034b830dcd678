//! What becomes of accepted events, as a pure state machine: no clock, no randomness, no disk, no task.
//!
//! [`Core::step`] takes what has happened and answers what is to be done; whoever owns it does that and reports back. An
//! event goes from waiting to leased to running to kept, and from there to its end or back to waiting:
//!
//! ```text
//!   stored ──► waiting ──Lease──► leasing ──Leased──► running ──Ended──► keeping ──Kept──► ended
//!                 ▲                                                         │
//!                 └────────────────────────── postponed ────────────────────┘
//! ```
//!
//! Only the next few events of each lane are in memory, without their contents. Lanes take turns.

mod core;
mod decide;
mod lane;

pub use crate::core::{Command, Core, CoreOptions, Input};
pub use decide::{Ended, Verdict, decide, is_expired};
