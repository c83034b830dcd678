//! Use cases of the control side: create, change, publish, alias, delete, and the documents beside them.
//!
//! [`Catalog`] holds every function in memory, so that calls never touch the disk to find one; every change is durable
//! in the [`MetadataStore`](sonagi_ports::MetadataStore) before it becomes visible. One change per function runs at a
//! time: it is decided by a plain closure over an [`Edit`], committed, then published.

mod catalog;
mod documents;
mod edit;
mod entry;
mod table;

pub use catalog::{Catalog, EditError, HeldArtifact, NewFunction, Retired};
pub use documents::Documents;
pub use edit::{Edit, NewRevision};
pub use entry::FunctionEntry;
pub use table::Table;
