//! Which file the dynamic loader would take for a library name.
//!
//! Source: ld.so(8). The cache file is not read: it is made from the same folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::elf::Elf;

/// Files that may be included by the loader's configuration, so that a loop of includes ends.
const MOST_CONFIGURATIONS: usize = 64;

/// The folders of this host's loader, in its order.
#[derive(Debug, Clone)]
pub(super) struct Libraries {
    folders: Vec<PathBuf>,
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Library {
    /// Folder in which the loader finds it, not resolved.
    pub(super) folder: PathBuf,
    /// Its name there.
    pub(super) name: String,
}

impl Library {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

impl Libraries {
    /// The folders of the host.
    pub(super) fn of_host() -> Self {
        let mut folders = Vec::new();
        let mut waiting = vec![PathBuf::from("/etc/ld.so.conf")];
        let mut read = 0;
        while let Some(file) = waiting.pop() {
            read += 1;
            if read > MOST_CONFIGURATIONS {
                break;
            }
            // A host without the file has the usual folders only.
            let text = fs::read_to_string(&file).unwrap_or_default();
            for line in text
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim())
            {
                match line.strip_prefix("include") {
                    Some(pattern) => waiting.extend(included(pattern.trim())),
                    None if line.starts_with('/') => folders.push(PathBuf::from(line)),
                    None => {}
                }
            }
        }
        let machine = std::env::consts::ARCH;
        folders.extend(
            [
                format!("/lib/{machine}-linux-gnu"),
                format!("/usr/lib/{machine}-linux-gnu"),
                "/lib64".to_owned(),
                "/usr/lib64".to_owned(),
                "/lib".to_owned(),
                "/usr/lib".to_owned(),
            ]
            .map(PathBuf::from),
        );
        Self { folders }
    }

    /// The folders, in the order in which they are looked at.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Finds one by name, looking first in `search`, with `$ORIGIN` being the folder `origin`.
    pub(super) fn find(&self, name: &str, search: &[String], origin: &Path) -> Option<Library> {
        let own = search.iter().map(|folder| {
            let origin = origin.to_string_lossy();
            without_parents(Path::new(
                &folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin),
            ))
        });
        own.chain(self.folders.iter().cloned())
            // A file for another machine is passed over, as the loader does.
            .find(|folder| matches!(Elf::read(&folder.join(name)), Ok(Some(_))))
            .map(|folder| Library {
                folder,
                name: name.to_owned(),
            })
    }

    /// Everything that these files need, and what that needs, with the loaders of programs among them. Names that are
    /// not found are returned second: an extension module may need a library that this host does not have.
    pub(super) fn closure(&self, files: &[PathBuf], extra: &[String]) -> (BTreeSet<Library>, BTreeSet<String>) {
        let (mut found, mut missing) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting: Vec<PathBuf> = files.to_vec();
        while let Some(file) = waiting.pop() {
            let Ok(Some(elf)) = Elf::read(&file) else { continue };
            let loader = elf.loader.as_deref().map(Path::new).and_then(|path| {
                Some(Library {
                    folder: path.parent()?.to_path_buf(),
                    name: path.file_name()?.to_str()?.to_owned(),
                })
            });
            // What `$ORIGIN` means is where the file is, not where a link to it is.
            let origin = fs::canonicalize(&file).unwrap_or(file);
            let origin = origin.parent().unwrap_or(Path::new("/"));
            let search: Vec<String> = elf.search.iter().chain(extra).cloned().collect();
            let needed = elf.needed.iter().filter_map(|name| {
                let library = self.find(name, &search, origin);
                if library.is_none() {
                    missing.insert(name.clone());
                }
                library
            });
            let new: Vec<_> = needed.chain(loader).collect();
            for library in new {
                if !found.contains(&library) {
                    waiting.push(library.path());
                    found.insert(library);
                }
            }
        }
        (found, missing)
    }
}

/// Takes the `..` out of a path, whose folders before them are no links.
fn without_parents(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut short, part| {
        match part {
            Component::ParentDir => drop(short.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => short.push(part),
        }
        short
    })
}

/// The files that an include of the loader's configuration names. Only a star in the file name is understood.
fn included(pattern: &str) -> Vec<PathBuf> {
    let pattern = Path::new("/etc").join(pattern);
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once('*') else {
        return vec![pattern];
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(before) && name.ends_with(after))
        })
        .map(|entry| entry.path())
        .collect();
    // Taken from the end of the list, and the loader reads them in order.
    files.sort_unstable_by(|a, b| b.cmp(a));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_needs_a_loader_and_the_c_library() {
        let (found, missing) = Libraries::of_host().closure(&[PathBuf::from("/bin/sh")], &[]);
        assert!(missing.is_empty(), "{missing:?}");
        assert!(
            found.iter().any(|library| library.name.starts_with("libc.so")),
            "{found:?}"
        );
        assert!(found.iter().any(|library| library.name.starts_with("ld-")), "{found:?}");
    }

    #[test]
    fn origin_is_where_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("lib").join("libx.so");
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        std::fs::copy("/bin/sh", &library).unwrap();
        let libraries = Libraries::of_host();
        let found = libraries.find("libx.so", &["$ORIGIN/../lib".to_owned()], &dir.path().join("bin"));
        assert_eq!(found.unwrap().folder, dir.path().join("lib"));
        assert_eq!(libraries.find("libx.so", &[], dir.path()), None);
    }
}
