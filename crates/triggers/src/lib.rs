//! What makes events without anybody calling: provider-neutral parts that providers build their own surfaces on.
//!
//! [`Pattern`] says which events of a stream are meant.

mod pattern;

pub use pattern::{Pattern, PatternError};
