//! How functions are run: the contract *http-stream* over a Unix socket that the function makes in its `/tmp/iofs`.
//! Source: fnproject/docs (June 2026), "FDK contract"; the server 0.3.753 and the FDKs fdk 0.1.128 and @fnproject/fdk
//! 0.0.76, observed.

mod bootstraps;
mod contract;
pub(crate) mod envelope;
mod environment;
mod meeting;
mod session;

pub use bootstraps::BootstrapError;
pub use contract::{Bundles, CONTRACT, FnContract};
pub(crate) use session::attributes;
