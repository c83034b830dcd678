//! What a cell is made of, as the command line tells the process that becomes it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the writable folder is inside.
pub const BUILD: &str = "/build";
/// The uid and gid of steps when the command line runs as root: `nobody`, which has an entry in `/etc/passwd`, since some
/// package clients insist on one.
pub const NOBODY: u32 = 65_534;

/// A file or folder of the host, shown read-only inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// On the host.
    pub source: PathBuf,
    /// Inside, absolute.
    pub target: PathBuf,
}

impl Shown {
    /// At the same place.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            source: path.clone(),
            target: path,
        }
    }
}

/// One step in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// An empty folder on the host that becomes the root.
    pub root: PathBuf,
    /// The folder that is writable, at [`BUILD`].
    pub build: PathBuf,
    /// What else is there, beside the system's own folders.
    pub shown: Vec<Shown>,
    /// Program and arguments; the program is an absolute path inside.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Absolute path inside.
    pub directory: String,
}
