//! What `sonagi deploy` was given, on disk: a folder, a file or an archive; and from there to the archive that is sent.

use std::fs;
use std::path::{Path, PathBuf};

use sonagi_api::Interpreter;

use super::dialect::Told;
use super::files::{Archive, Files, Folder};
use super::manifest::{self, Manifest};
use super::whole::{self, Part, Whole};
use super::{Code, Dependencies, Language, Project, Unrecognized, Wish, name, pack, recognize};
use crate::build::{BuildError, Cache, Job, Reuse, build};
use crate::exit::Exit;
use crate::failure::{Failure, Result, chain};

/// What was given.
#[derive(Debug)]
pub enum Source {
    /// A folder.
    Folder {
        /// Where it is.
        root: PathBuf,
        /// What is in it.
        folder: Folder,
    },
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its name.
        name: String,
        /// A folder of this file only.
        folder: Folder,
    },
    /// A zip archive, sent as it is.
    Archive {
        /// Where it is.
        path: PathBuf,
        /// Its bytes.
        bytes: Vec<u8>,
        /// What is in it.
        files: Archive,
    },
}

/// How to make an archive.
#[derive(Debug)]
pub struct Options<'a> {
    /// The platform's interpreters, best first.
    pub interpreters: &'a [Interpreter],
    /// The runtime, in the provider's words.
    pub runtime: &'a str,
    /// Whether dependencies are installed.
    pub install: Install,
    /// Where results are kept.
    pub cache: PathBuf,
}

/// Whether dependencies are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// They are, unless they are in the cache.
    Needed,
    /// They are, whatever is in the cache.
    Again,
    /// They are in the folder already.
    Nothing,
}

