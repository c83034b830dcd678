//! Schedules: when something is to happen, and seeing to it that it does, once.
//!
//! [`Plan`] is pure: after which moment comes which. [`Clockwork`] keeps the plans of all owners, sleeps until the next
//! moment, and hands each tick to its owner.

mod clockwork;
mod due;
mod expression;
mod plan;

pub use clockwork::{Clockwork, OnTick, Scheduled, TOKEN_WINDOW, Tick, TickError, TooManySchedules};
pub use due::{Due, LONGEST_GRACE, Missed, MissedRules, due};
pub use expression::{Expression, ExpressionError, Units, zone};
pub use plan::{Plan, Timing};
