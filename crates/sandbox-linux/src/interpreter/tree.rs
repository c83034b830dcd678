//! A folder tree made of copies of host files, to be mounted read-only into sandboxes.
//!
//! Copies, not links or mounts of the originals: few mounts make a fast start, a tree holds exactly what was chosen, and
//! a kernel bug that lets a function write into the page cache of a read-only file (there were several) reaches the
//! copy, never a file that the host itself executes. Times are kept, because compiled Python files carry those of their
//! sources. Set-user-id bits are not.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Nothing deeper is copied: a loop of links ends.
const DEEPEST: usize = 32;

/// What a tree will hold, by path below its root.
#[derive(Debug, Default)]
pub(super) struct Plan {
    items: BTreeMap<PathBuf, Item>,
}

#[derive(Debug, Clone)]
enum Item {
    File {
        source: PathBuf,
        facts: Facts,
        executable: bool,
    },
    Link(PathBuf),
    Folder,
}

/// By these a file is known not to have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    size: u64,
    seconds: i64,
    nanos: i64,
    inode: u64,
}

impl Facts {
    fn of(found: &fs::Metadata) -> Self {
        Self {
            size: found.size(),
            seconds: found.mtime(),
            nanos: found.mtime_nsec(),
            inode: found.ino(),
        }
    }
}

impl Plan {
    /// Adds a copy of a file, or of what a link leads to. One that does not exist is an error.
    pub(super) fn file(&mut self, source: &Path, target: impl Into<PathBuf>) -> io::Result<()> {
        let found = fs::metadata(source)?;
        if !found.is_file() {
            return Err(io::Error::other(format!("{} is no regular file", source.display())));
        }
        let executable = found.permissions().mode() & 0o111 != 0;
        let item = Item::File {
            source: source.to_path_buf(),
            facts: Facts::of(&found),
            executable,
        };
        self.items.insert(target.into(), item);
        Ok(())
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, target: impl Into<PathBuf>, to: impl Into<PathBuf>) {
        self.items.entry(target.into()).or_insert(Item::Link(to.into()));
    }

    /// Adds an empty folder.
    pub(super) fn folder(&mut self, target: impl Into<PathBuf>) {
        self.items.entry(target.into()).or_insert(Item::Folder);
    }

    /// Adds everything below a folder for whose path (below `source`) `wanted` is true. Links become what they lead to;
    /// those that lead nowhere, devices and sockets are left out.
    pub(super) fn tree(&mut self, source: &Path, target: &Path, wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
        self.below(source, target, Path::new(""), wanted, 0)
    }

    fn below(
        &mut self,
        source: &Path,
        target: &Path,
        path: &Path,
        wanted: &dyn Fn(&Path) -> bool,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            return Ok(());
        }
        for entry in fs::read_dir(source.join(path))? {
            let path = path.join(entry?.file_name());
            let Ok(found) = fs::metadata(source.join(&path)) else {
                continue;
            };
            if !wanted(&path) {
                continue;
            }
            if found.is_dir() {
                self.below(source, target, &path, wanted, depth + 1)?;
            } else if found.is_file() {
                self.file(&source.join(&path), target.join(&path))?;
            }
        }
        Ok(())
    }

    /// Whether something is at this path.
    pub(super) fn has(&self, target: &Path) -> bool {
        self.items.contains_key(target)
    }

    /// Source files.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Path> {
        self.items.values().filter_map(|item| match item {
            Item::File { source, .. } => Some(source.as_path()),
            Item::Link(_) | Item::Folder => None,
        })
    }

    /// A name for the tree that changes with everything in it.
    pub(super) fn name(&self) -> String {
        let mut hash = Sha256::new();
        for (path, item) in &self.items {
            hash.update(format!("{path:?} {item:?}\n"));
        }
        hex::encode(&hash.finalize()[..12])
    }

    /// As [`Plan::build`], with everything one folder further down.
    pub(super) fn build_below(&self, folder: &Path, name: &str) -> io::Result<PathBuf> {
        let items = self
            .items
            .iter()
            .map(|(path, item)| (Path::new(name).join(path), item.clone()))
            .collect();
        Self { items }.build(folder)
    }

    /// Makes the tree below `folder` unless it is there in good order, and says where it is. Blocks for as long as
    /// copying takes.
    pub(super) fn build(&self, folder: &Path) -> io::Result<PathBuf> {
        let place = folder.join(self.name());
        if self.is_built(&place) {
            return Ok(place);
        }
        let draft = folder.join(format!("new-{}-{}", std::process::id(), self.name()));
        remove(&draft)?;
        fs::create_dir_all(&draft)?;
        for (path, item) in &self.items {
            item.make(&draft.join(path))?;
        }
        remove(&place)?;
        fs::rename(&draft, &place)?;
        Ok(place)
    }

    /// Whether every file has the size and time it should: after a crash of the host some may be cut.
    fn is_built(&self, place: &Path) -> bool {
        self.items.iter().all(|(path, item)| {
            let Ok(found) = fs::symlink_metadata(place.join(path)) else {
                return false;
            };
            match item {
                Item::File { facts, .. } => {
                    Facts {
                        inode: facts.inode,
                        ..Facts::of(&found)
                    } == *facts
                }
                Item::Link(_) => found.is_symlink(),
                Item::Folder => found.is_dir(),
            }
        })
    }
}