impl Source {
    /// Looks at a path.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |error: &dyn std::error::Error| Failure::new(Exit::Build, chain(error));
        let unreadable = |error: std::io::Error| {
            let exit = if error.kind() == std::io::ErrorKind::NotFound {
                Exit::NotFound
            } else {
                Exit::Build
            };
            Failure::caused(exit, format!("{} cannot be read", path.display()), &error)
        };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            // A Cargo project's output is large, and never part of the code as it lies there.
            let skip: &[&str] = if path.join("Cargo.toml").is_file() {
                &["target"]
            } else {
                &[]
            };
            let folder = Folder::open(path, skip).map_err(|error| failed(&error))?;
            return Ok(Self::Folder {
                root: path.to_owned(),
                folder,
            });
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| Failure::new(Exit::Build, format!("{}: the name is not UTF-8", path.display())))?;
        if name.to_ascii_lowercase().ends_with(".zip") {
            if metadata.len() > pack::ARCHIVE_BYTES_MAX as u64 {
                return Err(failed(&pack::PackError::TooLarge {
                    actual: usize::try_from(metadata.len()).unwrap_or(usize::MAX),
                }));
            }
            let bytes = fs::read(path).map_err(unreadable)?;
            let files = Archive::open(&bytes).map_err(|error| {
                Failure::caused(
                    Exit::Build,
                    format!("{} is no readable zip archive", path.display()),
                    &error,
                )
            })?;
            return Ok(Self::Archive {
                path: path.to_owned(),
                bytes,
                files,
            });
        }
        let folder = Folder::of_file(path, name, true);
        Ok(Self::File {
            path: path.to_owned(),
            name: name.to_owned(),
            folder,
        })
    }

    /// What the project says about itself.
    pub fn manifest(&self) -> Result<Manifest> {
        let Self::Folder { root, .. } = self else {
            return Ok(Manifest::default());
        };
        let path = root.join(manifest::NAME);
        let failed = |error: &dyn std::error::Error| Failure::caused(Exit::Build, path.display(), error);
        match fs::read_to_string(&path) {
            Ok(text) => manifest::parse(&text).map_err(|error| failed(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Recognizes it.
    pub fn recognize(&self, wish: &Wish) -> Result<Project> {
        let (files, alone): (&dyn Files, _) = match self {
            Self::Folder { folder, .. } => (folder, None),
            Self::File { name, folder, .. } => (folder, Some(name.as_str())),
            Self::Archive { files, .. } => (files, None),
        };
        let mut project = recognize(files, wish, alone)?;
        if matches!(self, Self::Archive { .. }) {
            if project.code == Code::Built {
                let message = "the archive holds a Cargo project, which has to be built first";
                return Err(Failure::new(Exit::Build, message).hint("deploy the project's folder"));
            }
            project.dependencies = Dependencies::None;
        }
        Ok(project)
    }

    /// The project of several functions that it is, if it is one.
    pub fn whole(&self, wish: &Wish) -> Option<Whole> {
        match self {
            Self::Folder { folder, .. } => whole::whole(folder, wish),
            Self::Archive { files, .. } => whole::whole(files, wish),
            Self::File { .. } => None,
        }
    }

    /// Installs what the parts of a project need, and packs all of it.
    pub async fn make_whole(self, whole: &Whole, options: &Options<'_>) -> Result<Vec<u8>> {
        let (root, mut folder) = match self {
            Self::Archive { bytes, .. } => return Ok(bytes),
            Self::Folder { root, folder } | Self::File { path: root, folder, .. } => (root, folder),
        };
        let reuse = match options.install {
            Install::Needed => Some(Reuse::Same),
            Install::Again => Some(Reuse::Nothing),
            Install::Nothing => None,
        };
        let parts = if reuse.is_some() {
            whole.parts(&folder)?
        } else {
            Vec::new()
        };
        for part in parts {
            install_part(&root, &mut folder, &part, options, reuse.unwrap_or(Reuse::Same)).await?;
        }
        pack::zip(&folder).map_err(|error| Failure::new(Exit::Build, chain(&error)))
    }

    /// The function's name: the one that was given, or one made from the path.
    pub fn name(&self, given: Option<&str>) -> Result<String> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let path = match self {
            Self::Folder { root: path, .. } | Self::File { path, .. } | Self::Archive { path, .. } => path,
        };
        let full = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        name::from_path(&full).ok_or_else(|| {
            Failure::usage(format!("{} gives no name for a function", path.display())).hint("choose one with --name")
        })
    }

    /// Installs, builds and packs.
    pub async fn make(self, project: &Project, options: &Options<'_>) -> Result<Vec<u8>> {
        let mut folder = match self {
            Self::Archive { bytes, .. } => return Ok(bytes),
            Self::File { mut folder, .. } => {
                if let Code::Renamed { from, to } = &project.code {
                    folder.rename(from, to);
                }
                folder
            }
            Self::Folder { root, mut folder } => {
                add_description_above(&root, &mut folder, project);
                complete(&root, folder, project, options).await?
            }
        };
        if options.runtime == project.dialect.own_runtime {
            folder.make_executable(project.dialect.own_program);
        }
        pack::zip(&folder).map_err(|error| Failure::new(Exit::Build, chain(&error)))
    }
}

/// Installs what one folder of a project needs, into that folder.
async fn install_part(
    root: &Path,
    folder: &mut Folder,
    part: &Part,
    options: &Options<'_>,
    reuse: Reuse,
) -> Result<()> {
    let cache = Cache::open(options.cache.clone())?;
    let root = root.join(&part.folder);
    let job = Job {
        root: &root,
        dialect: part.project.dialect,
        dependencies: &part.project.dependencies,
        interpreters: part
            .project
            .interpreters(&part.runtime, part.language, options.interpreters),
        reuse,
    };
    let built = build(&job, &cache).await?;
    let built = if part.folder.is_empty() {
        built
    } else {
        built.below(&part.folder)
    };
    if part.language == Language::Node {
        let installed = root_of(&part.folder, "node_modules/");
        folder.remove(|path| path.starts_with(&installed));
    }
    folder.add_below(built);
    Ok(())
}

fn root_of(folder: &str, inner: &str) -> String {
    if folder.is_empty() {
        inner.to_owned()
    } else {
        format!("{folder}/{inner}")
    }
}

/// What is said of the app in the folder above goes along: the provider reads it.
fn add_description_above(root: &Path, folder: &mut Folder, project: &Project) {
    const NAME: &str = "app.yaml";
    let full = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let above = full.parent().map(|parent| parent.join(NAME));
    if matches!(project.dialect.told, Told::ByFile(_))
        && !folder.has(NAME)
        && let Some(above) = above.filter(|path| path.is_file())
    {
        folder.add_below(Folder::of_file(&above, NAME, false));
    }
}

/// A folder's code with everything that it depends on.
async fn complete(root: &Path, mut folder: Folder, project: &Project, options: &Options<'_>) -> Result<Folder> {
    let reuse = match options.install {
        Install::Needed => Reuse::Same,
        Install::Again => Reuse::Nothing,
        Install::Nothing => return prebuilt(root, folder, project),
    };
    let language = match &project.dependencies {
        Dependencies::None => return Ok(folder),
        Dependencies::Npm { .. } => Language::Node,
        // Cargo needs no interpreter: which one is found does not matter.
        Dependencies::Pip | Dependencies::Cargo { .. } => Language::Python,
    };
    let cache = Cache::open(options.cache.clone())?;
    let job = Job {
        root,
        dialect: project.dialect,
        dependencies: &project.dependencies,
        interpreters: project.interpreters(options.runtime, language, options.interpreters),
        reuse,
    };
    let built = build(&job, &cache).await?;
    if project.code == Code::Built {
        return Ok(built);
    }
    if language == Language::Node {
        folder.remove(|path| path.starts_with("node_modules/"));
    }
    folder.add_below(built);
    Ok(folder)
}

/// What lies in the folder is all there is.
fn prebuilt(root: &Path, folder: Folder, project: &Project) -> Result<Folder> {
    let Dependencies::Cargo { program, .. } = &project.dependencies else {
        return Ok(folder);
    };
    let path = root.join("target/release").join(program);
    if !path.is_file() {
        return Err(Failure::new(Exit::Build, format!("{} is not there", path.display()))
            .hint("build it, or leave --prebuilt out"));
    }
    Ok(Folder::of_file(&path, project.dialect.own_program, true))
}

impl From<Unrecognized> for Failure {
    fn from(error: Unrecognized) -> Self {
        Self::new(Exit::Build, error.message).hint(error.hint)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self {
            exit: Exit::Build,
            message: chain(&error),
            hint: error.hint(),
        }
    }
}
