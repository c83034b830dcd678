//! Tells when the files of a project change: inotify(7) on every folder that is not ignored, changes that come together
//! told once.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout_at};

use super::ignore::{Kind, Rules};

/// So long without a further change: whoever saves has finished.
const QUIET: Duration = Duration::from_millis(25);
/// Changes that never end are told after so long all the same.
const LONGEST: Duration = Duration::from_millis(150);
/// More folders than this are no project.
const FOLDERS_MAX: usize = 10_000;

/// A project cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// The system says no.
    #[error("{path} cannot be watched")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too much to watch.
    #[error("{path} has more than {FOLDERS_MAX} folders that are not ignored")]
    TooMany {
        /// The project.
        path: PathBuf,
    },
}

/// The files of a project, watched.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// The only file that matters, if the project is one file.
    only: Option<String>,
    /// Not a pipe, but it is read like one.
    events: Receiver,
    /// Relative paths of the folders that are watched, by the kernel's number.
    folders: HashMap<i32, String>,
    rules: Rules,
}

impl Tree {
    /// Begins to watch a folder with all that is below, or one file.
    pub(super) fn new(path: &Path) -> Result<Self, WatchError> {
        let failed = |source: io::Error| WatchError::Io {
            path: path.to_owned(),
            source,
        };
        let alone = fs::metadata(path).map_err(failed)?.is_file();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // Editors replace files: it is the folder that tells.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let root = if alone { parent.unwrap_or(Path::new(".")) } else { path };
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let events = events.map_err(|error| failed(error.into()))?;
        let mut tree = Self {
            root: root.to_owned(),
            only: name.filter(|_| alone),
            events: Receiver::from_file_unchecked(events.into()).map_err(failed)?,
            folders: HashMap::new(),
            rules: Rules::default(),
        };
        tree.scan()?;
        Ok(tree)
    }

    /// Watches what is there now, new folders too, and reads again what is ignored.
    fn scan(&mut self) -> Result<(), WatchError> {
        let mut rules = Rules::default();
        let mut found = HashMap::new();
        let mut open = vec![String::new()];
        while let Some(folder) = open.pop() {
            let path = self.root.join(&folder);
            let number = match self.add(&path) {
                Ok(number) => number,
                // It went away between its listing and now.
                Err(Errno::NOENT | Errno::NOTDIR) if !folder.is_empty() => continue,
                Err(error) => {
                    let source = error.into();
                    return Err(WatchError::Io { path, source });
                }
            };
            found.insert(number, folder.clone());
            if found.len() > FOLDERS_MAX {
                let path = self.root.clone();
                return Err(WatchError::TooMany { path });
            }
            if self.only.is_some() {
                break;
            }
            if let Ok(text) = fs::read_to_string(path.join(".gitignore")) {
                rules.read(&folder, &text);
            }
            open.extend(folders_in(&path, &folder, &rules));
        }
        // Whoever is not found any more is gone, and the kernel has forgotten it, or is ignored now: its changes are told
        // by a number that nobody knows.
        (self.folders, self.rules) = (found, rules);
        Ok(())
    }

