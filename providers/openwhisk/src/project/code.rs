//! An action's code out of a project's files: a file as it is, a folder as an archive. Links lead nowhere outside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ProjectError;
use super::plan::Code;
use crate::code::zip;

/// Most files of one action's folder.
const FILES: usize = 20_000;
/// Deepest folders.
const DEPTH: usize = 64;

/// Code as requests have it, and the kind that its files tell, where the manifest tells none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) code: Option<String>,
    pub(super) kind: Option<&'static str>,
}

/// One file on its way into an archive.
#[derive(Debug)]
struct Found {
    name: String,
    content: Vec<u8>,
    mode: u32,
}

/// Reads code. Blocks on the disk. `limit` is how many bytes an action may have.
///
/// # Errors
/// What is not there, or is too large.
pub(super) fn read(root: &Path, code: &Code, at: &str, limit: usize) -> Result<Read, ProjectError> {
    let (path, include) = match code {
        Code::Inline(text) => {
            return Ok(Read {
                code: Some(text.clone()),
                kind: None,
            });
        }
        Code::None => return Ok(Read { code: None, kind: None }),
        Code::File { path, include } => (path, include),
    };
    let full = resolved(root, path, at)?;
    if full.is_file() {
        if !include.is_empty() {
            let hint = "put the action into a folder of its own, and name that as its function";
            return Err(ProjectError::new(at, "include needs a folder as function", hint));
        }
        let bytes = fs::read(&full).map_err(|error| unreadable(at, path, &error))?;
        return Ok(file(path, bytes));
    }
    let mut reader = Reader {
        root,
        at,
        found: Vec::new(),
        bytes: 0,
        limit,
    };
    reader.folder(&full, "", 0)?;
    for (source, target) in include {
        let full = resolved(root, source, at)?;
        if full.is_dir() {
            reader.folder(&full, &format!("{target}/"), 0)?;
        } else {
            reader.file(&full, target)?;
        }
    }
    let mut found = reader.found;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    let has = |name: &str| found.iter().any(|file| file.name == name);
    let kind = if has("package.json") || has("index.js") {
        Some("nodejs:default")
    } else if has("__main__.py") {
        Some("python:default")
    } else {
        has("exec").then_some("actionloop:default")
    };
    let files: Vec<(&str, &[u8], u32)> = found
        .iter()
        .map(|file| (&*file.name, &*file.content, file.mode))
        .collect();
    Ok(Read {
        code: Some(STANDARD.encode(zip(&files))),
        kind,
    })
}

/// A single file: text as it is, everything else in base64.
fn file(path: &str, bytes: Vec<u8>) -> Read {
    let archive = bytes.starts_with(b"PK") || bytes.starts_with(&[0x1f, 0x8b]);
    let program = bytes.starts_with(b"\x7fELF") || bytes.starts_with(b"#!");
    let code = match String::from_utf8(bytes) {
        Ok(text) if !archive => text,
        Ok(text) => STANDARD.encode(text),
        Err(error) => STANDARD.encode(error.as_bytes()),
    };
    let unnamed = Path::new(path).extension().is_none();
    Read {
        code: Some(code),
        kind: (program && unnamed).then_some("actionloop:default"),
    }
}

fn unreadable(at: &str, path: &str, error: &std::io::Error) -> ProjectError {
    let hint = "paths are counted from the manifest's folder";
    ProjectError::new(at, format!("{path:?} cannot be read: {error}"), hint)
}

/// Where a path of the project is, links followed.
fn resolved(root: &Path, path: &str, at: &str) -> Result<PathBuf, ProjectError> {
    let root = root.canonicalize().map_err(|error| unreadable(at, path, &error))?;
    let full = root
        .join(path)
        .canonicalize()
        .map_err(|error| unreadable(at, path, &error))?;
    if full.starts_with(&root) {
        Ok(full)
    } else {
        Err(ProjectError::new(
            at,
            format!("{path:?} leads out of the project"),
            "put a copy into it",
        ))
    }
}

