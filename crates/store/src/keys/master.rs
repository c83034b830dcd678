//! The master key and its file: 64 hexadecimal digits, readable by its owner only.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::sealing::{DataKey, KEY_BYTES, SealError};
use crate::{StateDir, StateDirError, durable};

/// The file of the state directory that has the key unless another file is named.
pub(crate) const KEY_FILE: &str = "master.key";
/// The key that takes its place, while they are being exchanged.
pub(crate) const NEXT_KEY_FILE: &str = "master.key.next";

/// Where the master key is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeySource {
    /// `master.key` in the state directory, made when there is none and nothing is sealed yet.
    #[default]
    StateDir,
    /// A file elsewhere, which must be there.
    File(PathBuf),
}

/// The master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error("{} is not there, and what is stored is sealed with key {id}; hint: put the key back, or name its file with --key-file", path.display())]
    Missing {
        /// Its file.
        path: PathBuf,
        /// The key that is needed.
        id: String,
    },
    /// Others may read it.
    #[error("{} may be read by others (mode {mode:04o}); hint: chmod 600", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to uid {owner}, not to uid {uid} or to root", path.display())]
    Owner {
        /// Its file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// It is no key.
    #[error("{} is no key: 64 hexadecimal digits; hint: openssl rand -hex 32", path.display())]
    Form {
        /// Its file.
        path: PathBuf,
    },
    /// It is another one.
    #[error("what is stored is sealed with key {expected}, {} is key {found}; hint: name the right file with --key-file", path.display())]
    Other {
        /// Its file.
        path: PathBuf,
        /// The key that is needed.
        expected: String,
        /// The key that is there.
        found: String,
    },
    /// A data key does not open.
    #[error("the stored key of {0:?} cannot be opened: {SealError}")]
    Data(String),
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
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The database failed.
    #[error("{action} failed")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The key that wraps data keys.
#[derive(Debug, Clone)]
pub(crate) struct MasterKey(DataKey);

impl MasterKey {
    pub(crate) fn generate() -> Self {
        Self(DataKey::generate())
    }

    /// Reads it; `None`: there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let failed = |action| {
            move |source| KeyError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("inspect")(error)),
        };
        let (mode, owner, uid) = (
            metadata.mode() & 0o777,
            metadata.uid(),
            rustix::process::geteuid().as_raw(),
        );
        if mode & 0o077 != 0 {
            return Err(KeyError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        if owner != uid && owner != 0 {
            return Err(KeyError::Owner {
                path: path.to_owned(),
                owner,
                uid,
            });
        }
        let text = Zeroizing::new(fs::read(path).map_err(failed("read"))?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim_ascii(), bytes.as_mut())
            .map_err(|_| KeyError::Form { path: path.to_owned() })?;
        Ok(Some(Self(DataKey::from_bytes(*bytes))))
    }

    /// Writes it durably into a file of the state directory.
    pub(crate) fn write(&self, dir: &StateDir, name: &str) -> Result<PathBuf, KeyError> {
        Ok(dir.write_private(name, self.text().as_bytes())?)
    }

    /// Writes it durably into a file that is not there yet.
    pub(crate) fn create(&self, path: &Path) -> Result<(), KeyError> {
        durable::create(path, self.text().as_bytes()).map_err(|source| KeyError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.bytes()) + "\n")
    }

    /// What may be told of it: 16 hexadecimal digits of a digest.
    pub(crate) fn id(&self) -> String {
        let digest = Sha256::new_with_prefix(b"sonagi master key\n")
            .chain_update(self.0.bytes())
            .finalize();
        hex::encode(&digest[..8])
    }

    pub(crate) fn wrap(&self, scope: &str, key: &DataKey) -> Result<String, KeyError> {
        let sealed = self.0.seal(&place(scope), key.bytes());
        sealed.map_err(|SealError| KeyError::Data(scope.to_owned()))
    }

    pub(crate) fn unwrap(&self, scope: &str, wrapped: &str) -> Result<DataKey, KeyError> {
        let opened = self.0.open(&place(scope), wrapped).ok();
        let bytes = opened.and_then(|bytes| bytes.as_slice().try_into().ok());
        bytes
            .map(DataKey::from_bytes)
            .ok_or_else(|| KeyError::Data(scope.to_owned()))
    }
}

fn place(scope: &str) -> String {
    format!("sonagi data key\n{scope}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_is_read_only_if_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(MasterKey::read(&path).unwrap().is_none());
        let key = MasterKey::generate();
        key.create(&path).unwrap();
        assert!(
            matches!(key.create(&path), Err(KeyError::Io { .. })),
            "never over another"
        );
        assert_eq!(MasterKey::read(&path).unwrap().unwrap().id(), key.id());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = MasterKey::read(&path).unwrap_err().to_string();
        assert!(refused.contains("mode 0640"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(MasterKey::read(&path).unwrap().is_some());
        for bad in ["", "00", &"z".repeat(64), &"0".repeat(66)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, bad).unwrap();
            assert!(matches!(MasterKey::read(&path), Err(KeyError::Form { .. })), "{bad:?}");
        }
    }

    #[test]
    fn data_keys_open_with_their_master_and_scope_only() {
        let (master, data) = (MasterKey::generate(), DataKey::generate());
        let wrapped = master.wrap("tenant/a", &data).unwrap();
        let sealed = data.seal("x", b"y").unwrap();
        assert_eq!(
            master
                .unwrap("tenant/a", &wrapped)
                .unwrap()
                .open("x", &sealed)
                .unwrap()
                .as_slice(),
            b"y"
        );
        assert!(master.unwrap("tenant/b", &wrapped).is_err());
        assert!(MasterKey::generate().unwrap("tenant/a", &wrapped).is_err());
    }
}
