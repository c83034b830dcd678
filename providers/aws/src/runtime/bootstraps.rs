//! The bootstraps of the managed runtimes: embedded here, written once at start to a folder that instances see
//! read-only at `/var/runtime`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sonagi_ports::{Interpreter, Language, Mount};

use super::launch::{self, SUPERVISOR};

/// Files of the Python bootstrap. `bootstrap.py` is what the interpreter is started with; the others are modules, so
/// that compiled code can be used for them.
const PYTHON: &[(&str, &str)] = &[
    ("bootstrap.py", include_str!("../../bootstrap/python/bootstrap.py")),
    (
        "_sonagi_runtime.py",
        include_str!("../../bootstrap/python/_sonagi_runtime.py"),
    ),
    (
        "_sonagi_faults.py",
        include_str!("../../bootstrap/python/_sonagi_faults.py"),
    ),
    (
        "_sonagi_logging.py",
        include_str!("../../bootstrap/python/_sonagi_logging.py"),
    ),
    (
        "_sonagi_json.py",
        include_str!("../../bootstrap/python/_sonagi_json.py"),
    ),
    (
        "_sonagi_stem.py",
        include_str!("../../bootstrap/python/_sonagi_stem.py"),
    ),
    (REHEARSAL, include_str!("../../bootstrap/python/_sonagi_rehearsal.py")),
    (
        "snapshot_restore_py.py",
        include_str!("../../bootstrap/python/snapshot_restore_py.py"),
    ),
];

/// Not compiled ahead, as the code of functions is not: compiling is rehearsed with it.
const REHEARSAL: &str = "_sonagi_rehearsal.py";

/// Files of the Node bootstrap.
const NODE: &[(&str, &str)] = &[
    ("bootstrap.cjs", include_str!("../../bootstrap/node/bootstrap.cjs")),
    ("channel.cjs", include_str!("../../bootstrap/node/channel.cjs")),
    ("errors.cjs", include_str!("../../bootstrap/node/errors.cjs")),
    ("loader.cjs", include_str!("../../bootstrap/node/loader.cjs")),
    ("logging.cjs", include_str!("../../bootstrap/node/logging.cjs")),
    ("rehearsal.mjs", include_str!("../../bootstrap/node/rehearsal.mjs")),
    ("stem.cjs", include_str!("../../bootstrap/node/stem.cjs")),
    ("streaming.cjs", include_str!("../../bootstrap/node/streaming.cjs")),
];

/// Compiles every module beside itself. The result is trusted without a look at the source, so the folder must be
/// written anew at every start.
const COMPILE: &str = "import py_compile, sys\nfor path in sys.argv[1:]:\n    py_compile.compile(path, doraise=True, \
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";

/// The bootstraps could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}")]
pub struct BootstrapError {
    /// What was tried.
    action: &'static str,
    /// On what.
    path: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// The bootstraps on this host's disk.
#[derive(Debug)]
pub(super) struct Bootstraps {
    dir: PathBuf,
    /// Folder of the supervisor, if there is one.
    supervisor: Option<PathBuf>,
}

impl Bootstraps {
    /// Writes them anew, and compiles the Python modules with each Python 3.N of the host: without that, every cold
    /// start would compile them again.
    pub(super) fn write(
        dir: PathBuf,
        interpreters: &[Interpreter],
        supervisor: Option<&[u8]>,
    ) -> Result<Self, BootstrapError> {
        for (language, files) in [(Language::Python, PYTHON), (Language::Node, NODE)] {
            write_folder(&dir.join(folder(language)), files)?;
        }
        let mut compiled = BTreeSet::new();
        for interpreter in interpreters
            .iter()
            .filter(|interpreter| interpreter.language == Language::Python && is_current(&interpreter.version))
        {
            if compiled.insert(minor(&interpreter.version)) {
                compile(interpreter, &dir.join(folder(Language::Python)));
            }
        }
        let supervisor = match supervisor {
            Some(program) => Some(write_supervisor(&dir, program)?),
            None => None,
        };
        Ok(Self { dir, supervisor })
    }

