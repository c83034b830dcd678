//! The nouns: buckets, objects, uploads, notices.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonagi_model::Timestamp;

use crate::Staged;

/// A bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its name, of which there is one on the whole node.
    pub name: String,
    /// Whose it is, in the provider's words.
    pub owner: String,
    /// Where it is said to be, in the provider's words.
    pub region: String,
    /// When it was made.
    pub created: Timestamp,
    /// What the provider keeps about it.
    pub document: Value,
}

/// A stretch of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The body.
    pub body: String,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has; never none.
    pub length: u64,
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// What stands for its content, in the provider's words.
    pub etag: String,
    /// When it was stored.
    pub modified: Timestamp,
    /// Where its bytes are, in order.
    pub segments: Vec<Segment>,
    /// What the provider keeps about it.
    pub document: Value,
}

/// What listings show of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// What stands for its content.
    pub etag: String,
    /// When it was stored.
    pub modified: Timestamp,
}

/// What must be so for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no such object.
    Absent,
    /// There is one.
    Present,
    /// There is one with this etag.
    Etag(String),
}

/// Where the bytes of a new object or part come from.
#[derive(Debug)]
pub enum Content {
    /// They were just written.
    Fresh(Staged),
    /// They are those of others, which must still be there.
    Shared(Vec<Segment>),
}

impl Content {
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Fresh(staged) => staged.size(),
            Self::Shared(segments) => segments.iter().map(|segment| segment.length).sum(),
        }
    }
}

/// An object to be stored.
#[derive(Debug)]
pub struct NewObject {
    /// Into which bucket.
    pub bucket: String,
    /// Under which key; what was there is replaced.
    pub key: String,
    /// Its bytes.
    pub content: Content,
    /// What stands for its content.
    pub etag: String,
    /// The moment.
    pub modified: Timestamp,
    /// What the provider keeps about it.
    pub document: Value,
    /// What must be so.
    pub condition: Condition,
    /// What others are told.
    pub notices: Vec<Bytes>,
}

/// An object to be removed.
#[derive(Debug, Clone)]
pub struct Removal {
    /// From which bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What must be so.
    pub condition: Condition,
    /// What others are told, if there was such an object.
    pub notices: Vec<Bytes>,
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// Its identity.
    pub id: String,
    /// Into which bucket.
    pub bucket: String,
    /// Under which key.
    pub key: String,
    /// When it was begun.
    pub initiated: Timestamp,
    /// What the provider keeps about it.
    pub document: Value,
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its number, by which parts are joined.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// What stands for its content.
    pub etag: String,
    /// When it was stored.
    pub modified: Timestamp,
    /// Where its bytes are.
    pub segments: Vec<Segment>,
    /// What the provider keeps about it.
    pub document: Value,
}

/// What somebody is to be told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its place in the order of all notices; never used twice.
    pub id: i64,
    /// What is told, in the provider's words.
    pub payload: Bytes,
}
