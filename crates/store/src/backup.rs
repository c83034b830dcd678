//! Backups: a folder with everything that cannot be made again, of one moment, taken while the platform works; and the way
//! back into an empty state directory.
//!
//! The database is copied by `VACUUM INTO`, one read transaction that writes do not disturb (the online backup interface
//! begins again whenever another connection writes, and never ends under load). Files that the copy names are not removed
//! until they are copied too; files that came later are surplus, and swept by the first start. A manifest with the digest
//! of each file is written last: without it, a folder is no backup.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sonagi_ports::StoreError;

use crate::StateDir;
use crate::artifacts::Artifacts;
use crate::database::Database;
use crate::durable;
use crate::keys::{KEY_FILE, KeyError, MasterKey, NEXT_KEY_FILE};
use crate::ledger::Ledger;

/// The file that makes a folder a backup.
const MANIFEST: &str = "backup.json";
/// Format of backups that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// Files of the state directory that belong to one process or one node, or are copied otherwise.
const NOT_COPIED: &[&str] = &[
    "lock",
    "node",
    "endpoint",
    "sonagi.db",
    "sonagi.db-wal",
    "sonagi.db-shm",
    "ballast",
    KEY_FILE,
    NEXT_KEY_FILE,
];
/// Folders whose files are copied as they are: contents of events, of objects, archives of code, output of functions.
const FOLDERS: &[&str] = &["bodies", "objects/bodies", "artifacts/sha256", "logs"];
/// Databases, by their paths. Objects come before events: what a change of an object tells is either still with the object,
/// or among the events, or in both and then accepted once.
const DATABASES: &[&str] = &["objects/index.db", "sonagi.db", "archive/archive.db"];
/// While this file is locked no content of an object is removed.
const OBJECTS_HOLD: &str = "objects/bodies/hold";

/// A backup could not be made, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder is not what is needed.
    #[error("{} {what}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file of the backup is not what was written.
    #[error("{} is damaged: its digest is not the one in {MANIFEST}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key that the backup is sealed with was not given.
    #[error(
        "{} is sealed with key {id}, which is not in it; hint: name its file with --key-file (master.key of the state \
         directory that it was made from, unless that had another)", path.display())]
    NoKey {
        /// The backup.
        path: PathBuf,
        /// The key's name.
        id: String,
    },
    /// The key that was given is another one, or cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A database could not be copied.
    #[error("copy the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory could not be used.
    #[error(transparent)]
    StateDir(#[from] crate::StateDirError),
}

/// What a backup has, or what was restored from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupReport {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The name of the key that its secrets are sealed with, which is not in the backup.
    pub key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: String,
    size: u64,
    sha256: String,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes backups of an open store.
#[derive(Debug, Clone)]
pub struct Backup {
    pub(crate) dir: PathBuf,
    pub(crate) key: String,
    pub(crate) database: Arc<Database>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) artifacts: Arc<Artifacts>,
}

impl Backup {
    /// Writes a backup into `target`, a folder that is empty or not there yet. What was acknowledged before the call is
    /// in it.
    ///
    /// # Errors
    /// [`BackupError`]; what was written until then stays, and is no backup.
    pub async fn write(&self, target: &Path) -> Result<BackupReport, BackupError> {
        self.ledger.flush().await?;
        let _artifacts = self.artifacts.hold().await;
        let _bodies = self.database.bodies().hold();
        let (dir, key, target) = (self.dir.clone(), self.key.clone(), target.to_owned());
        let written = tokio::task::spawn_blocking(move || write(&dir, key, &target)).await;
        written.map_err(|_| StoreError::Closed)?
    }
}

fn write(dir: &Path, key: String, target: &Path) -> Result<BackupReport, BackupError> {
    make_empty(target)?;
    let _objects = hold_objects(dir)?;
    let mut files = Vec::new();
    for database in DATABASES {
        let (from, to) = (dir.join(database), target.join(database));
        if from.exists() {
            make_parent(&to)?;
            copy_database(&from, &to)?;
            files.push(entry(&to, database)?);
        }
    }
    for path in top_level(dir)?.into_iter().chain(below(dir)?) {
        let to = target.join(&path);
        make_parent(&to)?;
        if let Some(entry) = copy(&dir.join(&path), &to, &path)? {
            files.push(entry);
        }
    }
    let report = report(&files, Some(key.clone()));
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        key: Some(key),
        files,
    };
    flush_folders(target)?;
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::Folder {
        path: target.to_owned(),
        what: format!("has no manifest: {error}"),
    })?;
    let path = target.join(MANIFEST);
    durable::replace(&path, &text).map_err(io_error("write", &path))?;
    Ok(report)
}

/// Keeps contents of objects where they are until it is dropped; nothing where there are none.
fn hold_objects(dir: &Path) -> Result<Option<fs::File>, BackupError> {
    let path = dir.join(OBJECTS_HOLD);
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &path)(error)),
    };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| io_error("lock", &path)(error.into()))?;
    Ok(Some(file))
}

fn report(files: &[Entry], key: Option<String>) -> BackupReport {
    BackupReport {
        key,
        files: files.len(),
        bytes: files.iter().map(|file| file.size).sum(),
    }
}

fn make_empty(path: &Path) -> Result<(), BackupError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error("create", path)(error)),
    }
    let mut entries = fs::read_dir(path).map_err(io_error("list", path))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::Folder {
            path: path.to_owned(),
            what: "is not empty".to_owned(),
        }),
    }
}

fn make_parent(path: &Path) -> Result<(), BackupError> {
    let parent = durable::parent(path).map_err(io_error("name", path))?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(io_error("create", parent))
}

