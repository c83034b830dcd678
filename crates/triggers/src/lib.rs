//! What makes events without anybody calling: provider-neutral parts that providers build their own surfaces on.
//!
//! [`Pattern`] says which events of a stream are meant. [`Cron`], [`Expression`] and [`Plan`] say when something is to
//! happen; [`Clockwork`] sees to it that it does, once. [`Broker`] is the bus.
//! [`Bindings`] tie both to functions of any provider.

mod bindings;
mod bus;
mod cron;
mod pattern;
mod schedule;

pub use bindings::{Binding, BindingError, Bindings, Source};
pub use bus::{
    BATCH_MAX, BUS_DESTINATION, Broker, CloudEvent, CloudEventError, EventData, Notice, Subscriber, read_request,
};
pub use cron::{Cron, CronError};
pub use pattern::{Pattern, PatternError};
pub use schedule::{
    Clockwork, Due, Expression, ExpressionError, LONGEST_GRACE, Missed, MissedRules, OnTick, Plan, Scheduled,
    TOKEN_WINDOW, Tick, TickError, Timing, TooManySchedules, Units, due, zone,
};
