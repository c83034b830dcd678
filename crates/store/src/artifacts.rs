//! Archives by content, and the trees they unpack to.
//!
//! `sha256/ab/HEX.zip` are the archives, `trees/NAME` the trees, `manifests/HEX.json` what the trees looked like when
//! they were hashed, `quarantine` what was found damaged. Uploads are hostile; see `headers`, `plan`, `unpack`. Nothing
//! is handed out whose digest was not checked; see `shelf`.

mod headers;
mod manifest;
mod manifests;
mod places;
mod plan;
mod shelf;
mod tree;
mod unpack;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sonagi_model::{ArchiveLimits, ArtifactRef, Digest};
use sonagi_ports::{ArchiveProblem, ArtifactError, ArtifactStore, CodeTree};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedRwLockWriteGuard, RwLock};

use crate::workers::{Stopped, Workers};
use places::Places;
use shelf::{Finding, Shelf};

/// Threads for unpacking and hashing.
const THREADS: usize = 3;

/// The [`ArtifactStore`] of a node.
#[derive(Debug)]
pub(crate) struct Artifacts {
    root: PathBuf,
    shelf: Arc<Shelf>,
    workers: Workers<()>,
    /// One lock per artifact at hand: who changes something holds it.
    locks: Mutex<HashMap<Digest, Weak<AsyncMutex<()>>>>,
    /// Held by whoever needs everything to stay; removing waits.
    keeping: Arc<RwLock<()>>,
}

impl Artifacts {
    /// Opens or creates the store in `root`, and sweeps what an interrupted process left.
    pub(crate) fn open(root: PathBuf, node: &str) -> Result<Self, ArtifactError> {
        let (places, bytes) = Places::open(root.clone(), node)?;
        let workers = Workers::start("store-artifacts", vec![(); THREADS]).map_err(|source| ArtifactError::Io {
            action: "start threads for",
            path: root.clone(),
            source,
        })?;
        Ok(Self {
            root,
            shelf: Arc::new(Shelf::new(places, bytes)),
            workers,
            locks: Mutex::default(),
            keeping: Arc::default(),
        })
    }

    /// Nothing is removed while the value lives.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        self.keeping.clone().write_owned().await
    }

    /// Removes every artifact that is not among these: how many, and the bytes of their archives. To be called while
    /// nobody stores any.
    pub(crate) async fn keep_only(&self, kept: HashSet<Digest>) -> Result<(usize, u64), ArtifactError> {
        let _may_remove = self.keeping.read().await;
        self.run(move |shelf| shelf.keep_only(&kept)).await
    }

    pub(crate) async fn close(&self) {
        self.workers.close().await;
    }

    async fn lock(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            match locks.get(&digest).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    locks.retain(|_, lock| lock.strong_count() > 0);
                    let lock = Arc::new(AsyncMutex::new(()));
                    locks.insert(digest, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let shelf = self.shelf.clone();
        self.workers
            .run(move |()| work(&shelf))
            .await
            .map_err(|stopped| self.stopped(stopped))?
    }

    /// The same while holding an artifact's lock, to the end of the work even if this future is dropped.
    async fn run_alone<T: Send + 'static>(
        &self,
        digest: Digest,
        work: impl FnOnce(&Shelf) -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let guard = self.lock(digest).await;
        self.run(move |shelf| {
            let result = work(shelf);
            drop(guard);
            result
        })
        .await
    }

    fn stopped(&self, stopped: Stopped) -> ArtifactError {
        ArtifactError::Io {
            action: "use",
            path: self.root.clone(),
            source: io::Error::other(stopped),
        }
    }
}

#[async_trait]
impl ArtifactStore for Artifacts {
    async fn put(&self, archive: Bytes, limits: &ArchiveLimits) -> Result<ArtifactRef, ArtifactError> {
        let actual = archive.len() as u64;
        if actual > limits.packed {
            return Err(ArchiveProblem::PackedSize {
                actual,
                limit: limits.packed,
            }
            .into());
        }
        let bytes = archive.clone();
        let digest = self.run(move |_| Ok(shelf::sha256(&bytes))).await?;
        let limits = limits.clone();
        self.run_alone(digest, move |shelf| shelf.put(&archive, digest, &limits))
            .await
    }

    async fn archive(&self, artifact: &ArtifactRef) -> Result<Bytes, ArtifactError> {
        let digest = artifact.digest;
        self.run_alone(digest, move |shelf| shelf.archive(&digest))
            .await
            .map(Bytes::from)
    }

    async fn tree(&self, artifact: &ArtifactRef) -> Result<CodeTree, ArtifactError> {
        // Handing it to another thread would take longer than looking at the small trees that most functions are.
        if let Some(tree) = self.shelf.glance(artifact) {
            return Ok(tree);
        }
        let wanted = artifact.clone();
        // Most trees are sound, and looking changes nothing, so any number of starts look at once.
        if let Finding::Sound(tree) = self.run(move |shelf| shelf.check(&wanted)).await? {
            return Ok(tree);
        }
        let wanted = artifact.clone();
        self.run_alone(artifact.digest, move |shelf| shelf.mend(&wanted)).await
    }

    async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let _may_remove = self.keeping.read().await;
        let digest = *digest;
        self.run_alone(digest, move |shelf| shelf.remove(&digest)).await
    }

    fn stored_bytes(&self) -> u64 {
        self.shelf.stored_bytes()
    }
}
