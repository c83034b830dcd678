//! The pool on tokio's paused clock: what it decides, when, and what is left afterwards.

mod bed;
mod floor;
mod output;
mod shared;
mod start;
mod warm;