    fn add(&self, path: &Path) -> Result<i32, Errno> {
        let what = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.events, path, what)
    }

    /// Waits until something has changed and nothing changes any more. Cancel safe.
    pub(super) async fn changed(&mut self) -> Result<(), WatchError> {
        while !self.event().await? {}
        let last = Instant::now() + LONGEST;
        loop {
            let quiet = (Instant::now() + QUIET).min(last);
            match timeout_at(quiet, self.event()).await {
                Ok(event) => drop(event?),
                Err(_elapsed) => break,
            }
        }
        self.scan()
    }

    /// Waits for events; whether one of them matters.
    async fn event(&self) -> Result<bool, WatchError> {
        let failed = |source| WatchError::Io {
            path: self.root.clone(),
            source,
        };
        self.events.readable().await.map_err(failed)?;
        let mut buffer = [0; 8192];
        match self.events.try_read(&mut buffer) {
            Ok(length) => Ok(changes(&buffer[..length]).any(|change| self.matters(&change))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn matters(&self, change: &Change) -> bool {
        if change.what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let Some(folder) = self.folders.get(&change.folder).filter(|_| !change.name.is_empty()) else {
            return false;
        };
        let name = &change.name;
        if let Some(only) = &self.only {
            return only == name;
        }
        let kind = if change.what.contains(ReadFlags::ISDIR) {
            Kind::Folder
        } else {
            Kind::File
        };
        !self.rules.ignores(&joined(folder, name), kind)
    }
}

/// Something changed in a folder.
struct Change {
    /// The kernel's number of it.
    folder: i32,
    what: ReadFlags,
    /// The name in it; empty: the folder itself.
    name: String,
}

/// Reads what the kernel wrote: number, kind, cookie and length of the name in the host's byte order, then the name, filled
/// with zeros. Source: inotify(7), "Reading events from an inotify file descriptor".
fn changes(mut bytes: &[u8]) -> impl Iterator<Item = Change> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<16>()?;
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (name, rest) = rest.split_at_checked(word(12) as usize)?;
        bytes = rest;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some(Change {
            folder: word(0).cast_signed(),
            what: ReadFlags::from_bits_retain(word(4)),
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
        })
    })
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Folders in a folder that are not ignored; links are not followed.
fn folders_in(path: &Path, folder: &str, rules: &Rules) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| joined(folder, &entry.file_name().to_string_lossy()))
        .filter(|below| !rules.ignores(below, Kind::Folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any change takes to be told.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn told(tree: &mut Tree) {
        let told = tokio::time::timeout(PATIENCE, tree.changed()).await;
        told.expect("a change is told").expect("the tree can be watched");
    }

    /// Whether nothing that was done so far is told: a later change is the first to be.
    async fn silent(tree: &mut Tree) {
        let waited = tokio::time::timeout(Duration::from_millis(200), tree.changed()).await;
        assert!(waited.is_err(), "nothing that matters has changed");
    }

    #[tokio::test]
    async fn every_way_to_save_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("app.py"), "1").unwrap();
        let mut tree = Tree::new(folder.path()).unwrap();
        silent(&mut tree).await;
        fs::write(at("app.py"), "2").unwrap();
        told(&mut tree).await;
        // As editors do it: another file, renamed over the old one.
        fs::write(at("app.py.new"), "3").unwrap();
        fs::rename(at("app.py.new"), at("app.py")).unwrap();
        told(&mut tree).await;
        silent(&mut tree).await;
        // New folders are watched as well, and what was in them at once.
        fs::create_dir_all(at("lib/deep")).unwrap();
        told(&mut tree).await;
        fs::write(at("lib/deep/one.py"), "x").unwrap();
        told(&mut tree).await;
        for number in 0..300 {
            fs::write(at(&format!("lib/f{number}.py")), "x").unwrap();
        }
        told(&mut tree).await;
        silent(&mut tree).await;
        fs::remove_dir_all(at("lib")).unwrap();
        told(&mut tree).await;
    }

    #[tokio::test]
    async fn what_is_ignored_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".git", "node_modules/a", "__pycache__", "out"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at(".gitignore"), "out/\n*.tmp\n").unwrap();
        let mut tree = Tree::new(folder.path()).unwrap();
        for name in [
            ".git/index",
            "node_modules/a/x.js",
            "__pycache__/a.pyc",
            "out/x",
            "a.tmp",
        ] {
            fs::write(at(name), "x").unwrap();
        }
        silent(&mut tree).await;
        fs::write(at(".gitignore"), "").unwrap();
        told(&mut tree).await;
        fs::write(at("out/x"), "y").unwrap();
        told(&mut tree).await;
    }

    #[tokio::test]
    async fn one_file_is_watched_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("one.py"), "1").unwrap();
        let mut tree = Tree::new(&at("one.py")).unwrap();
        fs::write(at("other.py"), "1").unwrap();
        silent(&mut tree).await;
        fs::write(at("x"), "2").unwrap();
        fs::rename(at("x"), at("one.py")).unwrap();
        told(&mut tree).await;
    }
}
