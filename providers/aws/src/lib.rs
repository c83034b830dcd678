//! AWS Lambda as a provider: its runtime contract, its API, its function URLs, its errors, limits and tariff, and the
//! queues of SQS beside it. Nothing
//! outside of this crate knows them; removing it removes Lambda.
//!
//! [`Aws`] puts the parts together. Requests come in through its [`Front`]; the native API talks to it as an
//! [`Adapter`](sonagi_ports::Adapter); the engine knows [`AwsContract`] and [`LambdaTargets`].

pub mod arn;
mod assembly;
pub mod auth;
mod control;
pub mod credentials;
pub mod errors;
mod eventing;
mod events;
mod front;
mod intake;
mod invoke;
mod json;
mod limits;
mod mappings;
mod native;
pub mod place;
mod records;
pub mod runtime;
mod services;
mod sqs;
mod storage;
mod sts;
mod tariff;
mod url;

pub use assembly::{Aws, AwsDeps, AwsOptions};
pub use auth::AuthMode;
pub use control::RuntimeCheck;
pub use credentials::TemporaryCredentials;
pub use eventing::BusDeliveries;
pub use events::{BUS_ADAPTER, LambdaTargets, QUEUE_ADAPTER, WEB_ADAPTER};
pub use front::Front;
pub use invoke::{Engine, Runner};
pub use limits::LambdaLimits;
pub use runtime::{AwsContract, CONTRACT, InstanceFront, RuntimeOptions};
pub use sqs::QueueDestination;
pub use tariff::tariff;