impl Item {
    fn make(&self, place: &Path) -> io::Result<()> {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        match self {
            Self::File { source, executable, .. } => {
                fs::copy(source, place)?;
                fs::set_permissions(
                    place,
                    fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }),
                )?;
                let modified = fs::metadata(source)?.modified()?;
                File::options()
                    .write(true)
                    .open(place)?
                    .set_times(FileTimes::new().set_modified(modified))
            }
            Self::Link(to) => symlink(to, place),
            Self::Folder => fs::create_dir_all(place),
        }
    }
}

/// Removes a tree of ours; one that is not there is fine.
pub(super) fn remove(place: &Path) -> io::Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_once_and_again_when_something_changed() {
        let (host, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = host.path();
        fs::create_dir(source.join("sub")).unwrap();
        fs::write(source.join("sub/tool"), "one").unwrap();
        fs::set_permissions(source.join("sub/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::write(source.join("unwanted"), "x").unwrap();
        symlink("/nowhere/at/all", source.join("dangling")).unwrap();
        symlink("sub/tool", source.join("link")).unwrap();
        let plan = || {
            let mut plan = Plan::default();
            plan.tree(source, Path::new("lib"), &|path| path != Path::new("unwanted"))
                .unwrap();
            plan.link("bin/tool", "../lib/sub/tool");
            plan.folder("empty");
            plan
        };
        let place = plan().build(state.path()).unwrap();
        assert_eq!(fs::read_to_string(place.join("bin/tool")).unwrap(), "one");
        assert_eq!(fs::read_to_string(place.join("lib/link")).unwrap(), "one");
        assert!(!place.join("lib/unwanted").exists() && place.join("empty").is_dir());
        let copied = fs::metadata(place.join("lib/sub/tool")).unwrap();
        assert_eq!(copied.permissions().mode() & 0o7777, 0o755);
        assert_eq!(
            copied.modified().unwrap(),
            fs::metadata(source.join("sub/tool")).unwrap().modified().unwrap()
        );

        // Untouched: the same files.
        assert_eq!(plan().build(state.path()).unwrap(), place);
        assert_eq!(fs::metadata(place.join("lib/sub/tool")).unwrap().ino(), copied.ino());
        // Cut by a crash: made again at the same place.
        fs::write(place.join("lib/sub/tool"), "").unwrap();
        assert_eq!(plan().build(state.path()).unwrap(), place);
        assert_eq!(fs::read_to_string(place.join("lib/sub/tool")).unwrap(), "one");
        // Changed on the host: another tree.
        fs::write(source.join("sub/tool"), "another").unwrap();
        assert_ne!(plan().build(state.path()).unwrap(), place);
    }
}
