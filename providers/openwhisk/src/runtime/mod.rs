//! How actions are launched, and how the platform talks with them.
//!
//! Upstream's proxies serve `POST /init` and `POST /run`. Here the interpreters' bootstraps are ours (`bootstrap/`); they
//! get the same two messages as frames over a channel, so that their answers, logs and differences between languages are
//! upstream's, without an HTTP server in each instance. Executables speak upstream's action loop over the same channel.

mod bootstraps;
pub(crate) mod classify;
mod contract;
mod frames;
mod lines;
mod session;

pub use bootstraps::BootstrapError;
pub use contract::{Bundles, CONTRACT, InstanceFront, WhiskContract};
pub(crate) use session::attributes;
