//! Control groups: one per instance, under one group of this node, on either version of the kernel's interface.
//!
//! The spawner makes groups ahead of time ([`Hierarchy::create`]), its children join through descriptors that are open
//! already ([`Group::join`]), and the server holds a [`GroupHandle`] made of descriptors alone. Memory has a meaning of
//! its own here: see [`OomWatch`].
//!
//! Not here: what a limit should be (that is configuration), namespaces, mounts.

mod files;
mod group;
mod handle;
mod hierarchy;
mod life;
mod mounts;
mod oom;
mod share;
mod v1;
mod v2;

use std::path::PathBuf;

use rustix::io::Errno;

pub use group::{Group, join};
pub use handle::GroupHandle;
pub use hierarchy::{Description, Hierarchy};
pub use oom::{OomGuard, OomWatch};

/// Control groups cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{action} {path}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Its answer.
        source: Errno,
    },
    /// A name could become a path.
    #[error("group name {0:?} must be 1 to 64 letters, digits, '-' and '_'")]
    Name(String),
    /// This host lacks something; the text says what, and what to do.
    #[error("no usable control groups: {0}")]
    Unusable(String),
    /// Processes are left in it after all attempts.
    #[error("group {0} still has processes")]
    Busy(PathBuf),
}

impl Error {
    fn kernel(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |source| Self::Kernel { action, path, source }
    }
}

/// What one file or folder under `/tmp` costs beside its content: inode, directory entry and index, measured on Linux
/// 6.18 and rounded up. The kernel charges it to the group like the content.
const BYTES_PER_SCRATCH_ENTRY: u64 = 1536;

/// Memory and scratch together, which the kernel enforces by itself.
fn hard_limit(limits: &sonagi_model::InstanceLimits) -> u64 {
    limits.memory.bytes() + limits.scratch.bytes() + u64::from(limits.scratch_inodes) * BYTES_PER_SCRATCH_ENTRY
}

/// Whether the text may name a group: it becomes one component of a path.
fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(())
}
