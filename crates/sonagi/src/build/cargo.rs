//! A Cargo project: its program is built for this machine and becomes the code. Build folders are kept by project, so
//! that a second build compiles only what changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use super::cache::Key;
use super::pip::copy;
use super::plan::{BUILD, Shown};
use super::run::{Step, prepare, run};
use super::{BuildError, Cache, Job, Reuse, host};
use crate::project::files::Folder;

/// Builds.
pub async fn build(job: &Job<'_>, package: &str, program: &str, cache: &Cache) -> Result<Folder, BuildError> {
    let project = fs::canonicalize(job.root).map_err(BuildError::io("finding", job.root))?;
    let workspace = workspace_of(&project);
    let toolchain = toolchain(&project)?;
    let digest = Key::new("cargo 1")
        .part(project.as_os_str().as_encoded_bytes())
        .finish();
    let held = cache.project(&digest)?;
    let build = held.path();
    let source = build.join("src");
    // Files that are gone from the project must be gone here.
    remove(&source)?;
    if job.reuse == Reuse::Nothing {
        remove(&build.join("target"))?;
    }
    copy(&Folder::open(&workspace, &["target", "node_modules"])?, &source)?;
    host::copy_configuration(&build.join("home"))?;
    let cargo_home = build.join("home/.cargo");
    let member = project.strip_prefix(&workspace).unwrap_or(Path::new(""));
    let locked = source.join("Cargo.lock").is_file();
    let mut environment = host::environment(&[&toolchain.join("bin")]);
    environment.push(("CARGO_HOME".to_owned(), format!("{BUILD}/home/.cargo")));
    environment.push(("CARGO_TERM_COLOR".to_owned(), "never".to_owned()));
    let mut shown = host::shown_by_variables(&environment);
    if !["/usr", "/opt"].iter().any(|folder| toolchain.starts_with(folder)) {
        shown.push(Shown::same(&toolchain));
    }
    let registry = locked.then(|| complete_registry(&source.join("Cargo.lock"))).flatten();
    let manifest = format!("{BUILD}/src/{}", member.join("Cargo.toml").display());
    let target = format!("{BUILD}/target");
    let mut arguments = vec![
        "build",
        "--release",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target,
    ];
    arguments.extend(["--package", package, "--bin", program]);
    if locked {
        arguments.push("--locked");
    }
    if let Some(registry) = registry {
        let place = cargo_home.join("registry");
        fs::create_dir_all(&place).map_err(BuildError::io("making the folder", &place))?;
        shown.push(Shown {
            source: registry,
            target: PathBuf::from(format!("{BUILD}/home/.cargo/registry")),
        });
        arguments.push("--offline");
    }
    prepare(build)?;
    let cargo = toolchain.join("bin/cargo").display().to_string();
    run(Step {
        name: "building with cargo",
        build,
        shown,
        command: std::iter::once(cargo)
            .chain(arguments.into_iter().map(str::to_owned))
            .collect(),
        environment,
        directory: format!("{BUILD}/src"),
    })
    .await?;
    Ok(Folder::of_file(
        &build.join("target/release").join(program),
        job.dialect.own_program,
        true,
    ))
}

fn remove(path: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BuildError::io("removing", path)(error)),
        _ => Ok(()),
    }
}

/// The folder that has to be copied: the workspace that the package is a member of, or the package.
fn workspace_of(project: &Path) -> PathBuf {
    let begins = |folder: &Path| {
        fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| crate::project::is_cargo_workspace(&text))
    };
    if begins(project) {
        return project.to_owned();
    }
    project
        .ancestors()
        .skip(1)
        .find(|folder| begins(folder))
        .unwrap_or(project)
        .to_owned()
}

/// The toolchain's own folder, as the user's `rustc` names it for this project. Nothing is downloaded for that.
fn toolchain(project: &Path) -> Result<PathBuf, BuildError> {
    let missing = || BuildError::Missing {
        what: "a Rust toolchain".to_owned(),
        hint: "install Rust (rustup or the distribution's package), or build the program yourself and deploy the file"
            .to_owned(),
    };
    let beside_cargo = host::cargo_home()
        .map(|home| home.join("bin/rustc"))
        .filter(|path| path.is_file());
    let rustc = host::on_path("rustc").or(beside_cargo).ok_or_else(missing)?;
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .current_dir(project)
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output()
        .map_err(BuildError::io("starting", &rustc))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && sysroot.join("bin/cargo").is_file() {
        Ok(sysroot)
    } else {
        Err(missing())
    }
}

/// The user's package registry, if every package of the lock file is unpacked there: then no network is needed.
fn complete_registry(lock: &Path) -> Option<PathBuf> {
    let registry = host::cargo_home()?.join("registry");
    let table: Table = fs::read_to_string(lock).ok()?.parse().ok()?;
    let sources: Vec<PathBuf> = fs::read_dir(registry.join("src"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let packages = table.get("package").and_then(Value::as_array)?;
    let complete = packages.iter().all(|package| {
        let text = |name: &str| package.get(name).and_then(Value::as_str);
        match text("source") {
            None => true,
            Some(source) if source.starts_with("registry+") => {
                let folder = format!("{}-{}", text("name").unwrap_or(""), text("version").unwrap_or(""));
                sources.iter().any(|registry| registry.join(&folder).is_dir())
            }
            Some(_) => false,
        }
    });
    complete.then_some(registry)
}
