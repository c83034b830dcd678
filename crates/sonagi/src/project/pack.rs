//! Packing files into a zip archive whose bytes depend on nothing but names, contents and execute bits: sorted, with one
//! time for all, so that the same source always has the same digest.

use std::fs;
use std::io::{self, Cursor, Write as _};
use std::path::PathBuf;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::files::{Entry, Folder};

/// The largest archive that is made, bytes: the platform's own limit.
pub const ARCHIVE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Files cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link leaves the folder.
    #[error("{path} is a symbolic link to {target}, which is outside of the project")]
    Escape {
        /// The link.
        path: String,
        /// Where it points.
        target: PathBuf,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written")]
    Write(#[from] zip::result::ZipError),
    /// Nothing is there.
    #[error("there is no file to deploy")]
    Empty,
    /// It became too large.
    #[error("the archive has {actual} bytes, more than {ARCHIVE_BYTES_MAX}")]
    TooLarge {
        /// Bytes.
        actual: usize,
    },
}

/// Packs a folder.
pub fn zip(folder: &Folder) -> Result<Vec<u8>, PackError> {
    if folder.entries().is_empty() {
        return Err(PackError::Empty);
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    // The earliest time that the format knows.
    let options = SimpleFileOptions::default().last_modified_time(DateTime::default());
    for (path, entry) in folder.entries() {
        match entry {
            Entry::File { source, executable } => {
                let bytes = fs::read(source).map_err(|error| PackError::Read {
                    path: source.clone(),
                    source: error,
                })?;
                let mode = if *executable { 0o755 } else { 0o644 };
                let method = if bytes.len() < 64 {
                    CompressionMethod::Stored
                } else {
                    CompressionMethod::Deflated
                };
                writer.start_file(path.as_str(), options.unix_permissions(mode).compression_method(method))?;
                writer.write_all(&bytes).map_err(zip::result::ZipError::from)?;
            }
            Entry::Link { target } => {
                let text = inside(path, target).ok_or_else(|| PackError::Escape {
                    path: path.clone(),
                    target: target.clone(),
                })?;
                writer.add_symlink(
                    path.as_str(),
                    text,
                    options.compression_method(CompressionMethod::Stored),
                )?;
            }
        }
    }
    let bytes = writer.finish()?.into_inner();
    if bytes.len() > ARCHIVE_BYTES_MAX {
        return Err(PackError::TooLarge { actual: bytes.len() });
    }
    Ok(bytes)
}

/// The link's target as text, if it stays inside of the folder.
fn inside<'a>(path: &str, target: &'a std::path::Path) -> Option<&'a str> {
    let text = target.to_str()?;
    let mut depth = path.matches('/').count();
    for part in target.components() {
        match part {
            std::path::Component::Normal(_) => depth += 1,
            std::path::Component::ParentDir => depth = depth.checked_sub(1)?,
            std::path::Component::CurDir => {}
            std::path::Component::RootDir | std::path::Component::Prefix(_) => return None,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn project(root: &Path) {
        for (path, content) in [
            ("b.py", "second"),
            ("a.py", &"first ".repeat(100)),
            ("sub/run", "#!/bin/sh"),
            (".git/config", "history"),
            ("__pycache__/a.pyc", "cache"),
            ("sub/x.pyc", "cache"),
            ("target/debug/x", "kept unless it is skipped"),
            ("sonagi.toml", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::set_permissions(root.join("sub/run"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("../b.py", root.join("sub/link")).unwrap();
    }

    #[test]
    fn archives_depend_on_contents_only() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        project(one.path());
        project(two.path());
        let old = fs::File::options().write(true).open(two.path().join("a.py")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::set_permissions(two.path().join("b.py"), fs::Permissions::from_mode(0o600)).unwrap();
        let bytes = zip(&Folder::open(one.path(), &["target"]).unwrap()).unwrap();
        assert_eq!(bytes, zip(&Folder::open(two.path(), &["target"]).unwrap()).unwrap());

        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let entries: Vec<_> = (0..archive.len())
            .map(|index| {
                let mut file = archive.by_index(index).unwrap();
                let mut content = String::new();
                file.read_to_string(&mut content).unwrap();
                (
                    file.name().unwrap().into_owned(),
                    file.unix_mode().unwrap(),
                    content.len(),
                )
            })
            .collect();
        let expected = [
            ("a.py", 0o100_644, 600),
            ("b.py", 0o100_644, 6),
            ("sub/link", 0o120_777, 7),
            ("sub/run", 0o100_755, 9),
        ];
        assert_eq!(
            entries,
            expected.map(|(name, mode, size)| (name.to_owned(), mode, size))
        );
    }

    #[test]
    fn links_stay_inside() {
        for (path, target, stays) in [
            ("a", "b", true),
            ("sub/a", "../b", true),
            ("sub/a", "./c/../../b", true),
            ("a", "../b", false),
            ("sub/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("a/b", "c/../../../d", false),
        ] {
            assert_eq!(inside(path, Path::new(target)).is_some(), stays, "{path} -> {target}");
        }
        let root = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", root.path().join("x")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        assert!(matches!(zip(&folder), Err(PackError::Escape { .. })));
        assert!(matches!(zip(&Folder::default()), Err(PackError::Empty)));
    }
}
