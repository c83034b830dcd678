//! Fn Project (Oracle) as a provider: its runtime contract, its REST API, HTTP triggers, uploads in place of images, limits
//! and tariff. Nothing outside of this crate knows them; removing it removes Fn.
//!
//! [`FnProject`] puts the parts together. Requests come in through its [`Front`]; the native API talks to it as an
//! [`Adapter`](sonagi_ports::Adapter); the engine knows [`FnContract`], and [`FnTargets`] for detached calls.

mod accounts;
mod annotations;
mod api;
mod assembly;
mod errors;
mod estate;
mod front;
mod ids;
mod invoke;
mod limits;
mod names;
mod native;
mod records;
mod runtime;
mod runtimes;
mod scoped;
mod source;
mod tariff;

pub use accounts::AuthMode;
pub use assembly::{FnDeps, FnOptions, FnProject};
pub use front::Front;
pub use invoke::{FnTargets, Runner};
pub use limits::FnLimits;
pub use names::PROVIDER;
pub use runtime::{BootstrapError, Bundles, CONTRACT, FnContract};
pub use tariff::tariff;
