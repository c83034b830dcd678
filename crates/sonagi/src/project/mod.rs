//! Source code in, a description of a function out: which provider's dialect it is written in and why, what its entry
//! point is, what it depends on. All decisions are pure, over a view of the files; reading disks and archives, and
//! packing, are modules of their own.

mod described;
mod dialect;
pub mod files;
mod languages;
pub mod manifest;
pub mod name;
pub mod pack;
mod recognize;
mod runtime;
mod rust;
mod script;
pub mod source;
pub mod whole;

#[cfg(test)]
mod tests;

pub use dialect::{Dialect, Language};
pub use recognize::{Code, Dependencies, Project, Unrecognized, Wish, recognize};
pub use rust::is_workspace as is_cargo_workspace;
