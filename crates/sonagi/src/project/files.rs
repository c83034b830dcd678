//! A view of files by relative path, whether they are on disk, in an archive, or in a test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The most that is read of one file to recognize it.
const LOOK_BYTES: u64 = 1024 * 1024;

/// The most entries that a folder may have to be deployed: more than any provider takes.
const ENTRIES_MAX: usize = 100_000;

/// What recognition needs to know about files.
pub trait Files {
    /// Every path, in order, with `/` between its parts. Folders have none of their own.
    fn paths(&self) -> Vec<&str>;

    /// The beginning of a file.
    fn read(&self, path: &str) -> Option<Vec<u8>>;

    /// Whether there is such a file.
    fn has(&self, path: &str) -> bool {
        self.paths().contains(&path)
    }

    /// The beginning of a file as text; bytes that are no UTF-8 are replaced.
    fn text(&self, path: &str) -> Option<String> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// One thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file, and whether it may be executed.
    File {
        /// Where it is.
        source: PathBuf,
        /// Any of its execute bits is set.
        executable: bool,
    },
    /// A symbolic link, and where it points.
    Link {
        /// Its text.
        target: PathBuf,
    },
}

/// A folder on disk, without what never belongs into a function.
#[derive(Debug, Default)]
pub struct Folder {
    entries: BTreeMap<String, Entry>,
}

/// A folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system says no.
    #[error("{path} cannot be read")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name cannot be written into an archive.
    #[error("{path}: the name is not UTF-8")]
    Name {
        /// What.
        path: PathBuf,
    },
    /// Neither file, folder nor link.
    #[error("{path} is neither a file nor a folder nor a symbolic link")]
    Kind {
        /// What.
        path: PathBuf,
    },
    /// It is not a project.
    #[error("{path} has more than {ENTRIES_MAX} files")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

/// Names of folders that are never part of a function: history, caches, environments, build output.
const SKIPPED_FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".idea",
    ".vscode",
    ".aws-sam",
    ".serverless",
];

/// Names of files that are never part of a function.
const SKIPPED_FILES: &[&str] = &[".DS_Store", ".gitignore", ".gitattributes", "sonagi.toml"];

impl Folder {
    /// Reads the names of a folder of source, without following links and without what never belongs into a function.
    /// Top-level folders named in `skip_top` are left out too.
    pub fn open(root: &Path, skip_top: &[&str]) -> Result<Self, FolderError> {
        let unwanted_folder =
            |name: &str, at_top: bool| SKIPPED_FOLDERS.contains(&name) || (at_top && skip_top.contains(&name));
        let unwanted_file = |name: &str| SKIPPED_FILES.contains(&name) || name.ends_with(".pyc");
        Self::read(root, unwanted_folder, unwanted_file)
    }

    /// Reads the names of a folder that a build made, all of them.
    pub fn open_built(root: &Path) -> Result<Self, FolderError> {
        Self::read(root, |_, _| false, |_| false)
    }

    fn read(
        root: &Path,
        unwanted_folder: impl Fn(&str, bool) -> bool,
        unwanted_file: impl Fn(&str) -> bool,
    ) -> Result<Self, FolderError> {
        let mut folder = Self::default();
        let mut open = vec![(root.to_owned(), String::new())];
        while let Some((path, prefix)) = open.pop() {
            let failed = |source| FolderError::Io {
                path: path.clone(),
                source,
            };
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| FolderError::Name { path: entry.path() })?;
                let kind = entry.file_type().map_err(failed)?;
                let relative = format!("{prefix}{name}");
                if kind.is_dir() {
                    if !unwanted_folder(name, prefix.is_empty()) {
                        open.push((entry.path(), format!("{relative}/")));
                    }
                    continue;
                }
                if unwanted_file(name) {
                    continue;
                }
                folder.insert(relative, &entry)?;
                if folder.entries.len() > ENTRIES_MAX {
                    return Err(FolderError::TooMany { path: root.to_owned() });
                }
            }
        }
        Ok(folder)
    }

    fn insert(&mut self, relative: String, entry: &fs::DirEntry) -> Result<(), FolderError> {
        let path = entry.path();
        let failed = |source| FolderError::Io {
            path: path.clone(),
            source,
        };
        let metadata = entry.metadata().map_err(failed)?;
        let entry = if metadata.is_file() {
            Entry::File {
                source: path,
                executable: metadata.permissions().mode() & 0o111 != 0,
            }
        } else if metadata.is_symlink() {
            Entry::Link {
                target: fs::read_link(&path).map_err(failed)?,
            }
        } else {
            return Err(FolderError::Kind { path });
        };
        self.entries.insert(relative, entry);
        Ok(())
    }

    /// A folder of one file under another name.
    pub fn of_file(source: &Path, name: &str, executable: bool) -> Self {
        let entry = Entry::File {
            source: source.to_owned(),
            executable,
        };
        Self {
            entries: [(name.to_owned(), entry)].into(),
        }
    }

    /// Its entries, by path.
    pub const fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Gives an entry another name, if it is there.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(entry) = self.entries.remove(from) {
            self.entries.insert(to.to_owned(), entry);
        }
    }

    /// Makes a file executable, if it is there.
    pub fn make_executable(&mut self, path: &str) {
        if let Some(Entry::File { executable, .. }) = self.entries.get_mut(path) {
            *executable = true;
        }
    }

    /// Leaves out what `unwanted` says.
    pub fn remove(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| !unwanted(path));
    }

    /// The same entries below a folder of this name.
    #[must_use]
    pub fn below(self, name: &str) -> Self {
        Self {
            entries: self
                .entries
                .into_iter()
                .map(|(path, entry)| (format!("{name}/{path}"), entry))
                .collect(),
        }
    }

    /// Adds another folder's entries below those that are there: what is there already stays.
    pub fn add_below(&mut self, other: Self) {
        for (path, entry) in other.entries {
            self.entries.entry(path).or_insert(entry);
        }
    }
}

impl Files for Folder {
    fn paths(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.entries.get(path)? {
            Entry::File { source, .. } => {
                let mut bytes = Vec::new();
                fs::File::open(source)
                    .ok()?
                    .take(LOOK_BYTES)
                    .read_to_end(&mut bytes)
                    .ok()?;
                Some(bytes)
            }
            Entry::Link { .. } => None,
        }
    }

    fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }
}

/// The files of a zip archive.
#[derive(Debug)]
pub struct Archive {
    entries: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// Reads the names of an archive, and the beginnings of files at its top.
    pub fn open(bytes: &[u8]) -> Result<Self, zip::result::ZipError> {
        let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes))?;
        let mut entries = BTreeMap::new();
        for index in 0..archive.len().min(ENTRIES_MAX) {
            let mut file = archive.by_index(index)?;
            if !file.is_file() {
                continue;
            }
            let name = file.name()?.into_owned();
            let mut start = Vec::new();
            if !name.contains('/') {
                file.by_ref().take(LOOK_BYTES).read_to_end(&mut start)?;
            }
            entries.insert(name, start);
        }
        Ok(Self { entries })
    }
}

impl Files for Archive {
    fn paths(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.entries.get(path).cloned()
    }
}
