//! Where build results are kept, below one folder:
//!
//! - `layers/DIGEST/` – installed dependencies, by the digest of what they were made from; the newest [`LAYERS_MAX`] stay;
//! - `projects/DIGEST/` – build folders of Cargo projects, by path; the newest [`PROJECTS_MAX`] stay;
//! - `work/ID/` – builds under way; each holds a lock, so that what a killed build left is recognized and removed.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::BuildError;

const LAYERS_MAX: usize = 32;
const PROJECTS_MAX: usize = 8;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A folder of its own for one build, removed when this value goes.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    _lock: fs::File,
}

impl Work {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A folder that nobody else works in while this value lives.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    _lock: fs::File,
}

impl Held {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// Opens it, making it if need be, and removes what killed builds left.
    pub fn open(root: PathBuf) -> Result<Self, BuildError> {
        for folder in ["layers", "projects", "work"] {
            make(&root.join(folder))?;
        }
        let cache = Self { root };
        cache.sweep();
        Ok(cache)
    }

    /// A result made from the same input, if there is one.
    pub fn layer(&self, digest: &str) -> Option<PathBuf> {
        let path = self.root.join("layers").join(digest);
        let tree = path.join("tree");
        if !tree.is_dir() {
            return None;
        }
        touch(&path);
        Some(tree)
    }

    /// Keeps a result. It must be on the same file system, as folders of this cache are.
    pub fn keep_layer(&self, digest: &str, tree: &Path) -> Result<PathBuf, BuildError> {
        let path = self.root.join("layers").join(digest);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(BuildError::io("removing", &path))?;
        }
        make(&path)?;
        let target = path.join("tree");
        fs::rename(tree, &target).map_err(BuildError::io("keeping", &target))?;
        self.trim("layers", LAYERS_MAX, digest);
        Ok(target)
    }

    /// The build folder of a project, for this build alone; waits for another build of it to end.
    pub fn project(&self, digest: &str) -> Result<Held, BuildError> {
        let path = self.root.join("projects").join(digest);
        make(&path)?;
        let lock = lock(&path, FlockOperation::LockExclusive)?;
        touch(&path);
        self.trim("projects", PROJECTS_MAX, digest);
        Ok(Held { path, _lock: lock })
    }

    /// A new empty folder for a build.
    pub fn work(&self) -> Result<Work, BuildError> {
        let parent = self.root.join("work");
        let made = tempfile::Builder::new()
            .prefix("")
            .tempdir_in(&parent)
            .map_err(BuildError::io("making a folder in", &parent))?;
        let lock = lock(made.path(), FlockOperation::NonBlockingLockExclusive)?;
        Ok(Work {
            path: made.keep(),
            _lock: lock,
        })
    }

    /// Removes work folders whose build is gone.
    fn sweep(&self) {
        for path in children(&self.root.join("work")) {
            if lock(&path, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    /// Removes the folders that were used longest ago. One that is in use is left alone.
    fn trim(&self, kind: &str, keep: usize, newest: &str) {
        let mut found: Vec<(SystemTime, PathBuf)> = children(&self.root.join(kind))
            .filter(|path| !path.ends_with(newest))
            .map(|path| {
                (
                    fs::metadata(&path)
                        .and_then(|data| data.modified())
                        .unwrap_or(SystemTime::UNIX_EPOCH),
                    path,
                )
            })
            .collect();
        found.sort();
        for (_, path) in found.iter().take(found.len().saturating_sub(keep - 1)) {
            if lock(path, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

fn make(path: &Path) -> Result<(), BuildError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BuildError::io("making the folder", path))
}

fn lock(folder: &Path, operation: FlockOperation) -> Result<fs::File, BuildError> {
    let file = fs::File::open(folder).map_err(BuildError::io("opening", folder))?;
    flock(&file, operation).map_err(|error| BuildError::io("locking", folder)(error.into()))?;
    Ok(file)
}

/// Marks a folder as used now: its time of change is what eviction goes by.
fn touch(path: &Path) {
    let mark = path.join("used");
    if fs::write(&mark, b"").is_ok() {
        let _ = fs::remove_file(&mark);
    }
}

fn children(path: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// A digest over parts, each with its length, so that no two lists of parts give the same.
#[derive(Debug)]
pub struct Key(Sha256);

impl Key {
    /// Of this kind of build.
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).part(kind.as_bytes())
    }

    /// With one more part.
    pub fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// With a file's name and content; a file that is not there counts as empty.
    pub fn file(self, root: &Path, name: &str) -> Self {
        self.part(name.as_bytes())
            .part(&fs::read(root.join(name)).unwrap_or_default())
    }

    /// The digest.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_kept_and_the_oldest_go() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path().to_owned()).unwrap();
        for number in 0..LAYERS_MAX + 3 {
            let work = cache.work().unwrap();
            fs::create_dir(work.path().join("tree")).unwrap();
            cache
                .keep_layer(&format!("{number:064}"), &work.path().join("tree"))
                .unwrap();
        }
        assert_eq!(children(&root.path().join("layers")).count(), LAYERS_MAX);
        assert!(cache.layer(&format!("{:064}", LAYERS_MAX + 2)).is_some());
        assert!(cache.layer("unknown").is_none());
        assert_eq!(
            children(&root.path().join("work")).count(),
            0,
            "work folders go with their builds"
        );
    }

    #[test]
    fn leftovers_of_killed_builds_go_and_those_at_work_stay() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path().to_owned()).unwrap();
        fs::create_dir(root.path().join("work/dead")).unwrap();
        let alive = cache.work().unwrap();
        let _second = Cache::open(root.path().to_owned()).unwrap();
        assert!(alive.path().exists());
        assert!(!root.path().join("work/dead").exists());
    }

    #[test]
    fn keys_differ_where_input_differs() {
        let key = |parts: &[&str]| {
            parts
                .iter()
                .fold(Key::new("x"), |key, part| key.part(part.as_bytes()))
                .finish()
        };
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
    }
}
