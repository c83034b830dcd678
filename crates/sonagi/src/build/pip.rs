//! `requirements.txt`: installed by the very interpreter that will run the function.

use std::fs;
use std::path::Path;

use super::cache::Key;
use super::plan::BUILD;
use super::run::{Step, prepare, run};
use super::{BuildError, Cache, Job, Reuse, host};
use crate::project::files::{Entry, Files as _, Folder};

/// Installs, or takes an earlier result.
pub async fn install(job: &Job<'_>, cache: &Cache) -> Result<Folder, BuildError> {
    let interpreter = job.interpreter("a Python interpreter")?;
    let source = Folder::open(job.root, &["node_modules", "target"])?;
    let digest = key(job.root, &source, &interpreter.version);
    if job.reuse == Reuse::Same
        && let Some(tree) = cache.layer(&digest)
    {
        return Ok(Folder::open_built(&tree)?);
    }
    let work = cache.work()?;
    copy(&source, &work.path().join("src"))?;
    host::copy_configuration(&work.path().join("home"))?;
    let out = work.path().join("out");
    fs::create_dir(&out).map_err(BuildError::io("making the folder", &out))?;
    prepare(work.path())?;
    let (python, prefix) = host::program(Path::new(&interpreter.program))?;
    let environment = host::environment(&[python.parent().unwrap_or(Path::new("/usr/bin"))]);
    let mut shown = host::shown_by_variables(&environment);
    shown.extend(prefix);
    let step = |name, arguments: &[&str]| {
        let command = std::iter::once(python.display().to_string())
            .chain(arguments.iter().map(|argument| (*argument).to_owned()));
        Step {
            name,
            build: work.path(),
            shown: shown.clone(),
            command: command.collect(),
            environment: environment.clone(),
            directory: format!("{BUILD}/src"),
        }
    };
    let target = format!("{BUILD}/out");
    let pip = [
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-compile",
        "--target",
    ];
    run(step(
        "installing requirements.txt",
        &[&pip[..], &[&target, "-r", "requirements.txt"]].concat(),
    ))
    .await?;
    // Compiled ahead, with hashes in place of times: the tree is read-only when it runs, and all its files have one time.
    // A file that is no valid Python for this version (templates, other versions) is no reason to fail.
    let compile = [
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        &target,
    ];
    match run(step("compiling dependencies", &compile)).await {
        Ok(()) | Err(BuildError::Step { .. }) => {}
        Err(error) => return Err(error),
    }
    let tree = cache.keep_layer(&digest, &out)?;
    Ok(Folder::open_built(&tree)?)
}

fn key(root: &Path, source: &Folder, version: &str) -> String {
    let tops = source
        .paths()
        .into_iter()
        .filter(|path| !path.contains('/') && path.ends_with(".txt"));
    let mut key = Key::new("pip 1")
        .part(std::env::consts::ARCH.as_bytes())
        .part(version.as_bytes());
    for path in tops {
        key = key.file(root, path);
    }
    let text = source.text("requirements.txt").unwrap_or_default();
    if names_local_files(&text) {
        for path in source.paths() {
            key = key.file(root, path);
        }
    }
    key.finish()
}

/// Whether requirements name files of the project: then all of it counts.
fn names_local_files(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        line.starts_with('.')
            || line.starts_with("-e")
            || line.starts_with("--editable")
            || line.contains("file:")
            || line.ends_with(".whl")
    })
}

/// Copies files, keeping times and execute bits: builders go by both.
pub fn copy(source: &Folder, target: &Path) -> Result<(), BuildError> {
    for (path, entry) in source.entries() {
        let to = target.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(BuildError::io("making the folder", parent))?;
        }
        match entry {
            Entry::File { source, .. } => {
                fs::copy(source, &to).map_err(BuildError::io("copying", source))?;
                let modified = fs::metadata(source).and_then(|data| data.modified());
                let copied = fs::File::options().write(true).open(&to);
                if let (Ok(modified), Ok(copied)) = (modified, copied) {
                    // Without it a builder works more than it must, nothing else.
                    let _ = copied.set_modified(modified);
                }
            }
            Entry::Link { target: text } => {
                // A folder that is used again may have the link already.
                let _ = fs::remove_file(&to);
                std::os::unix::fs::symlink(text, &to).map_err(BuildError::io("linking", &to))?;
            }
        }
    }
    fs::create_dir_all(target).map_err(BuildError::io("making the folder", target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_requirements_are_seen() {
        for (text, local) in [
            ("idna==3.10\n# ./x\n", false),
            ("./lib", true),
            ("-e .", true),
            ("x @ file:///a", true),
            ("  wheels/a.whl", true),
            ("-r more.txt", false),
        ] {
            assert_eq!(names_local_files(text), local, "{text}");
        }
    }
}
