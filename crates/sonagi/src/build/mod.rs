//! Installing dependencies and building programs, before the code is complete. Steps run in a *cell*: namespaces of their
//! own, a root built from nothing with the host's programs read-only, one writable folder, an ordinary uid, a clean
//! environment, bounded in time and output. The host's network and package-client configuration are shared, since that
//! is what an installation needs. The function itself is never run here.
//!
//! Results are kept in a cache by the digest of what they were made from.

mod cache;
mod cargo;
pub mod cell;
mod host;
mod namespaces;
mod npm;
mod pip;
mod plan;
mod run;

use std::io;
use std::path::{Path, PathBuf};

pub use cache::Cache;
use sonagi_api::Interpreter;

use crate::project::files::{Folder, FolderError};
use crate::project::{Dependencies, Dialect};

/// A build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file operation failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A program that is needed is not there.
    #[error("{what} was not found")]
    Missing {
        /// Which.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// The cell cannot be made on this host.
    #[error("the build cell could not be started: {0}")]
    Cell(String),
    /// The step ended badly.
    #[error("{step} failed ({status}):\n{output}")]
    Step {
        /// What it does.
        step: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// The step did not end.
    #[error("{step} did not end within {seconds} s:\n{output}")]
    TimedOut {
        /// What it does.
        step: &'static str,
        /// The limit.
        seconds: u64,
        /// The end of what it said.
        output: String,
    },
}

impl BuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } => Some(hint.clone()),
            Self::Cell(_) => Some(
                "builds need namespaces: run as root, or allow unprivileged user namespaces; `--prebuilt` takes the folder \
                 as it is"
                    .to_owned(),
            ),
            Self::Step { .. } | Self::TimedOut { .. } => {
                Some("`--prebuilt` takes the folder as it is, with dependencies that are installed in it".to_owned())
            }
            Self::Io { .. } | Self::Folder(_) => None,
        }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What to build.
#[derive(Debug)]
pub struct Job<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// Its dialect.
    pub dialect: Dialect,
    /// What it needs.
    pub dependencies: &'a Dependencies,
    /// Interpreters that may run it, best first.
    pub interpreters: Vec<&'a Interpreter>,
    /// Whether an earlier result may be used.
    pub reuse: Reuse,
}

impl Job<'_> {
    /// The first interpreter that this user can reach (one in a home folder may be there for its owner only).
    fn interpreter(&self, what: &'static str) -> Result<&Interpreter, BuildError> {
        let reachable = self
            .interpreters
            .iter()
            .find(|found| Path::new(&found.program).is_file());
        reachable.copied().ok_or_else(|| {
            let known: Vec<&str> = self.interpreters.iter().map(|found| found.program.as_str()).collect();
            BuildError::Missing {
                what: format!("{what} that this user can run"),
                hint: if known.is_empty() {
                    "install it on the platform's host; `sonagi doctor` lists what it has".to_owned()
                } else {
                    format!(
                        "the platform knows {}: run this command as a user who may reach it",
                        known.join(", ")
                    )
                },
            }
        })
    }
}

/// Whether an earlier result may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// If it was made from the same files.
    Same,
    /// Never: everything is made again.
    Nothing,
}

/// Builds; returns the files that come beside those of the project, or instead of them.
pub async fn build(job: &Job<'_>, cache: &Cache) -> Result<Folder, BuildError> {
    match job.dependencies {
        Dependencies::None => Ok(Folder::default()),
        Dependencies::Pip => pip::install(job, cache).await,
        Dependencies::Npm { locked } => npm::install(job, *locked, cache).await,
        Dependencies::Cargo { package, program } => cargo::build(job, package, program, cache).await,
    }
}
