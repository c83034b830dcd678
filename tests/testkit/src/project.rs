//! Folders of source code, made for one test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that goes away with this value. Its name is the name that a function deployed from it gets.
#[derive(Debug)]
pub struct Project {
    _parent: TempDir,
    folder: PathBuf,
}

impl Project {
    /// An empty project.
    ///
    /// # Panics
    /// The folder cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join(name);
        fs::create_dir(&folder).expect("a folder in it");
        Self {
            _parent: parent,
            folder,
        }
    }

    /// A Python function in `app.py`, whose entry point is `app.handler`.
    #[must_use]
    pub fn python(name: &str, source: &str) -> Self {
        Self::new(name).with("app.py", source)
    }

    /// A JavaScript function in `index.mjs`, whose entry point is `index.handler`.
    #[must_use]
    pub fn node(name: &str, source: &str) -> Self {
        Self::new(name).with("index.mjs", source)
    }

    /// A custom runtime: `bootstrap` with this text.
    #[must_use]
    pub fn bootstrap(name: &str, source: &str) -> Self {
        let project = Self::new(name).with("bootstrap", source);
        project.executable("bootstrap");
        project
    }

    /// With one more file.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Writes a file, new or again.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.folder.join(path);
        fs::create_dir_all(file.parent().expect("a path in the folder")).expect("folders");
        fs::write(&file, content).expect("a file");
    }

    /// Makes a file executable.
    ///
    /// # Panics
    /// It is not there.
    pub fn executable(&self, path: &str) {
        fs::set_permissions(self.folder.join(path), fs::Permissions::from_mode(0o755)).expect("the file is there");
    }

    /// Copies a file or a folder with everything in it, keeping modes.
    ///
    /// # Panics
    /// It cannot be copied.
    #[must_use]
    pub fn with_copy(self, source: &Path, path: &str) -> Self {
        copy(source, &self.folder.join(path));
        self
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The folder as text.
    ///
    /// # Panics
    /// Temporary folders have names in UTF-8 here.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.folder.to_str().expect("UTF-8")
    }
}

fn copy(source: &Path, target: &Path) {
    if source.is_dir() {
        fs::create_dir_all(target).expect("a folder");
        for entry in fs::read_dir(source).expect("a readable folder").flatten() {
            copy(&entry.path(), &target.join(entry.file_name()));
        }
    } else {
        fs::copy(source, target)
            .unwrap_or_else(|error| panic!("{} to {}: {error}", source.display(), target.display()));
    }
}
