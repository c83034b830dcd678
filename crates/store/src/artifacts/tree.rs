//! Looks at an unpacked tree on disk: its stamps, or every byte of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use sonagi_model::Digest;

use super::manifest::{Content, Leaf, Manifest, Stamp};

/// Bytes hashed at a time.
const BUFFER: usize = 128 * 1024;

/// Why a tree is not what was recorded, in words for operators.
pub(super) type Difference = String;

/// Stamps of the root and of each leaf as they are now; an error of kind `NotFound` where something is missing.
pub(super) fn stamps(root: &Path, leaves: &[Leaf]) -> io::Result<(Stamp, Vec<Stamp>)> {
    let folder = open_root(root)?;
    let own = Stamp::of(&rustix::fs::fstat(&folder)?);
    let stamps = leaves
        .iter()
        .map(|leaf| stamp(&folder, &leaf.path))
        .collect::<io::Result<_>>()?;
    Ok((own, stamps))
}

/// Whether root and leaves have the stamps recorded. Folders are among them, and adding or removing a file changes the
/// stamp of its folder, so files too many are found as well.
pub(super) fn is_untouched(root: &Path, manifest: &Manifest) -> io::Result<bool> {
    let folder = open_root(root)?;
    if Stamp::of(&rustix::fs::fstat(&folder)?) != manifest.root {
        return Ok(false);
    }
    for (leaf, recorded) in manifest.leaves.iter().zip(&manifest.stamps) {
        match stamp(&folder, &leaf.path) {
            Ok(stamp) if stamp == *recorded => {}
            Ok(_) => return Ok(false),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

fn stamp(folder: &OwnedFd, path: &str) -> io::Result<Stamp> {
    Ok(Stamp::of(&rustix::fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Everything that is in a tree, every byte hashed, in order of paths; or what has no place in one.
pub(super) fn survey(root: &Path) -> io::Result<Result<Vec<Leaf>, Difference>> {
    let mut leaves = Vec::new();
    let mut folders = vec![String::new()];
    let owner = rustix::process::geteuid().as_raw();
    let mut buffer = vec![0; BUFFER];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let Ok(name) = std::str::from_utf8(entry.file_name().as_bytes()).map(str::to_owned) else {
                return Ok(Err(format!("{:?} in {folder:?} is unexpected", entry.file_name())));
            };
            let path = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            // Of the entry itself, never of what a link leads to.
            let metadata = entry.metadata()?;
            if metadata.uid() != owner {
                return Ok(Err(format!("{path:?} belongs to uid {}", metadata.uid())));
            }
            let Some(content) = content(&root.join(&path), &metadata, &mut buffer)? else {
                return Ok(Err(format!("{path:?} is of a kind that no tree has")));
            };
            if content == Content::Folder {
                folders.push(path.clone());
            }
            leaves.push(Leaf {
                path,
                mode: metadata.mode() & 0o7777,
                content,
            });
        }
    }
    leaves.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Ok(leaves))
}

fn content(path: &Path, metadata: &fs::Metadata, buffer: &mut [u8]) -> io::Result<Option<Content>> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(Some(Content::Folder));
    }
    if kind.is_symlink() {
        let target = fs::read_link(path)?;
        return Ok(target.to_str().map(|target| Content::Link {
            target: target.to_owned(),
        }));
    }
    if !kind.is_file() {
        return Ok(None);
    }
    let no_follow = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)?;
    let (size, sha256) = hash_file(file, buffer)?;
    Ok(Some(Content::File { size, sha256 }))
}

/// Length and digest of what is left of a file.
pub(super) fn hash_file(mut file: File, buffer: &mut [u8]) -> io::Result<(u64, Digest)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((size, Digest::from_bytes(hash.finalize().into()))),
            Ok(count) => {
                hash.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first path at which two trees differ, in words.
pub(super) fn difference(expected: &[Leaf], found: &[Leaf]) -> Difference {
    let differing = expected.iter().zip(found).find(|(expected, found)| expected != found);
    match (differing, expected.len().cmp(&found.len())) {
        (Some((expected, found)), _) if expected.path == found.path => format!("{:?} was changed", expected.path),
        (Some((expected, found)), _) if expected.path < found.path => format!("{:?} is gone", expected.path),
        (Some((_, found)), _) => format!("{:?} is unexpected", found.path),
        (None, std::cmp::Ordering::Less) => format!("{:?} is unexpected", found[expected.len()].path),
        (None, std::cmp::Ordering::Greater) => format!("{:?} is gone", expected[found.len()].path),
        (None, std::cmp::Ordering::Equal) => "the tree is another one than the revision's".to_owned(),
    }
}
