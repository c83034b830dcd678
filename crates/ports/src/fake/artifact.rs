//! Artifacts in memory.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use sonagi_model::{ArchiveLimits, ArtifactRef, Digest};

use crate::{ArchiveProblem, ArtifactError, ArtifactStore, CodeTree, TreeCheck};

/// An [`ArtifactStore`] that keeps archives as they came and unpacks nothing: its trees are paths that need not exist.
#[derive(Debug)]
pub struct FakeArtifactStore {
    state: Mutex<State>,
    trees: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    archives: HashMap<Digest, (Bytes, ArtifactRef)>,
    damaged: HashSet<Digest>,
}

impl Default for FakeArtifactStore {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeArtifactStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_trees("/nonexistent/trees")
    }

    /// An empty store whose trees are all the folder `path`.
    #[must_use]
    pub fn with_trees(path: impl Into<PathBuf>) -> Self {
        Self {
            state: Mutex::default(),
            trees: path.into(),
        }
    }

    /// From now on the artifact is found damaged, until the same bytes are put again.
    pub fn damage(&self, digest: Digest) {
        self.state.lock().damaged.insert(digest);
    }

    fn found(&self, artifact: &ArtifactRef) -> Result<Bytes, ArtifactError> {
        let state = self.state.lock();
        let digest = artifact.digest;
        if state.damaged.contains(&digest) {
            return Err(ArtifactError::Damaged {
                digest,
                what: "damaged by a test".to_owned(),
            });
        }
        let (archive, stored) = state.archives.get(&digest).ok_or(ArtifactError::Missing(digest))?;
        if stored.tree != artifact.tree {
            return Err(ArtifactError::Damaged {
                digest,
                what: "another tree digest".to_owned(),
            });
        }
        Ok(archive.clone())
    }
}

fn check(archive: &[u8], limits: &ArchiveLimits) -> Result<(), ArchiveProblem> {
    let actual = archive.len() as u64;
    if actual > limits.packed {
        return Err(ArchiveProblem::PackedSize {
            actual,
            limit: limits.packed,
        });
    }
    // The signature of a local file header, with which every zip archive that is not empty begins.
    if !archive.starts_with(b"PK\x03\x04") {
        return Err(ArchiveProblem::Unreadable("no zip signature".to_owned()));
    }
    Ok(())
}

#[async_trait]
impl ArtifactStore for FakeArtifactStore {
    async fn put(&self, archive: Bytes, limits: &ArchiveLimits) -> Result<ArtifactRef, ArtifactError> {
        check(&archive, limits)?;
        let digest = Digest::from_bytes(Sha256::digest(&archive).into());
        let tree = Digest::from_bytes(
            Sha256::new()
                .chain_update(b"tree")
                .chain_update(&archive)
                .finalize()
                .into(),
        );
        let size = archive.len() as u64;
        let artifact = ArtifactRef {
            digest,
            size,
            tree,
            unpacked_size: size,
        };
        let mut state = self.state.lock();
        state.damaged.remove(&digest);
        state.archives.insert(digest, (archive, artifact.clone()));
        Ok(artifact)
    }

    async fn archive(&self, artifact: &ArtifactRef) -> Result<Bytes, ArtifactError> {
        self.found(artifact)
    }

    async fn tree(&self, artifact: &ArtifactRef) -> Result<CodeTree, ArtifactError> {
        self.found(artifact)?;
        Ok(CodeTree {
            path: self.trees.clone(),
            check: TreeCheck::Manifest,
        })
    }

    async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let mut state = self.state.lock();
        state.archives.remove(digest);
        state.damaged.remove(digest);
        Ok(())
    }

    fn stored_bytes(&self) -> u64 {
        self.state
            .lock()
            .archives
            .values()
            .map(|(archive, _)| archive.len() as u64)
            .sum()
    }
}
