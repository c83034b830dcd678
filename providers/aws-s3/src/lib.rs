//! The S3 protocol over the platform's object store. Documents, routes, signatures and streamed bodies are those of the
//! crate `s3s`, which nobody else here uses; what operations do is ours.
//!
//! This crate knows no accounts and no functions: whoever uses it gives it keys ([`Keys`]), says who calls ([`S3Caller`])
//! and takes what buckets tell of ([`Targets`]).
//!
//! Sources: "Amazon S3 API Reference" and "Event message structure" of the S3 user guide; observed with botocore 1.44.5.

mod answers;
mod api;
mod buckets;
mod checks;
mod conditions;
mod copies;
mod describe;
mod errors;
mod front;
mod lists;
mod notify;
mod objects;
mod tags;
mod uploads;

pub use front::{Keys, S3, S3Caller, S3Options};
pub use notify::{ConnectError, Connection, Source, Targets, TellError, Telling};
