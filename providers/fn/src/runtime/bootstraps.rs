//! The bootstraps of the managed runtimes: embedded here, written once at start to a folder that instances see read-only.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sonagi_ports::{Interpreter, Language};

/// Files of the Python bootstrap; the first is what the interpreter is started with.
const PYTHON: [(&str, &str); 2] = [
    ("bootstrap.py", include_str!("../../bootstrap/python/bootstrap.py")),
    ("_sonagi_fn.py", include_str!("../../bootstrap/python/_sonagi_fn.py")),
];

/// Files of the Node bootstrap.
const NODE: [(&str, &str); 1] = [("bootstrap.cjs", include_str!("../../bootstrap/node/bootstrap.cjs"))];

/// Compiles a module beside itself. The result is trusted without a look at the source, so the folder is written anew at
/// every start.
const COMPILE: &str = "import py_compile, sys\nfor path in sys.argv[1:]:\n    py_compile.compile(path, doraise=True, \
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";

/// The bootstraps could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write the bootstraps to {path}")]
pub struct BootstrapError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The bootstraps on this host's disk.
#[derive(Debug)]
pub(super) struct Bootstraps {
    dir: PathBuf,
}

impl Bootstraps {
    /// Writes them anew, and compiles the Python one with each Python of the host.
    pub(super) fn write(dir: PathBuf, interpreters: &[Interpreter]) -> Result<Self, BootstrapError> {
        let failed = |source| BootstrapError {
            path: dir.clone(),
            source,
        };
        for (language, files) in [(Language::Python, &PYTHON[..]), (Language::Node, &NODE[..])] {
            write_folder(&dir.join(folder(language)), files).map_err(failed)?;
        }
        let mut done = std::collections::BTreeSet::new();
        for interpreter in interpreters {
            let minor: String = interpreter.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            if interpreter.language == Language::Python && done.insert(minor) {
                compile(interpreter, &dir.join(folder(Language::Python)));
            }
        }
        Ok(Self { dir })
    }

    /// The folder of a language.
    pub(super) fn folder(&self, language: Language) -> PathBuf {
        self.dir.join(folder(language))
    }
}

const fn folder(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::Node => "node",
    }
}

fn write_folder(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(folder)?;
    readable(folder, 0o755)?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text)?;
        readable(&path, 0o644)?;
    }
    Ok(())
}

/// Whatever the umask of this process: instances read these files under a uid of their own.
fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A failure only costs time at each start, so it is no error.
fn compile(interpreter: &Interpreter, folder: &Path) {
    let modules = PYTHON.iter().skip(1).map(|(name, _)| folder.join(name));
    let compiled = Command::new(&interpreter.program)
        .args(["-I", "-S", "-c", COMPILE])
        .args(modules)
        .env_clear()
        .envs(interpreter.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    let cache = folder.join("__pycache__");
    match compiled {
        Ok(output) if output.status.success() => {
            for path in fs::read_dir(&cache).into_iter().flatten().flatten() {
                let _ = readable(&path.path(), 0o644);
            }
            let _ = readable(&cache, 0o755);
        }
        Ok(_) | Err(_) => tracing::debug!(
            interpreter = %interpreter.program,
            "the Python bootstrap could not be compiled; cold starts take longer"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join("python/old.py");
        fs::create_dir_all(stale.parent().unwrap()).unwrap();
        fs::write(&stale, "old").unwrap();
        let bootstraps = Bootstraps::write(dir.path().to_owned(), &[]).unwrap();
        assert!(!stale.exists());
        assert!(bootstraps.folder(Language::Node).join("bootstrap.cjs").exists());
    }
}
