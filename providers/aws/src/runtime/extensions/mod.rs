//! Extensions of one instance: programs beside the runtime (external) and parts of it (internal) that hear of every
//! event and, if they are programs, of the end.
//!
//! [`Registry`] knows them and the order in which everything has to happen; `api.rs` answers their requests; [`Steward`]
//! has external ones started, watched and ended, by the supervisor in the cell; [`Telemetry`] brings them what the
//! platform tells and the function prints.
//!
//! Sources: "Lambda Extensions API" and "Lambda Telemetry API" of the Lambda developer guide; AWS's open runtime
//! interface emulator (commit 4fa2157) for states, texts and statuses.

mod api;
mod company;
mod deliver;
mod frames;
mod registry;
mod steward;
mod subscription;
mod telemetry;

pub(super) use api::{Described, ExtensionApi, is_extension_path};
pub(super) use company::Company;
pub(super) use registry::Registry;
pub(super) use steward::Steward;
pub(super) use telemetry::Telemetry;

/// Most extensions of one instance. Source: AWS Lambda quotas.
pub(super) const EXTENSIONS_MAX: usize = 10;
