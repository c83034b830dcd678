//! OpenWhisk (IBM Cloud Functions) as a provider: its runtime contract, its REST API, web actions, sequences, conductors,
//! feeds, limits and tariff. Nothing outside of this crate knows them; removing it removes OpenWhisk.
//!
//! [`Whisk`] puts the parts together. Requests come in through its [`Front`]; the native API talks to it as an
//! [`Adapter`](sonagi_ports::Adapter); the engine knows [`WhiskContract`], and [`Deliveries`] for what runs later.

mod accounts;
mod alarms;
mod api;
mod assembly;
mod code;
mod entities;
mod errors;
mod estate;
mod front;
mod invoke;
mod kinds;
mod limits;
mod names;
mod native;
mod project;
mod routes;
mod runtime;
mod table;
mod tariff;
mod throttle;
mod web;

pub use accounts::AuthMode;
pub use assembly::{Whisk, WhiskDeps, WhiskOptions};
pub use front::Front;
pub use invoke::{ADAPTER, Deliveries, Runner};
pub use limits::{Range, WhiskLimits};
pub use names::PROVIDER;
pub use runtime::{BootstrapError, Bundles, CONTRACT, InstanceFront, WhiskContract};
pub use tariff::tariff;
