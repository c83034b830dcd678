//! Storage of code by content.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use sonagi_model::{ArchiveLimits, ArtifactRef, Digest};

/// A verified, unpacked, read-only tree of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTree {
    /// Where it is on this host. The path says nothing about tenant or function: it is visible inside the sandbox.
    pub path: PathBuf,
    /// How it was verified this time.
    pub check: TreeCheck,
}

/// How a tree was found to be the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeCheck {
    /// Inode, size, mtime and ctime of every file are those recorded when it was hashed.
    Manifest,
    /// Every byte was hashed again.
    Hashed,
    /// It was unpacked from the stored archive, whose digest was checked, and hashed.
    Unpacked,
}

/// Why an uploaded archive was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveProblem {
    /// It is no zip archive, or a broken one.
    #[error("not a readable zip archive: {0}")]
    Unreadable(String),
    /// The archive itself is too large.
    #[error("archive has {actual} bytes, more than {limit}")]
    PackedSize {
        /// Bytes found.
        actual: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Its contents are too large.
    #[error("unpacked size is more than {limit} bytes")]
    UnpackedSize {
        /// Bytes allowed.
        limit: u64,
    },
    /// It has too many entries.
    #[error("archive has {actual} entries, more than {limit}")]
    Entries {
        /// Entries found.
        actual: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// It unpacks to far more than its size.
    #[error("archive unpacks to more than {limit} times its size")]
    Ratio {
        /// Unpacked bytes allowed per packed byte.
        limit: u64,
    },
    /// An entry's path is unsafe or too long.
    #[error("entry {entry:?}: {reason}")]
    Path {
        /// The entry, as far as it can be shown.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry is of a kind that has no place in code.
    #[error("entry {entry:?} is a {kind}")]
    Kind {
        /// The entry.
        entry: String,
        /// What it is.
        kind: &'static str,
    },
    /// Two entries claim the same path, or bytes of the archive overlap.
    #[error("entry {entry:?} {reason}")]
    Conflict {
        /// The entry.
        entry: String,
        /// With what it conflicts.
        reason: &'static str,
    },
}

/// The artifact store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Nothing is stored under this digest.
    #[error("artifact {0} is not stored")]
    Missing(Digest),
    /// Stored bytes are not those that were hashed; they are quarantined and never executed.
    #[error("artifact {digest} is damaged: {what}; quarantined")]
    Damaged {
        /// The artifact.
        digest: Digest,
        /// What differs.
        what: String,
    },
    /// An upload was refused.
    #[error("archive refused")]
    Refused(#[from] ArchiveProblem),
    /// The disk or the file system failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Content-addressed storage of archives, and of the trees they unpack to.
#[async_trait]
pub trait ArtifactStore: Send + Sync + std::fmt::Debug {
    /// Checks, unpacks and stores an archive; when it returns, archive and tree are durable. Storing the same bytes
    /// again is cheap and returns the same reference.
    ///
    /// # Errors
    /// [`ArtifactError::Refused`] for a hostile or oversized archive (nothing of it stays), [`ArtifactError::Io`].
    async fn put(&self, archive: Bytes, limits: &ArchiveLimits) -> Result<ArtifactRef, ArtifactError>;

    /// The archive as uploaded, its digest checked.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Damaged`], [`ArtifactError::Io`].
    async fn archive(&self, artifact: &ArtifactRef) -> Result<Bytes, ArtifactError>;

    /// The unpacked tree, verified now: to be called before every cold start. Calls for the same artifact at the same
    /// time share one unpacking. Archives that changed on disk are found too.
    ///
    /// # Errors
    /// [`ArtifactError::Missing`], [`ArtifactError::Damaged`], [`ArtifactError::Io`].
    async fn tree(&self, artifact: &ArtifactRef) -> Result<CodeTree, ArtifactError>;

    /// Removes archive and tree once no instance runs from them. Missing ones are no error.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError>;

    /// Bytes of all stored archives.
    fn stored_bytes(&self) -> u64;
}
