//! Where things are below the artifacts' folder, and how they are put there, taken away and set aside.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use sonagi_model::Digest;
use sonagi_ports::ArtifactError;

use crate::durable;

const ARCHIVES: &str = "sha256";
const TREES: &str = "trees";
const MANIFESTS: &str = "manifests";
const QUARANTINE: &str = "quarantine";
const TEMPORARY: &str = "tmp";

/// The folders of an artifact store.
#[derive(Debug, Clone)]
pub(super) struct Places {
    root: PathBuf,
    /// Goes into the names of trees.
    node: String,
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    move |source| ArtifactError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl Places {
    /// Makes the folders, and removes what an interrupted process left: temporary things, trees without archive.
    /// Returns the bytes of all archives.
    pub(super) fn open(root: PathBuf, node: &str) -> Result<(Self, u64), ArtifactError> {
        let places = Self {
            root,
            node: node.to_owned(),
        };
        for name in [ARCHIVES, TREES, MANIFESTS, QUARANTINE, TEMPORARY] {
            let path = places.root.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(io_error("create", &path))?;
        }
        durable::sync_folder(&places.root).map_err(io_error("flush", &places.root))?;
        let (digests, bytes) = places.archives()?;
        places.sweep(&digests)?;
        Ok((places, bytes))
    }

    pub(super) fn archive(&self, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        self.root.join(ARCHIVES).join(&text[..2]).join(format!("{text}.zip"))
    }

    /// The tree of an archive. Its name is seen from inside sandboxes: it tells nothing but itself, to nobody who does
    /// not know the node's id, and is the same whenever the tree is unpacked again.
    pub(super) fn tree(&self, digest: &Digest) -> PathBuf {
        let name = Sha256::new_with_prefix(b"sonagi tree name\n")
            .chain_update(&self.node)
            .chain_update(digest.as_bytes())
            .finalize();
        self.root.join(TREES).join(hex::encode(&name[..16]))
    }

    pub(super) fn manifest(&self, digest: &Digest) -> PathBuf {
        self.root.join(MANIFESTS).join(format!("{digest}.json"))
    }

    fn quarantined_archive(&self, digest: &Digest) -> PathBuf {
        self.root.join(QUARANTINE).join(format!("{digest}.zip"))
    }

    fn quarantined_tree(&self, digest: &Digest) -> PathBuf {
        self.root.join(QUARANTINE).join(format!("{digest}.tree"))
    }

    /// A path for something that is not complete yet.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY).join(durable::random_name())
    }

    /// Digests of all archives, and their bytes together. What is none is an interrupted writing, and removed.
    pub(super) fn archives(&self) -> Result<(Vec<Digest>, u64), ArtifactError> {
        let (mut digests, mut bytes) = (Vec::new(), 0);
        let root = self.root.join(ARCHIVES);
        for shard in list(&root)? {
            for path in list(&shard)? {
                let digest = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .and_then(|stem| stem.parse().ok());
                let Some(digest) = digest else {
                    remove(&path)?;
                    continue;
                };
                digests.push(digest);
                bytes += fs::symlink_metadata(&path).map_err(io_error("inspect", &path))?.len();
            }
        }
        Ok((digests, bytes))
    }

    fn sweep(&self, digests: &[Digest]) -> Result<(), ArtifactError> {
        for path in list(&self.root.join(TEMPORARY))? {
            remove(&path)?;
        }
        let kept: HashSet<PathBuf> = digests
            .iter()
            .flat_map(|digest| [self.tree(digest), self.manifest(digest)])
            .collect();
        for path in list(&self.root.join(TREES))?
            .into_iter()
            .chain(list(&self.root.join(MANIFESTS))?)
        {
            if !kept.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Whether a damaged archive was set aside.
    pub(super) fn is_quarantined(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let path = self.quarantined_archive(digest);
        path.try_exists().map_err(io_error("inspect", &path))
    }

    /// Sets a damaged archive aside, with its tree.
    pub(super) fn quarantine_archive(&self, digest: &Digest) -> Result<(), ArtifactError> {
        set_aside(&self.archive(digest), &self.quarantined_archive(digest))?;
        self.quarantine_tree(digest)
    }

    /// Sets a damaged tree aside. Nothing is lost: it can be unpacked again.
    pub(super) fn quarantine_tree(&self, digest: &Digest) -> Result<(), ArtifactError> {
        remove(&self.manifest(digest))?;
        set_aside(&self.tree(digest), &self.quarantined_tree(digest))
    }

    /// Removes what was set aside of an artifact.
    pub(super) fn clear_quarantine(&self, digest: &Digest) -> Result<(), ArtifactError> {
        remove(&self.quarantined_archive(digest))?;
        remove(&self.quarantined_tree(digest))
    }

    /// Removes everything of an artifact. The archive goes first: what is left after a crash is swept.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        for path in [self.archive(digest), self.manifest(digest), self.tree(digest)] {
            remove(&path)?;
        }
        self.clear_quarantine(digest)
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(io_error("list", folder))
}

/// Removes a file, or a folder with what is in it; what is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), ArtifactError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Moves something into quarantine, in place of what of the same artifact is there already.
fn set_aside(path: &Path, target: &Path) -> Result<(), ArtifactError> {
    remove(target)?;
    match fs::rename(path, target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("quarantine", path)(error)),
        Err(_) | Ok(()) => Ok(()),
    }
}
