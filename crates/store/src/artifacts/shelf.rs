//! One artifact at a time, on disk: storing, checking, unpacking again. Blocks; callers hold the artifact's lock for
//! everything that changes something.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use sonagi_crash::crash_point;
use sonagi_model::{ArchiveLimits, ArtifactRef, Digest};
use sonagi_ports::{ArtifactError, CodeTree, TreeCheck};
use subtle::ConstantTimeEq;

use super::manifest::{FOLDER_MODE, Leaf, Manifest, Stamp, tree_digest, unpacked_size};
use super::manifests::Manifests;
use super::places::{Places, io_error, remove};
use super::tree::{Difference, difference, hash_file, is_untouched, stamps, survey};
use super::unpack::unpack;
use crate::durable;

/// What a glance at a tree reads and looks at, at most.
const GLANCE_BYTES: u64 = 64 * 1024;
const GLANCE_FILES: usize = 32;
/// Trees up to this size are hashed at every start: that takes no longer than it is worth, and sees what stamps cannot.
const ALWAYS_HASHED: u64 = 256 * 1024;
/// Files of a tree that are flushed one by one; more are flushed together with whatever else the disk has to write.
const FLUSHED_ALONE: usize = 8;

/// What was found out about a tree without changing anything.
#[derive(Debug)]
pub(super) enum Finding {
    /// It may be run.
    Sound(CodeTree),
    /// It has to be unpacked from the archive.
    Absent,
    /// Every byte is right but its stamps are not those recorded.
    Touched,
    /// The archive's bytes are not those that were stored.
    ArchiveDamaged(Difference),
    /// The tree's bytes are not those that were hashed.
    TreeDamaged(Difference),
}

