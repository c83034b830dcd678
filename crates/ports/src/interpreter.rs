//! Language interpreters that this host lends to sandboxes.

use serde::{Deserialize, Serialize};

use crate::Mount;

/// A language whose interpreter is borrowed from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// CPython.
    Python,
    /// Node.js.
    Node,
}

/// One interpreter, with all that it needs to run in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its language.
    pub language: Language,
    /// Its version, for instance `3.11.7`.
    pub version: String,
    /// Path of the executable inside the sandbox (and on the host: its prefix is mounted at the same place).
    pub program: String,
    /// Read-only mounts beyond those that every sandbox has.
    pub mounts: Vec<Mount>,
    /// Variables it needs, for instance a library path.
    pub environment: Vec<(String, String)>,
}

/// The interpreters of this host, found once at start.
pub trait Interpreters: Send + Sync + std::fmt::Debug {
    /// The best interpreter whose version begins with `version` (`3.11`, `20`), compared part by part.
    fn find(&self, language: Language, version: &str) -> Option<Interpreter>;

    /// All of them, best first.
    fn all(&self) -> Vec<Interpreter>;
}
