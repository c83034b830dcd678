//! Invocations: from a request to a call of the dispatcher, and from its outcome to Lambda's answer.

mod api;
mod event_stream;
mod outcome;
mod port;
mod streaming;
mod target;
mod trace;

use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_ports::{Clock, Entropy};

use crate::limits::LambdaLimits;

pub(crate) use api::{Collected, InvokeCall, Prepared, REQUEST_ID, is_event};
pub(crate) use outcome::{error_body, platform_error};
pub use port::{Engine, Runner};
pub(crate) use target::Target;
pub(crate) use trace::TRACE_HEADER;

/// Runs functions for the API, for URLs and for the native API.
#[derive(Debug)]
pub(crate) struct Invoker {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Arc<LambdaLimits>,
}
