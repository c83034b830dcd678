//! The Lambda surface over the in-memory stores, driven by the real client (boto3 as `cargo xtask setup` installs it)
//! and by raw HTTP. Functions are run by a stand-in for the engine, which really runs Python handlers, one process for
//! each call, and plays whatever else a test asks for.

mod clients;
mod door;
mod engine;
mod links;
mod native;
mod restart;
mod urls;
mod world;