struct Reader<'a> {
    root: &'a Path,
    at: &'a str,
    found: Vec<Found>,
    bytes: usize,
    limit: usize,
}

impl Reader<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), ProjectError> {
        let failed = |error: &std::io::Error| unreadable(self.at, prefix, error);
        if depth > DEPTH {
            return Err(ProjectError::new(
                self.at,
                format!("{prefix:?} is nested more than {DEPTH} deep"),
                "",
            ));
        }
        let entries = fs::read_dir(folder).map_err(|error| failed(&error))?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(|error| unreadable(self.at, &name, &error))?;
            let inner = format!("{prefix}{name}");
            if kind.is_dir() {
                self.folder(&entry.path(), &format!("{inner}/"), depth + 1)?;
            } else if kind.is_symlink() {
                self.link(&entry.path(), &inner)?;
            } else {
                self.file(&entry.path(), &inner)?;
            }
        }
        Ok(())
    }

    /// A link to a file of the project is that file; those of npm to its packages' programs are left out.
    fn link(&mut self, path: &Path, name: &str) -> Result<(), ProjectError> {
        if name.contains("node_modules/.bin/") {
            return Ok(());
        }
        let root = self
            .root
            .canonicalize()
            .map_err(|error| unreadable(self.at, name, &error))?;
        let target = path.canonicalize().map_err(|error| unreadable(self.at, name, &error))?;
        if !target.starts_with(&root) || !target.is_file() {
            let problem = format!("{name:?} is a link that leads to no file of the project");
            return Err(ProjectError::new(self.at, problem, "put a copy in its place"));
        }
        self.file(&target, name)
    }

    fn file(&mut self, path: &Path, name: &str) -> Result<(), ProjectError> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(self.at, name, &error))?;
        self.bytes = self
            .bytes
            .saturating_add(usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        if self.bytes > self.limit || self.found.len() >= FILES {
            let problem = format!("its files are more than {} bytes or {FILES} files", self.limit);
            return Err(ProjectError::new(
                self.at,
                problem,
                "name a smaller folder as its function",
            ));
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        self.found.push(Found {
            name: name.to_owned(),
            content: fs::read(path).map_err(|error| unreadable(self.at, name, &error))?,
            mode: if executable { 0o755 } else { 0o644 },
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(root: &Path, path: &str, include: &[(&str, &str)]) -> Result<Read, String> {
        let include = include
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        let path = path.to_owned();
        read(root, &Code::File { path, include }, "m: a", 1 << 20).map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_text_and_folders_archives() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("hello.js", b"function main() {}");
        write("run", b"#!/bin/sh\n");
        write("made.zip", b"PK...");
        write("app/__main__.py", b"import helper");
        write("app/node_modules/.bin/x", b"");
        write("lib/helper.py", b"h = 1");
        symlink("../lib/helper.py", root.path().join("app/linked.py")).unwrap();
        let found = of(root.path(), "hello.js", &[]).unwrap();
        assert_eq!((found.code.as_deref(), found.kind), (Some("function main() {}"), None));
        assert_eq!(of(root.path(), "run", &[]).unwrap().kind, Some("actionloop:default"));
        assert_eq!(
            of(root.path(), "made.zip", &[]).unwrap().code,
            Some(STANDARD.encode("PK..."))
        );
        let found = of(root.path(), "app", &[("lib/helper.py", "helper.py")]).unwrap();
        assert_eq!(found.kind, Some("python:default"));
        let bytes = STANDARD.decode(found.code.unwrap()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("helper.py") && text.contains("linked.py"), "{text}");
        assert!(
            of(root.path(), "missing.js", &[])
                .unwrap_err()
                .starts_with("m: a: \"missing.js\" cannot be read")
        );
        symlink("/etc/hostname", root.path().join("app/out")).unwrap();
        assert!(
            of(root.path(), "app", &[])
                .unwrap_err()
                .contains("leads to no file of the project")
        );
        assert!(
            of(root.path(), "app/out", &[])
                .unwrap_err()
                .contains("leads out of the project")
        );
    }
}
