//! Container runtimes as references: each runs the same static program in a sandbox of its own until its first byte.
//!
//! Packages are unpacked, not installed (`cargo xtask setup --bench`). Each runtime is in the fairest configuration that
//! works here: no image, no storage driver, no network, a root file system that is the program and nothing else.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// Longest time for one start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hides the cgroup v2 tree of a hybrid host, which crun 1.8 refuses, in a mount namespace of the runtime's own. Where there
/// is none the runtime is run as it is.
const HIDE_UNIFIED: &str = "umount /sys/fs/cgroup/unified && exec \"$@\"";

/// Where the runtimes are, and the folder that they run in.
#[derive(Debug)]
pub struct Containers {
    packages: PathBuf,
    folder: TempDir,
    program: PathBuf,
    number: u32,
    hybrid: bool,
}

/// A runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// No sandbox: the program itself.
    Bare,
    /// The program itself, in the wrapper that crun needs on a hybrid host.
    Wrapper,
    /// bubblewrap.
    Bubblewrap,
    /// crun.
    Crun,
    /// runc.
    Runc,
    /// podman with runc.
    Podman,
}

impl Runtime {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare exec of the same binary",
            Self::Wrapper => "the wrapper around a bare exec",
            Self::Bubblewrap => "bwrap --unshare-all of the same binary",
            Self::Crun => "crun run of the same binary, net of its wrapper",
            Self::Runc => "runc run of the same binary",
            Self::Podman => "podman run --rootfs of the same binary",
        }
    }
}

impl Containers {
    /// Makes a root file system of a static program that writes something and ends when it is started outside.
    ///
    /// # Errors
    /// The packages are not there, or the folder cannot be made.
    pub fn new(checkout: &Path, program: &Path) -> Result<Self> {
        let packages = checkout.join(".cache/bench/debian/root");
        ensure!(
            packages.join("usr/bin/bwrap").exists(),
            "container runtimes are not there: run `cargo xtask setup --bench`"
        );
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("rootfs");
        for name in ["proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        let inside = root.join("bootstrap");
        fs::copy(program, &inside).with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(Self {
            packages,
            folder,
            program: inside,
            number: 0,
            hybrid: Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists(),
        })
    }

    /// Whether crun is run in the wrapper here.
    #[must_use]
    pub const fn is_wrapped(&self) -> bool {
        self.hybrid
    }

    /// The time until the program's first byte, milliseconds. Returns when everything has ended.
    ///
    /// # Errors
    /// The runtime cannot run it.
    pub async fn first_byte(&mut self, runtime: Runtime) -> Result<f64> {
        self.number += 1;
        let words = self.words(runtime)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.folder.path());
        command
            .env("LD_LIBRARY_PATH", self.packages.join("usr/lib/x86_64-linux-gnu"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", words[0].to_string_lossy()))?;
        let mut output = child.stdout.take().context("its output")?;
        let mut first = [0];
        let read = timeout(PATIENCE, output.read(&mut first)).await;
        let took = begun.elapsed();
        let read = read.with_context(|| format!("{runtime:?}: no byte in {PATIENCE:?}"))??;
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        let ended = ended.with_context(|| format!("{runtime:?}: no end in {PATIENCE:?}"))??;
        let errors = String::from_utf8_lossy(&ended.stderr);
        ensure!(read == 1, "{runtime:?}: {}: {}", ended.status, errors.trim());
        Ok(took.as_secs_f64() * 1e3)
    }

    fn words(&self, runtime: Runtime) -> Result<Vec<OsString>> {
        let (packages, folder) = (&self.packages, self.folder.path());
        let bare = vec![OsString::from(&self.program)];
        let name = format!("bench-{}-{}", std::process::id(), self.number);
        let root = |name: &str| folder.join(name).into_os_string();
        Ok(match runtime {
            Runtime::Bare => bare,
            Runtime::Wrapper => wrapped(bare),
            Runtime::Bubblewrap => {
                let mut words = vec![packages.join("usr/bin/bwrap").into_os_string()];
                words.extend(["--unshare-all", "--ro-bind", "rootfs", "/"].map(OsString::from));
                words.extend(["--proc", "/proc", "--dev", "/dev", "/bootstrap"].map(OsString::from));
                words
            }
            Runtime::Crun => {
                self.specify()?;
                let program = packages.join("usr/bin/crun").into_os_string();
                let words = vec![program, "--root".into(), root("crun"), "run".into(), name.into()];
                if self.hybrid { wrapped(words) } else { words }
            }
            Runtime::Runc => {
                self.specify()?;
                let program = packages.join("usr/sbin/runc").into_os_string();
                vec![program, "--root".into(), root("runc"), "run".into(), name.into()]
            }
            Runtime::Podman => self.podman(),
        })
    }

    fn podman(&self) -> Vec<OsString> {
        let (packages, folder) = (&self.packages, self.folder.path());
        let mut words = vec![packages.join("usr/bin/podman").into_os_string()];
        for (flag, name) in [
            ("--root", "podman"),
            ("--runroot", "podman-run"),
            ("--tmpdir", "podman-tmp"),
            ("--network-config-dir", "podman-net"),
        ] {
            words.extend([flag.into(), folder.join(name).into_os_string()]);
        }
        words.extend(["--conmon".into(), packages.join("usr/bin/conmon").into_os_string()]);
        words.extend(["--runtime".into(), packages.join("usr/sbin/runc").into_os_string()]);
        words.extend(["--cgroup-manager", "cgroupfs", "--events-backend", "none", "run"].map(OsString::from));
        words.extend(["--rm", "--network", "none", "--ulimit", "nofile=1024:1024"].map(OsString::from));
        words.extend(["--ulimit", "nproc=1024:1024", "--rootfs"].map(OsString::from));
        words.extend([folder.join("rootfs").into_os_string(), "/bootstrap".into()]);
        words
    }

    /// The runtimes' own default specification, with our program and no terminal; written once.
    fn specify(&self) -> Result<()> {
        let file = self.folder.path().join("config.json");
        if file.exists() {
            return Ok(());
        }
        let made = std::process::Command::new(self.packages.join("usr/sbin/runc"))
            .current_dir(self.folder.path())
            .arg("spec")
            .output()?;
        ensure!(
            made.status.success(),
            "runc spec: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
        document["process"]["terminal"] = false.into();
        document["process"]["args"] = serde_json::json!(["/bootstrap"]);
        Ok(fs::write(&file, serde_json::to_vec(&document)?)?)
    }
}

fn wrapped(words: Vec<OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = ["unshare", "-m", "sh", "-c", HIDE_UNIFIED, "sh"]
        .map(OsString::from)
        .into();
    all.extend(words);
    all
}
