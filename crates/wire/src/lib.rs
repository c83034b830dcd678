//! What adapters share because it is a standard and not a provider's: HTTP/1.1 and h2c over any stream, bodies with
//! limits, strictly delimited requests, hop-by-hop headers, the part of YAML that descriptions are written in; and the trait by which a provider serves its part of the one address.

mod body;
mod callers;
mod count;
mod gate;
mod headers;
mod serve;
mod surface;
pub mod yaml;

pub use body::{Body, BodyError, BoxError, TooSlow, channel, empty, full, read_limited, read_paced};
pub use count::{RequestCount, UnderWay};
pub use headers::{HeaderProblem, safe_header, strip_hop_by_hop};
pub use serve::{HttpLimits, accept_loop, serve_stream};
pub use surface::{Claim, Head, HostProblem, Surface};
