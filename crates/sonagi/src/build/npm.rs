//! `package.json`: installed by npm under the very Node.js that will run the function.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Key;
use super::plan::BUILD;
use super::run::{Step, prepare, run};
use super::{BuildError, Cache, Job, Reuse, host};
use crate::project::files::Folder;

/// What npm reads of a project.
const INPUT: &[&str] = &["package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"];

/// Installs, or takes an earlier result.
pub async fn install(job: &Job<'_>, locked: bool, cache: &Cache) -> Result<Folder, BuildError> {
    let interpreter = job.interpreter("a Node.js")?;
    let key = Key::new("npm 1")
        .part(std::env::consts::ARCH.as_bytes())
        .part(interpreter.version.as_bytes());
    let digest = INPUT.iter().fold(key, |key, name| key.file(job.root, name)).finish();
    if job.reuse == Reuse::Same
        && let Some(tree) = cache.layer(&digest)
    {
        return below_modules(&tree);
    }
    let (node, prefix) = host::program(Path::new(&interpreter.program))?;
    let (npm, npm_prefix) = host::program(&npm(&node)?)?;
    let work = cache.work()?;
    let source = work.path().join("src");
    fs::create_dir(&source).map_err(BuildError::io("making the folder", &source))?;
    for name in INPUT {
        let file = job.root.join(name);
        if file.is_file() {
            fs::copy(&file, source.join(name)).map_err(BuildError::io("copying", &file))?;
        }
    }
    host::copy_configuration(&work.path().join("home"))?;
    prepare(work.path())?;
    let environment = host::environment(&[node.parent().unwrap_or(Path::new("/usr/bin"))]);
    let mut shown = host::shown_by_variables(&environment);
    shown.extend(prefix);
    shown.extend(npm_prefix);
    let subcommand = if locked { "ci" } else { "install" };
    let cache_argument = format!("--cache={BUILD}/tmp/npm");
    let arguments = [
        subcommand,
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        &cache_argument,
    ];
    let command = [node.display().to_string(), npm.display().to_string()];
    run(Step {
        name: "installing package.json",
        build: work.path(),
        shown,
        command: command.into_iter().chain(arguments.map(str::to_owned)).collect(),
        environment,
        directory: format!("{BUILD}/src"),
    })
    .await?;
    let modules = source.join("node_modules");
    fs::create_dir_all(&modules).map_err(BuildError::io("making the folder", &modules))?;
    let tree = cache.keep_layer(&digest, &modules)?;
    below_modules(&tree)
}

/// The installed packages, as they lie in the archive.
fn below_modules(tree: &Path) -> Result<Folder, BuildError> {
    let mut built = Folder::open_built(tree)?;
    // npm's own note of where packages came from: it differs between machines, and nothing reads it at run time.
    built.remove(|path| path == ".package-lock.json");
    Ok(built.below("node_modules"))
}

/// npm's program: the one beside this Node.js, or the one on the search path.
fn npm(node: &Path) -> Result<PathBuf, BuildError> {
    let beside = node
        .parent()
        .map(|folder| folder.join("npm"))
        .filter(|path| path.exists());
    // Beside a Node.js without links there is npm's package.
    let package = node
        .parent()
        .and_then(Path::parent)
        .map(|prefix| prefix.join("lib/node_modules/npm/bin/npm-cli.js"));
    let found = package
        .filter(|path| path.is_file())
        .or(beside)
        .or_else(|| host::on_path("npm"));
    found.ok_or_else(|| BuildError::Missing {
        what: "npm".to_owned(),
        hint: "install npm, or install the packages yourself and deploy with --prebuilt".to_owned(),
    })
}
