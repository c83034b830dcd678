//! What an unpacked tree consists of, and what its files looked like when they were hashed.

use std::io;
use std::path::Path;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sonagi_model::{ArtifactRef, Digest};

/// Mode of every folder.
pub(super) const FOLDER_MODE: u32 = 0o755;
/// Mode of a file that nobody may execute.
pub(super) const FILE_MODE: u32 = 0o644;
/// Mode of a file that everybody may execute.
pub(super) const PROGRAM_MODE: u32 = 0o755;
/// Mode that Linux gives every symbolic link.
const LINK_MODE: u32 = 0o777;

/// Version of the manifest's format.
const FORMAT: u32 = 1;

/// One path of a tree and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaf {
    /// Below the tree's root.
    pub(super) path: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// What it is.
    pub(super) content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    Folder,
    File { size: u64, sha256: Digest },
    Link { target: String },
}

impl Leaf {
    pub(super) const fn link(path: String, target: String) -> Self {
        Self {
            path,
            mode: LINK_MODE,
            content: Content::Link { target },
        }
    }

    /// Whether it can be opened and flushed; a link is flushed with its folder.
    pub(super) const fn is_flushable(&self) -> bool {
        matches!(self.content, Content::Folder | Content::File { .. })
    }
}

/// Digest of a tree: SHA-256 over a line of its own, then for each path in order of its bytes: a letter for what it is,
/// mode, length of the path, path, and for a file its SHA-256, for a link length and text of its target. Numbers are 32
/// bits, little-endian, lengths in front, so that no two trees have one text.
pub(super) fn tree_digest(leaves: &[Leaf]) -> Digest {
    let mut hash = Sha256::new_with_prefix(b"sonagi tree 1\n");
    let number = |number: usize| (u32::try_from(number).unwrap_or(u32::MAX)).to_le_bytes();
    for leaf in leaves {
        let kind = match leaf.content {
            Content::Folder => b'd',
            Content::File { .. } => b'f',
            Content::Link { .. } => b'l',
        };
        hash.update([kind]);
        hash.update(leaf.mode.to_le_bytes());
        hash.update(number(leaf.path.len()));
        hash.update(&leaf.path);
        match &leaf.content {
            Content::Folder => {}
            Content::File { sha256, .. } => hash.update(sha256.as_bytes()),
            Content::Link { target } => {
                hash.update(number(target.len()));
                hash.update(target);
            }
        }
    }
    Digest::from_bytes(hash.finalize().into())
}

/// Bytes of all files together.
pub(super) fn unpacked_size(leaves: &[Leaf]) -> u64 {
    leaves
        .iter()
        .map(|leaf| {
            if let Content::File { size, .. } = leaf.content {
                size
            } else {
                0
            }
        })
        .sum()
}

/// What tells that a file was touched: writing changes these, and no program can set them all back (the ctime).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    inode: u64,
    mode: u32,
    owner: u32,
    size: i64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner: stat.st_uid,
            size: stat.st_size,
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }

    /// Of the file itself, never of what a link leads to.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::lstat(path)?))
    }
}

/// The record of one artifact: its reference, and the stamps of its archive and of every path of its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) artifact: ArtifactRef,
    pub(super) archive: Stamp,
    pub(super) root: Stamp,
    pub(super) leaves: Vec<Leaf>,
    /// One per leaf.
    pub(super) stamps: Vec<Stamp>,
}

impl Manifest {
    pub(super) const fn new(
        artifact: ArtifactRef,
        archive: Stamp,
        root: Stamp,
        leaves: Vec<Leaf>,
        stamps: Vec<Stamp>,
    ) -> Self {
        Self {
            format: FORMAT,
            artifact,
            archive,
            root,
            leaves,
            stamps,
        }
    }

    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }

    /// Reads a stored manifest; `None`: it is not one of today's format, or not what its own digests say. It can be made
    /// again from the archive, so why does not matter.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        let whole = manifest.format == FORMAT
            && manifest.leaves.len() == manifest.stamps.len()
            && tree_digest(&manifest.leaves) == manifest.artifact.tree
            && unpacked_size(&manifest.leaves) == manifest.artifact.unpacked_size;
        whole.then_some(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: u32, byte: u8) -> Leaf {
        Leaf {
            path: path.to_owned(),
            mode,
            content: Content::File {
                size: 1,
                sha256: Digest::from_bytes([byte; 32]),
            },
        }
    }

    #[test]
    fn every_difference_of_trees_is_a_difference_of_digests() {
        let folder = Leaf {
            path: "a".to_owned(),
            mode: FOLDER_MODE,
            content: Content::Folder,
        };
        let link = |target: &str| Leaf::link("a".to_owned(), target.to_owned());
        let trees = [
            vec![],
            vec![folder.clone()],
            vec![file("a", FILE_MODE, 1)],
            vec![file("a", PROGRAM_MODE, 1)],
            vec![file("a", FILE_MODE, 2)],
            vec![file("b", FILE_MODE, 1)],
            vec![folder, file("a/b", FILE_MODE, 1)],
            vec![link("b")],
            vec![link("bc")],
        ];
        let digests: std::collections::HashSet<_> = trees.iter().map(|tree| tree_digest(tree)).collect();
        assert_eq!(digests.len(), trees.len());
    }

    /// The digest is pinned in revisions, so how it is made never changes.
    #[test]
    fn the_digest_of_a_tree_stays_what_it_was() {
        let tree = [file("a", FILE_MODE, 1), Leaf::link("b".to_owned(), "a".to_owned())];
        assert_eq!(
            tree_digest(&tree).to_string(),
            "3905bd3c3fd4a6c33df5326ece9594280dea4dcc9b14820f737200d7b570153b"
        );
    }
}
