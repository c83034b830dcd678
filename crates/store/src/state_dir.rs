//! The one directory that holds everything the platform keeps: created, locked, and given its identity.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::durable;

/// Name of the lock file; its presence marks a directory as ours.
const LOCK: &str = "lock";
/// Name of the file with the node's id.
const NODE: &str = "node";

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process uses it.
    #[error("state directory {} is in use by {}", path.display(), holder(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as it is known.
        pid: Option<u32>,
    },
    /// It holds other things, and tightening its permissions or writing into it could do harm.
    #[error("{} is not empty and is no state directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error("state directory {} belongs to uid {owner}, not to uid {uid}", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Its node id is damaged.
    #[error("{} does not hold a node id (32 hexadecimal digits)", path.display())]
    Node {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
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
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// The state directory, locked for this process until dropped.
///
/// The lock belongs to the open file description: a child forked (not executed) while this value lives would hold it
/// too, so helpers are to be forked before. All methods block on the file system and are meant for start-up.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    node: String,
    _lock: File,
}

impl StateDir {
    /// Creates the directory if it is missing (mode 0700, parents as the umask says), locks it, and reads or makes the
    /// node's id. An existing directory must be empty or ours.
    ///
    /// # Errors
    /// [`StateDirError`]; [`StateDirError::InUse`] when another process has it.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let path = prepare(path)?;
        let lock = lock(&path)?;
        sweep(&path)?;
        let node = node(&path)?;
        Ok(Self {
            path,
            node,
            _lock: lock,
        })
    }

    /// The directory, absolute and without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This node's identity: 32 hexadecimal digits, made once at random.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Replaces the file `name` in the directory as a whole, durably, readable by its owner only (0600).
    ///
    /// # Errors
    /// [`StateDirError::Io`], also when `name` is not a plain file name.
    pub fn write_private(&self, name: &str, content: &[u8]) -> Result<PathBuf, StateDirError> {
        let target = self.file(name)?;
        durable::replace(&target, content).map_err(io_error("write", &target))?;
        Ok(target)
    }

    /// The content of the file `name` in the directory; `None` if there is none.
    ///
    /// # Errors
    /// [`StateDirError::Io`], also when `name` is not a plain file name.
    pub fn read_private(&self, name: &str) -> Result<Option<Vec<u8>>, StateDirError> {
        read_optional(&self.file(name)?)
    }

    fn file(&self, name: &str) -> Result<PathBuf, StateDirError> {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name);
        let target = self.path.join(name);
        if plain {
            return Ok(target);
        }
        Err(StateDirError::Io {
            action: "name",
            path: target,
            source: io::ErrorKind::InvalidInput.into(),
        })
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    move |source| StateDirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StateDirError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Makes the directory if needed, and makes sure that it is ours alone.
fn prepare(path: &Path) -> Result<PathBuf, StateDirError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => durable::sync_parent(path).map_err(io_error("flush the folder of", path))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error("create", path)(error)),
    }
    let path = fs::canonicalize(path).map_err(io_error("resolve", path))?;
    let metadata = fs::metadata(&path).map_err(io_error("inspect", &path))?;
    let (owner, uid) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != uid {
        return Err(StateDirError::Owner { path, owner, uid });
    }
    let mut entries = fs::read_dir(&path).map_err(io_error("list", &path))?;
    if entries.next().is_some() && !path.join(LOCK).exists() {
        return Err(StateDirError::Foreign { path });
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io_error("protect", &path))?;
    }
    Ok(path)
}

fn lock(path: &Path) -> Result<File, StateDirError> {
    let lock_path = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(io_error("open", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(StateDirError::InUse {
                path: path.to_owned(),
                pid,
            });
        }
        Err(error) => return Err(io_error("lock", &lock_path)(error.into())),
    }
    file.set_len(0).map_err(io_error("write", &lock_path))?;
    writeln!(file, "{}", std::process::id()).map_err(io_error("write", &lock_path))?;
    Ok(file)
}

/// Removes what an interrupted writing left.
fn sweep(path: &Path) -> Result<(), StateDirError> {
    for entry in fs::read_dir(path).map_err(io_error("list", path))? {
        let entry = entry.map_err(io_error("list", path))?;
        if durable::is_temporary(&entry.file_name()) {
            fs::remove_file(entry.path()).map_err(io_error("remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn node(path: &Path) -> Result<String, StateDirError> {
    let file = path.join(NODE);
    if let Some(content) = read_optional(&file)? {
        let text = String::from_utf8(content).unwrap_or_default();
        let id = text.trim();
        let valid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if valid {
            Ok(id.to_owned())
        } else {
            Err(StateDirError::Node { path: file })
        };
    }
    let id = durable::random_name();
    durable::replace(&file, format!("{id}\n").as_bytes()).map_err(io_error("write", &file))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_created_private_and_keeps_its_node_id() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b");
        let first = StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let node = first.node().to_owned();
        let written = first.write_private("credentials", b"secret").unwrap();
        assert_eq!(fs::metadata(&written).unwrap().mode() & 0o777, 0o600);
        drop(first);
        let second = StateDir::open(&path).unwrap();
        assert_eq!(second.node(), node);
        assert_eq!(
            second.read_private("credentials").unwrap().as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(second.read_private("nothing").unwrap(), None);
        for bad in ["../x", "a/b", "", ".", ".."] {
            assert!(second.write_private(bad, b"").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_second_opener_is_refused_with_directory_and_pid() {
        let temporary = tempfile::tempdir().unwrap();
        let first = StateDir::open(temporary.path()).unwrap();
        let refused = StateDir::open(temporary.path()).unwrap_err().to_string();
        let expected = format!(
            "state directory {} is in use by process {}",
            first.path().display(),
            std::process::id()
        );
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_directory_with_other_things_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(temporary.path().join("thesis.txt"), "").unwrap();
        assert!(matches!(
            StateDir::open(temporary.path()),
            Err(StateDirError::Foreign { .. })
        ));
        assert_eq!(fs::metadata(temporary.path()).unwrap().mode() & 0o777, 0o755);
    }
}
