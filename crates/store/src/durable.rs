//! Files that are there as a whole or not at all, whatever moment the power goes.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sonagi_ports::{Entropy, SystemEntropy};

/// 32 random hexadecimal digits.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 16];
    SystemEntropy::new().fill(&mut bytes);
    hex::encode(bytes)
}

/// A name for a file that will get its own when it is complete.
pub(crate) fn temporary_name() -> String {
    format!(".{}.tmp", random_name())
}

/// Whether a name is one of [`temporary_name`].
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp") && name.len() == 37)
}

/// Flushes a folder's entries to disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Flushes the entry of `path` in its folder to disk.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(&fs::canonicalize(path)?.join(".."))
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Writes a new file (0600) and flushes its content to disk.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Replaces a file as a whole (0600): temporary file, flush, rename, flush of the folder.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_unlisted(path, content)?;
    sync_folder(parent(path)?)
}

/// The same without the flush of the folder: until that is done, a power cut may bring back what was there before.
pub(crate) fn replace_unlisted(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = parent(path)?.join(temporary_name());
    let result = create(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The first failure is the one to report; a leftover is swept at the next start.
        let _ = fs::remove_file(&temporary);
    }
    result
}
