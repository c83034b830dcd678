//! The files of bodies: where they are, how many bytes they have in all, and how they go.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use sonagi_ports::{Entropy, SystemEntropy};

use crate::error::{Doing, Error, of_file};
use crate::pins::Pins;

/// The folder of bodies, with 256 folders in it.
#[derive(Debug)]
pub(crate) struct Bodies {
    root: PathBuf,
    /// Locked by whoever copies all files: none goes meanwhile.
    hold: File,
    bytes: AtomicU64,
    limit: u64,
    pub(crate) pins: Pins,
}

impl Bodies {
    /// Opens or makes the folder.
    pub(crate) fn open(root: PathBuf, limit: u64) -> Result<Self, Error> {
        for shard in 0..=255_u8 {
            let folder = root.join(format!("{shard:02x}"));
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(of_file("create", folder))?;
        }
        sync(&root).map_err(of_file("flush", &root))?;
        let path = root.join("hold");
        let hold = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(of_file("open", path))?;
        Ok(Self {
            root,
            hold,
            bytes: AtomicU64::new(0),
            limit,
            pins: Pins::default(),
        })
    }

    /// A fresh name.
    pub(crate) fn name() -> String {
        let mut bytes = [0; 16];
        SystemEntropy::new().fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Where a body is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let shard = name.get(..2).unwrap_or("00");
        self.root.join(shard).join(name)
    }

    /// Counts bytes that are about to be written.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if held.saturating_add(bytes) > self.limit {
            self.release(bytes);
            return Err(Error::Busy {
                what: "the object store",
                limit: self.limit,
            });
        }
        Ok(())
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stored(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Removes the files of dead bodies that nobody reads; those that are left are returned.
    pub(crate) fn remove(&self, names: Vec<String>) -> (Vec<String>, Vec<String>) {
        let locked = rustix::fs::flock(&self.hold, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok();
        if !locked {
            return (Vec::new(), names);
        }
        let (gone, left) = names.into_iter().partition(|name| {
            self.pins.unless_pinned(name, || {
                let path = self.path(name);
                let size = fs::metadata(&path).map_or(0, |found| found.size());
                match fs::remove_file(&path) {
                    Ok(()) => {
                        self.release(size);
                        true
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                    Err(error) => {
                        tracing::warn!(%error, path = %path.display(), "a body that nobody needs stays");
                        false
                    }
                }
            })
        });
        // Fails only when it is not locked.
        let _ = rustix::fs::flock(&self.hold, rustix::fs::FlockOperation::Unlock);
        (gone, left)
    }

    /// Removes what a crash left, and counts what is there.
    pub(crate) fn sweep(&self, index: &Connection) -> Result<(), Error> {
        const SWEEP: &str = "sweep bodies";
        let mut known = HashSet::new();
        {
            let mut statement = index.prepare("SELECT name, size FROM bodies").doing(SWEEP)?;
            let mut rows = statement.query([]).doing(SWEEP)?;
            let mut bytes = 0_u64;
            while let Some(row) = rows.next().doing(SWEEP)? {
                known.insert(row.get::<_, String>(0).doing(SWEEP)?);
                bytes = bytes.saturating_add(u64::try_from(row.get::<_, i64>(1).doing(SWEEP)?).unwrap_or(0));
            }
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        for shard in 0..=255_u8 {
            let folder = self.root.join(format!("{shard:02x}"));
            for entry in fs::read_dir(&folder).map_err(of_file("list", &folder))? {
                let entry = entry.map_err(of_file("list", &folder))?;
                if entry.file_name().to_str().is_none_or(|name| !known.contains(name)) {
                    fs::remove_file(entry.path()).map_err(of_file("remove", entry.path()))?;
                }
            }
        }
        index.execute("DELETE FROM dead", []).doing(SWEEP).map(drop)
    }
}

/// Flushes a folder's entries to disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
