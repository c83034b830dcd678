//! Object storage on the file system of one node: buckets, objects, uploads in parts, and what is to be told of their
//! changes. Knows no protocol: what a provider says about a bucket or an object is a document of its own.
//!
//! Contents are *bodies*, files that are written once under a random name, flushed, and only then named by the index, a
//! SQLite file of its own with one writing thread and group commit. An object is a list of stretches of bodies, so that a
//! copy and the end of an upload move no bytes; a body is counted by those who name it, and its file goes when nobody
//! does and nobody reads it. A body without a name in the index is what a crash left, and is swept by the next start.
//!
//! A change and its *notices* (what somebody else is to be told of it) are one transaction: whoever was told that an
//! object is stored finds its notice in the index until it is passed on.

mod bodies;
mod error;
mod list;
mod model;
mod notices;
mod pins;
mod reading;
mod rows;
mod schema;
mod staging;
mod store;
mod uploads;
mod writer;

pub use error::Error;
pub use list::{Entry, ListQuery, Page};
pub use model::{Bucket, Condition, Content, NewObject, Notice, Object, Part, Removal, Segment, Summary, Upload};
pub use reading::{Found, Reading};
pub use staging::{Staged, Staging};
pub use store::{BucketRemoved, ObjectStore, Options};
