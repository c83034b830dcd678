//! What a measurement is made of: samples and what is said of them, clients in a closed and in an open loop, the machine,
//! figures with their targets, and their plot. The benchmark harness (`bench/`) and `sonagi bench` share it; nothing here
//! knows the platform.

pub mod load;
pub mod machine;
pub mod pin;
pub mod plot;
pub mod report;
pub mod stats;

use std::path::PathBuf;

/// Why a measurement failed. A figure with failures in it says nothing, so the first one ends the measurement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the kernel or of the results cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing answers at an address.
    #[error("cannot connect to {address}")]
    Connect {
        /// `HOST:PORT`.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A request cannot be made of its parts.
    #[error("a request that cannot be made: host {host}, path {path}")]
    Request {
        /// What stood in `Host`.
        host: String,
        /// Its path.
        path: String,
        /// Why.
        source: hyper::http::Error,
    },
    /// A connection broke.
    #[error("{host}: the connection broke")]
    Connection {
        /// What stood in `Host`.
        host: String,
        /// Why.
        source: hyper::Error,
    },
    /// An answer that is no success.
    #[error("{host}: {status} {body}")]
    Answer {
        /// What stood in `Host`.
        host: String,
        /// Its status.
        status: hyper::StatusCode,
        /// Its body, as text.
        body: String,
    },
    /// A processor that this thread may not run on.
    #[error("cannot run on processors {cores:?}")]
    Pin {
        /// Which ones.
        cores: Vec<usize>,
        /// Why.
        source: rustix::io::Errno,
    },
    /// A task of a client broke off.
    #[error("a client broke off")]
    Client(#[from] tokio::task::JoinError),
    /// Results that cannot be written as JSON.
    #[error("results without a form in JSON")]
    Json(#[from] serde_json::Error),
}
