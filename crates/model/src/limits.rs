//! Limits that the platform enforces. Each number is a default and a setting.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Mebibytes;

/// What one instance may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLimits {
    /// Memory of all its processes together, swap included.
    pub memory: Mebibytes,
    /// Hard cap on CPU in thousandths of a core; `None`: no cap, only a weight in proportion to memory.
    pub cpu_cap_millis: Option<u32>,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes under `/tmp`.
    pub scratch: Mebibytes,
    /// Files and folders under `/tmp`.
    pub scratch_inodes: u32,
    /// Open descriptors of one process.
    pub descriptors: u32,
}

impl InstanceLimits {
    /// Limits for a function of this memory and scratch size, everything else at its default.
    #[must_use]
    pub const fn for_sizes(memory: Mebibytes, scratch: Mebibytes) -> Self {
        Self {
            memory,
            cpu_cap_millis: None,
            processes: 1024,
            scratch,
            scratch_inodes: 100_000,
            descriptors: 1024,
        }
    }
}

/// What an uploaded archive may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the archive itself.
    pub packed: u64,
    /// Bytes of all unpacked files together, counted while unpacking.
    pub unpacked: u64,
    /// Entries.
    pub entries: usize,
    /// Unpacked bytes per packed byte, over the whole archive.
    pub ratio: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// Folders above one entry.
    pub depth: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            packed: 50 * 1024 * 1024,
            unpacked: 250 * 1024 * 1024,
            entries: 20_000,
            ratio: 200,
            path_bytes: 1024,
            depth: 32,
        }
    }
}

/// How much output of a function is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one line; the rest of a longer one is dropped and marked.
    pub line: usize,
    /// Bytes of one invocation; what follows is dropped and marked once.
    pub invocation: usize,
    /// Bytes kept on disk for one function before the oldest go.
    pub function: u64,
    /// Sustained bytes a second of one instance.
    pub rate: u64,
    /// Longest wait for output that was written before a response but read after it.
    pub settle: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            invocation: 4 * 1024 * 1024,
            function: 32 * 1024 * 1024,
            rate: 1024 * 1024,
            settle: Duration::from_millis(20),
        }
    }
}
