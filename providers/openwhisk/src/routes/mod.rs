//! Routes: paths and methods of one's own that lead to web actions, as npm `openwhisk`'s `routes`, Serverless and the
//! Adobe I/O command line make them. Upstream has them in a gateway of its own, managed by the web actions of
//! `whisk.system/apimgmt`; here both are parts of the platform.
//! Source: apache/openwhisk, `core/routemgmt` (`createApi.js`, `getApi.js`, `deleteApi.js`, `apigw-utils.js`), and what
//! npm `openwhisk` 3.21.9 sends.

mod document;
mod gateway;
mod manage;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use gateway::PREFIX;
pub(crate) use manage::MANAGEMENT;

/// One API: its document is what its owner gave and gets, and what requests are led by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteApi {
    /// The path in front of all others of it; unique in its namespace.
    pub(crate) base: String,
    /// A Swagger 2.0 document.
    pub(crate) document: Value,
}

impl RouteApi {
    /// The name that its owner gave it.
    fn title(&self) -> &str {
        self.document["info"]["title"].as_str().unwrap_or(&self.base)
    }
}