    /// What shows the supervisor in an instance.
    pub(super) fn supervisor(&self) -> Option<Mount> {
        self.supervisor.clone().map(launch::supervisor_mount)
    }

    /// The folder that an instance of this language sees at `/var/runtime`.
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

/// Whether Lambda's current model still has this Python: 3.8 is its oldest. Older ones cannot compile the bootstrap.
/// Source: service model of Lambda in botocore 1.44.5, shape `Runtime`.
fn is_current(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(3), Some(8))
}

/// `3.11.7` → `3.11`: versions that differ only after that share compiled code.
fn minor(version: &str) -> &str {
    version
        .match_indices('.')
        .nth(1)
        .map_or(version, |(at, _)| &version[..at])
}

fn write_folder(folder: &Path, files: &[(&str, &str)]) -> Result<(), BootstrapError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BootstrapError { action, path, source }
    };
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", folder)(error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    readable(folder, 0o755).map_err(failed("set the mode of", folder))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed("write", &path))?;
        readable(&path, 0o644).map_err(failed("set the mode of", &path))?;
    }
    Ok(())
}

fn write_supervisor(dir: &Path, program: &[u8]) -> Result<PathBuf, BootstrapError> {
    let folder = dir.join("supervisor");
    write_folder(&folder, &[])?;
    let path = folder.join(SUPERVISOR);
    let failed = |action| {
        let path = path.clone();
        move |source| BootstrapError { action, path, source }
    };
    fs::write(&path, program).map_err(failed("write"))?;
    readable(&path, 0o755).map_err(failed("set the mode of"))?;
    Ok(folder)
}

/// Whatever the umask of this process: instances read these files under a uid of their own.
fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// A failure only costs time at each start, so it is no error.
fn compile(interpreter: &Interpreter, folder: &Path) {
    let names = PYTHON.iter().skip(1).map(|(name, _)| name);
    let modules = names.filter(|name| **name != REHEARSAL).map(|name| folder.join(name));
    let result = Command::new(&interpreter.program)
        .args(["-I", "-S", "-c", COMPILE])
        .args(modules)
        .env_clear()
        .envs(interpreter.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    match result {
        Ok(output) if output.status.success() => {
            let cache = folder.join("__pycache__");
            let made = fs::read_dir(&cache)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path());
            for path in made {
                let _ = readable(&path, 0o644);
            }
            let _ = readable(&cache, 0o755);
        }
        Ok(output) => tracing::warn!(
            interpreter = %interpreter.program,
            status = %output.status,
            "the Python bootstrap could not be compiled; cold starts take longer"
        ),
        Err(error) => tracing::warn!(
            interpreter = %interpreter.program,
            %error,
            "the Python bootstrap could not be compiled; cold starts take longer"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_pythons_are_left_out() {
        let current = |version| is_current(version);
        assert!(current("3.8.18") && current("3.13.0") && current("4.0"));
        assert!(!current("3.6.15") && !current("2.7.18") && !current(""));
    }

    #[test]
    fn versions_are_cut_after_the_second_part() {
        for (version, expected) in [("3.11.7", "3.11"), ("3.11", "3.11"), ("3", "3"), ("3.13.0rc1", "3.13")] {
            assert_eq!(minor(version), expected);
        }
    }

    #[test]
    fn a_folder_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join("python/__pycache__/old.pyc");
        fs::create_dir_all(stale.parent().unwrap()).unwrap();
        fs::write(&stale, "old").unwrap();
        let bootstraps = Bootstraps::write(dir.path().to_owned(), &[], Some(b"x")).unwrap();
        assert!(!stale.exists());
        assert!(bootstraps.folder(Language::Python).join("bootstrap.py").exists());
        assert!(bootstraps.folder(Language::Node).join("bootstrap.cjs").exists());
        assert!(bootstraps.supervisor().unwrap().source.join(SUPERVISOR).exists());
    }
}
