//! What functions may reach outside of their sandbox.
//!
//! [`deny`] decides, in pure code, which addresses nobody may reach: private and special networks, metadata services,
//! the host itself. Every way out asks it. [`ProxiedSandbox`] is a way out that needs no rights: each instance gets a proxy
//! on its own loopback address, served by the platform, which makes the connections. [`NattedSandbox`] adds a resolver to
//! instances with addresses of their own.

pub mod deny;
mod dns;
mod natted;
mod proxied;
mod proxy;
mod request;
mod served;
mod socks;

pub use dns::name_servers;
pub use natted::NattedSandbox;
pub use proxied::{PORT, ProxiedSandbox};
