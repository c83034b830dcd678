//! Lambda's runtime contract: how instances of Lambda functions are launched, and how the platform talks with the code
//! in them (the Runtime API of version 2018-06-01).
//!
//! [`AwsContract`] plans launches and opens sessions. The bootstraps of Python and Node are ours and embedded
//! (`bootstrap/`); with them a session speaks over the instance's channel. Custom runtimes and the official runtime
//! interface clients speak HTTP, to a listener inside the instance's network namespace. A second listener there serves,
//! through an [`InstanceFront`], the platform's own API.

mod answers;
pub mod attributes;
mod bootstraps;
mod channel;
mod contract;
mod environment;
mod exchange;
mod extensions;
mod launch;
mod marshal;
mod narrate;
mod quiet;
mod server;
mod session;
mod socket;
mod stem;
mod stream;
mod system;
mod talk;
mod trace;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use sonagi_model::InstanceId;

pub use bootstraps::BootstrapError;
pub use contract::{AwsContract, CONTRACT, RuntimeOptions};
pub use environment::function_arn;

/// What answers requests of function code to the platform's own API, on the second listener of its instance. Requests
/// are signed with the instance's temporary credentials; checking that is the front's business.
pub trait InstanceFront: Send + Sync + std::fmt::Debug {
    /// Answers one request that came out of this instance.
    fn serve(
        &self,
        request: Request<Incoming>,
        instance: InstanceId,
    ) -> BoxFuture<'static, Response<sonagi_wire::Body>>;
}