/// Copies a database as it is at one moment, whoever writes to it meanwhile.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Database {
        path: from.to_owned(),
        source,
    };
    let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    connection
        .busy_timeout(std::time::Duration::from_secs(30))
        .map_err(failed)?;
    let name = to.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [name.as_ref()]).map_err(failed)?;
    rustix::fs::chmod(to, rustix::fs::Mode::from_raw_mode(0o600))
        .map_err(|error| io_error("protect", to)(error.into()))?;
    let file = fs::File::open(to).and_then(|file| file.sync_all());
    file.map_err(io_error("flush", to))
}

/// Plain files of the state directory itself.
fn top_level(dir: &Path) -> Result<Vec<String>, BackupError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let entry = entry.map_err(io_error("list", dir))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if let Ok(name) = entry.file_name().into_string()
            && is_file
            && !NOT_COPIED.contains(&name.as_str())
            && !durable::is_temporary(name.as_ref())
        {
            found.push(name);
        }
    }
    Ok(found)
}

/// Files of the folders that are copied, by their paths in the state directory.
fn below(dir: &Path) -> Result<Vec<String>, BackupError> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| dir.join(name)).collect();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("list", &folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(io_error("list", &folder))?;
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                folders.push(path);
            } else if kind.is_ok_and(|kind| kind.is_file())
                && !durable::is_temporary(&entry.file_name())
                && let Some(name) = path.strip_prefix(dir).ok().and_then(Path::to_str)
            {
                found.push(name.to_owned());
            }
        }
    }
    Ok(found)
}

/// Copies and flushes a file; `None`: it is gone, as output of functions may be.
fn copy(from: &Path, to: &Path, name: &str) -> Result<Option<Entry>, BackupError> {
    let mut source = match fs::File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", from)(error)),
    };
    let target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut target = target.map_err(io_error("create", to))?;
    let (size, sha256) = pour(&mut source, &mut target).map_err(io_error("copy to", to))?;
    target.sync_all().map_err(io_error("flush", to))?;
    Ok(Some(Entry {
        path: name.to_owned(),
        size,
        sha256,
    }))
}

/// Copies everything; its size and digest.
fn pour(source: &mut impl io::Read, target: &mut impl io::Write) -> io::Result<(u64, String)> {
    let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; 256 * 1024], 0);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, hex::encode(hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

fn entry(path: &Path, name: &str) -> Result<Entry, BackupError> {
    let mut file = fs::File::open(path).map_err(io_error("read", path))?;
    let (size, sha256) = pour(&mut file, &mut io::sink()).map_err(io_error("read", path))?;
    Ok(Entry {
        path: name.to_owned(),
        size,
        sha256,
    })
}

fn flush_folders(root: &Path) -> Result<(), BackupError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(io_error("list", &folder))? {
            let entry = entry.map_err(io_error("list", &folder))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
        durable::sync_folder(&folder).map_err(io_error("flush", &folder))?;
    }
    Ok(())
}

/// Fills an empty (or new) state directory from a backup, and puts the key of its secrets into it. The node gets an
/// identity of its own. Blocks on the disk.
///
/// # Errors
/// [`BackupError`]: no backup, a damaged or a newer one, no key or another one, or a target that is not empty.
pub fn restore(backup: &Path, target: &Path, key: Option<&Path>) -> Result<BackupReport, BackupError> {
    let manifest = read_manifest(backup)?;
    let key = manifest
        .key
        .as_ref()
        .map(|id| needed_key(backup, id, key))
        .transpose()?;
    make_empty(target)?;
    let dir = StateDir::open(target)?;
    for file in &manifest.files {
        let (from, to) = (backup.join(&file.path), dir.path().join(&file.path));
        make_parent(&to)?;
        let copied = copy(&from, &to, &file.path)?;
        if copied.is_none_or(|copied| (copied.size, &copied.sha256) != (file.size, &file.sha256)) {
            return Err(BackupError::Damaged { path: from });
        }
    }
    if let Some(key) = key {
        key.write(&dir, KEY_FILE)?;
    }
    flush_folders(dir.path())?;
    Ok(report(&manifest.files, manifest.key))
}

/// The key of a backup, from the file that is said to have it.
fn needed_key(backup: &Path, id: &str, file: Option<&Path>) -> Result<MasterKey, BackupError> {
    let missing = || BackupError::NoKey {
        path: backup.to_owned(),
        id: id.to_owned(),
    };
    let file = file.ok_or_else(missing)?;
    let key = MasterKey::read(file)?.ok_or_else(missing)?;
    if key.id() != id {
        return Err(BackupError::Key(KeyError::Other {
            path: file.to_owned(),
            expected: id.to_owned(),
            found: key.id(),
        }));
    }
    Ok(key)
}

fn read_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    let path = backup.join(MANIFEST);
    let refuse = |what: String| BackupError::Folder {
        path: backup.to_owned(),
        what,
    };
    let mut text = String::new();
    let read = fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refuse(format!("is no backup: it has no {MANIFEST}")));
        }
        Err(error) => return Err(io_error("read", &path)(error)),
    }
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| refuse(format!("has a damaged {MANIFEST}: {error}")))?;
    if manifest.format > FORMAT {
        let what = format!(
            "has format {}, this program reads up to {FORMAT}: version {} wrote it",
            manifest.format, manifest.version
        );
        return Err(refuse(what));
    }
    let plain = |path: &str| {
        Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    match manifest.files.iter().find(|file| !plain(&file.path)) {
        Some(file) => Err(refuse(format!("names {:?}, which leads out of it", file.path))),
        None => Ok(manifest),
    }
}