/// The artifacts' folders and what is known of them.
#[derive(Debug)]
pub(super) struct Shelf {
    places: Places,
    manifests: Manifests,
    bytes: AtomicU64,
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn same(one: &Digest, other: &Digest) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl Shelf {
    pub(super) fn new(places: Places, bytes: u64) -> Self {
        Self {
            places,
            manifests: Manifests::default(),
            bytes: AtomicU64::new(bytes),
        }
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    // === storing ===

    /// Stores an archive whose digest this is. Durable when it returns; of a refused one nothing stays.
    pub(super) fn put(
        &self,
        archive: &[u8],
        digest: Digest,
        limits: &ArchiveLimits,
    ) -> Result<ArtifactRef, ArtifactError> {
        if let Some(artifact) = self.known(archive, digest)? {
            return Ok(artifact);
        }
        let stored = self.is_stored(archive, digest)?;
        let temporary = self.places.temporary();
        let result = self.fresh_tree(archive, &temporary, limits).and_then(|leaves| {
            if !stored {
                self.store_archive(archive, digest)?;
            }
            self.shelve(archive, digest, &temporary, leaves)
        });
        if result.is_err() {
            // The first failure is the one to report; a leftover is swept at the next start.
            let _ = remove(&temporary);
        }
        let artifact = result?.artifact.clone();
        crash_point!("artifact/recorded");
        self.places.clear_quarantine(&digest)?;
        Ok(artifact)
    }

    /// The reference of an artifact that is here already, archive and tree as they should be.
    fn known(&self, archive: &[u8], digest: Digest) -> Result<Option<ArtifactRef>, ArtifactError> {
        let Some(manifest) = self.manifests.get(&self.places, &digest)? else {
            return Ok(None);
        };
        if !self.is_stored(archive, digest)? {
            return Ok(None);
        }
        match self.check(&manifest.artifact)? {
            Finding::Sound(_) => Ok(Some(manifest.artifact.clone())),
            Finding::Touched => {
                self.record(manifest.artifact.clone(), manifest.leaves.clone())?;
                Ok(Some(manifest.artifact.clone()))
            }
            Finding::Absent => Ok(None),
            Finding::ArchiveDamaged(what) | Finding::TreeDamaged(what) => {
                tracing::error!(%digest, what, "a damaged artifact is replaced by the same bytes, uploaded again");
                self.forget_tree(&digest)?;
                Ok(None)
            }
        }
    }

    /// Whether exactly these bytes are stored. Others under their digest are set aside.
    fn is_stored(&self, archive: &[u8], digest: Digest) -> Result<bool, ArtifactError> {
        let path = self.places.archive(&digest);
        match fs::read(&path) {
            Ok(stored) if stored == archive => Ok(true),
            Ok(_) => {
                self.set_archive_aside(&digest)?;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn store_archive(&self, archive: &[u8], digest: Digest) -> Result<(), ArtifactError> {
        let path = self.places.archive(&digest);
        let folder = durable::parent(&path).map_err(io_error("name", &path))?;
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        durable::replace_unlisted(&path, archive).map_err(io_error("write", &path))?;
        crash_point!("artifact/archived");
        self.bytes.fetch_add(archive.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Unpacks into a new folder and flushes what came out.
    fn fresh_tree(&self, archive: &[u8], path: &Path, limits: &ArchiveLimits) -> Result<Vec<Leaf>, ArtifactError> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(io_error("create", path))?;
        let leaves = unpack(archive, path, limits)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(FOLDER_MODE))
            .map_err(|error| io_error("protect", path)(error.into()))?;
        flush_tree(path, &leaves).map_err(io_error("flush", path))?;
        crash_point!("artifact/unpacked");
        Ok(leaves)
    }

    /// Moves an unpacked tree to its place and records it.
    fn shelve(
        &self,
        archive: &[u8],
        digest: Digest,
        from: &Path,
        leaves: Vec<Leaf>,
    ) -> Result<Arc<Manifest>, ArtifactError> {
        let path = self.places.tree(&digest);
        self.forget_tree(&digest)?;
        fs::rename(from, &path).map_err(io_error("move", from))?;
        self.flush_entries(&digest)?;
        let artifact = ArtifactRef {
            digest,
            size: archive.len() as u64,
            tree: tree_digest(&leaves),
            unpacked_size: unpacked_size(&leaves),
        };
        self.record(artifact, leaves)
    }

    /// Flushes the folders in which archive and tree were given their names. One after the other: the first carries the
    /// others along on a file system with a journal. The manifest comes later, so where it is, these are durable.
    fn flush_entries(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let (archive, tree) = (self.places.archive(digest), self.places.tree(digest));
        let shard = durable::parent(&archive).map_err(io_error("name", &archive))?;
        for path in [archive.as_path(), shard, tree.as_path()] {
            let flushed = durable::parent(path).and_then(durable::sync_folder);
            flushed.map_err(io_error("flush the folder of", path))?;
        }
        Ok(())
    }

    /// Takes the stamps of archive and tree as they are now into the manifest.
    fn record(&self, artifact: ArtifactRef, leaves: Vec<Leaf>) -> Result<Arc<Manifest>, ArtifactError> {
        let (archive, tree) = (
            self.places.archive(&artifact.digest),
            self.places.tree(&artifact.digest),
        );
        let archive = Stamp::read(&archive).map_err(io_error("inspect", &archive))?;
        let (root, stamps) = stamps(&tree, &leaves).map_err(io_error("inspect", &tree))?;
        let manifest = Manifest::new(artifact, archive, root, leaves, stamps);
        self.manifests.put(&self.places, manifest)
    }

    fn forget_tree(&self, digest: &Digest) -> Result<(), ArtifactError> {
        self.manifests.forget(digest);
        remove(&self.places.manifest(digest))?;
        remove(&self.places.tree(digest))
    }

    /// Removes everything of an artifact.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let path = self.places.archive(digest);
        let size = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        self.manifests.forget(digest);
        self.places.remove(digest)?;
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        Ok(())
    }

    /// Removes every artifact that is not among these: how many, and the bytes of their archives.
    pub(super) fn keep_only(&self, kept: &HashSet<Digest>) -> Result<(usize, u64), ArtifactError> {
        let (digests, _) = self.places.archives()?;
        let (before, mut removed) = (self.stored_bytes(), 0);
        for digest in digests.iter().filter(|digest| !kept.contains(digest)) {
            self.remove(digest)?;
            removed += 1;
        }
        Ok((removed, before - self.stored_bytes()))
    }

    // === checking ===

    /// The archive's bytes, their digest checked.
    pub(super) fn archive(&self, digest: &Digest) -> Result<Vec<u8>, ArtifactError> {
        let path = self.places.archive(digest);
        let archive = match fs::read(&path) {
            Ok(archive) => archive,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.gone(digest)?),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if same(&sha256(&archive), digest) {
            return Ok(archive);
        }
        self.set_archive_aside(digest)?;
        Err(damaged(digest, "the archive was changed".to_owned()))
    }

    fn gone(&self, digest: &Digest) -> Result<ArtifactError, ArtifactError> {
        if self.places.is_quarantined(digest)? {
            return Ok(damaged(digest, "the archive was changed".to_owned()));
        }
        Ok(ArtifactError::Missing(*digest))
    }

    fn set_archive_aside(&self, digest: &Digest) -> Result<(), ArtifactError> {
        tracing::error!(%digest, "a stored archive is damaged and set aside");
        let size = fs::symlink_metadata(self.places.archive(digest)).map_or(0, |metadata| metadata.len());
        self.manifests.forget(digest);
        self.places.quarantine_archive(digest)?;
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        Ok(())
    }

    /// The tree, if a look that takes tens of microseconds is enough to know that it is sound: a few files, and few bytes to
    /// hash. As strict as [`Shelf::check`], which has to look otherwise.
    pub(super) fn glance(&self, artifact: &ArtifactRef) -> Option<CodeTree> {
        let hashed = artifact.unpacked_size <= ALWAYS_HASHED;
        if hashed && artifact.unpacked_size > GLANCE_BYTES {
            return None;
        }
        let manifest = self.manifests.get(&self.places, &artifact.digest).ok()??;
        if manifest.leaves.len() > GLANCE_FILES || !same(&manifest.artifact.tree, &artifact.tree) {
            return None;
        }
        if Stamp::read(&self.places.archive(&artifact.digest)).ok()? != manifest.archive {
            return None;
        }
        if !hashed && !is_untouched(&self.places.tree(&artifact.digest), &manifest).ok()? {
            return None;
        }
        match self.check_tree(&manifest, false) {
            Ok(Finding::Sound(tree)) => Some(tree),
            Ok(Finding::Touched | Finding::Absent | Finding::ArchiveDamaged(_) | Finding::TreeDamaged(_)) | Err(_) => {
                None
            }
        }
    }

    /// Looks at archive and tree as they are now, without changing anything.
    pub(super) fn check(&self, artifact: &ArtifactRef) -> Result<Finding, ArtifactError> {
        let digest = &artifact.digest;
        let archive = self.places.archive(digest);
        let stamp = match Stamp::read(&archive) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.gone(digest)?),
            Err(error) => return Err(io_error("inspect", &archive)(error)),
        };
        let manifest = self.manifests.get(&self.places, digest)?;
        let Some(manifest) = manifest.filter(|manifest| same(&manifest.artifact.tree, &artifact.tree)) else {
            return Ok(Finding::Absent);
        };
        let mut touched = false;
        if stamp != manifest.archive {
            let (_, found) = File::open(&archive)
                .and_then(|file| hash_file(file, &mut vec![0; 128 * 1024]))
                .map_err(io_error("read", &archive))?;
            if !same(&found, digest) {
                return Ok(Finding::ArchiveDamaged("the archive was changed".to_owned()));
            }
            touched = true;
        }
        self.check_tree(&manifest, touched)
    }

    fn check_tree(&self, manifest: &Manifest, mut touched: bool) -> Result<Finding, ArtifactError> {
        let path = self.places.tree(&manifest.artifact.digest);
        let untouched = match is_untouched(&path, manifest) {
            Ok(untouched) => untouched,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Finding::Absent),
            Err(error) => return Err(io_error("inspect", &path)(error)),
        };
        touched |= !untouched;
        if !touched && manifest.artifact.unpacked_size > ALWAYS_HASHED {
            return Ok(Finding::Sound(CodeTree {
                path,
                check: TreeCheck::Manifest,
            }));
        }
        let leaves = match survey(&path) {
            Ok(Ok(leaves)) => leaves,
            Ok(Err(difference)) => return Ok(Finding::TreeDamaged(difference)),
            // It was there a moment ago: another check has found it damaged and set it aside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Finding::Absent),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if !same(&tree_digest(&leaves), &manifest.artifact.tree) {
            return Ok(Finding::TreeDamaged(difference(&manifest.leaves, &leaves)));
        }
        Ok(if touched {
            Finding::Touched
        } else {
            Finding::Sound(CodeTree {
                path,
                check: TreeCheck::Hashed,
            })
        })
    }

    /// Makes a tree sound if that can be done, looking at it again first. A damaged one is set aside and refused this
    /// time; the next call unpacks it anew.
    pub(super) fn mend(&self, artifact: &ArtifactRef) -> Result<CodeTree, ArtifactError> {
        let digest = &artifact.digest;
        match self.check(artifact)? {
            Finding::Sound(tree) => Ok(tree),
            Finding::Absent => self.unpack_again(artifact),
            Finding::Touched => {
                if let Some(manifest) = self.manifests.get(&self.places, digest)? {
                    self.record(artifact.clone(), manifest.leaves.clone())?;
                }
                Ok(CodeTree {
                    path: self.places.tree(digest),
                    check: TreeCheck::Hashed,
                })
            }
            Finding::ArchiveDamaged(what) => {
                self.set_archive_aside(digest)?;
                Err(damaged(digest, what))
            }
            Finding::TreeDamaged(what) => {
                tracing::error!(%digest, what, "an unpacked tree is damaged and set aside");
                self.manifests.forget(digest);
                self.places.quarantine_tree(digest)?;
                Err(damaged(digest, what))
            }
        }
    }

    fn unpack_again(&self, artifact: &ArtifactRef) -> Result<CodeTree, ArtifactError> {
        let digest = artifact.digest;
        let archive = self.archive(&digest)?;
        let path = self.places.tree(&digest);
        if let Ok(Ok(leaves)) = survey(&path)
            && same(&tree_digest(&leaves), &artifact.tree)
        {
            // Only its manifest is gone or of an older format. Instances may run from it, so it stays where it is.
            self.record(artifact.clone(), leaves)?;
            return Ok(CodeTree {
                path,
                check: TreeCheck::Hashed,
            });
        }
        // It was within the limits of its time. Its size is known, so nothing can grow beyond it.
        let limits = ArchiveLimits {
            packed: u64::MAX,
            unpacked: artifact.unpacked_size,
            entries: usize::MAX,
            ratio: u64::MAX,
            path_bytes: usize::MAX,
            depth: usize::MAX - 1,
        };
        let temporary = self.places.temporary();
        let shelved = self.fresh_tree(&archive, &temporary, &limits).and_then(|leaves| {
            if same(&tree_digest(&leaves), &artifact.tree) {
                self.shelve(&archive, digest, &temporary, leaves)
            } else {
                Err(damaged(
                    &digest,
                    "the archive holds another tree than the revision's".to_owned(),
                ))
            }
        });
        if shelved.is_err() {
            // The first failure is the one to report; a leftover is swept at the next start.
            let _ = remove(&temporary);
        }
        shelved.map(|_| CodeTree {
            path: self.places.tree(&digest),
            check: TreeCheck::Unpacked,
        })
    }
}

fn damaged(digest: &Digest, what: String) -> ArtifactError {
    ArtifactError::Damaged { digest: *digest, what }
}

/// Flushes files and folders of a tree to disk.
fn flush_tree(root: &Path, leaves: &[Leaf]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
    let folder = open(root)?;
    if leaves.len() > FLUSHED_ALONE {
        return Ok(rustix::fs::syncfs(&folder)?);
    }
    for leaf in leaves.iter().filter(|leaf| leaf.is_flushable()) {
        rustix::fs::fsync(open(&root.join(&leaf.path))?)?;
    }
    Ok(rustix::fs::fsync(&folder)?)
}
