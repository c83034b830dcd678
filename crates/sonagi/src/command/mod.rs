//! One module per command. Each reads its part of the command line, asks the platform, prints the answer, and says what
//! one would do next.

pub mod account;
pub mod alias;
pub mod backup;
pub mod compat;
pub mod completions;
pub mod config;
pub mod deploy;
pub mod dev;
pub mod dlq;
pub mod doctor;
pub mod env;
pub mod events;
pub mod invoke;
pub mod key;
pub mod logs;
pub mod ls;
pub mod new;
pub mod on;
pub mod replay;
pub mod restore;
pub mod rm;
pub mod rollback;
pub mod runs;
pub mod show;
pub mod up;
pub mod usage;
pub mod versions;
mod whole;
