//! Manifests on disk, and the recently used ones in memory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use sonagi_model::Digest;
use sonagi_ports::ArtifactError;

use super::manifest::Manifest;
use super::places::{Places, io_error};
use crate::durable;

/// Paths of all manifests in memory together; at about 200 bytes each this is 10 MiB.
const LEAVES_IN_MEMORY: usize = 50_000;

/// A bounded memory of manifests. One in memory was checked against its own digests when it was read.
#[derive(Debug, Default)]
pub(super) struct Manifests(Mutex<HashMap<Digest, Arc<Manifest>>>);

impl Manifests {
    /// The manifest of an archive; `None`: there is none, or none that can be used.
    pub(super) fn get(&self, places: &Places, digest: &Digest) -> Result<Option<Arc<Manifest>>, ArtifactError> {
        if let Some(known) = self.0.lock().get(digest) {
            return Ok(Some(known.clone()));
        }
        let path = places.manifest(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let manifest = Manifest::from_bytes(&bytes).filter(|manifest| manifest.artifact.digest == *digest);
        Ok(manifest.map(|manifest| self.remember(manifest)))
    }

    /// Replaces a manifest. Its content is flushed and its name is not: one that is lost is made again from the archive.
    pub(super) fn put(&self, places: &Places, manifest: Manifest) -> Result<Arc<Manifest>, ArtifactError> {
        let path = places.manifest(&manifest.artifact.digest);
        let written = manifest
            .to_bytes()
            .and_then(|bytes| durable::replace_unlisted(&path, &bytes));
        written.map_err(io_error("write", &path))?;
        Ok(self.remember(manifest))
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.0.lock().remove(digest);
    }

    fn remember(&self, manifest: Manifest) -> Arc<Manifest> {
        let manifest = Arc::new(manifest);
        let mut known = self.0.lock();
        let leaves: usize = known.values().map(|manifest| manifest.leaves.len()).sum();
        if leaves + manifest.leaves.len() > LEAVES_IN_MEMORY {
            // Reading one again costs little beside a cold start, so which ones go does not matter much.
            known.clear();
        }
        known.insert(manifest.artifact.digest, manifest.clone());
        manifest
    }
}
