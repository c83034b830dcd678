//! The binary itself: its grammar and errors against recorded text, its commands against the native API with a provider
//! in memory, its builds in real cells.
#![expect(clippy::unwrap_used, reason = "in a test, what goes wrong ends it")]

mod build;
mod commands;
mod golden;
mod run;
