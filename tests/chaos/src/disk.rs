//! A disk of its own for a platform's state: a file system in an image, mounted in the mount namespace of this process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sonagi_testkit::Setup;
use tempfile::TempDir;

/// Runs a program of the system to its end.
///
/// # Errors
/// It cannot be started, or fails.
pub fn system(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| format!("start {program}"))?;
    ensure!(status.success(), "{program} {}: {status}", arguments.join(" "));
    Ok(())
}

/// A path as an argument.
///
/// # Panics
/// It is no text.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// An image, mounted while this lives.
#[derive(Debug)]
pub struct Mounted {
    /// Where.
    pub place: PathBuf,
}

impl Mounted {
    /// Mounts it.
    ///
    /// # Errors
    /// It cannot be mounted (needs root).
    pub fn new(image: &Path, place: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&place)?;
        system("mount", &["-o", "loop", text(image), text(&place)])?;
        Ok(Self { place })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = system("umount", &[text(&self.place)]) {
            eprintln!("{error:#}");
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Disk {
    mounted: Mounted,
    // Behind the mount, so that it goes after it.
    folder: TempDir,
}

impl Disk {
    /// Makes a disk of this size, as `truncate` reads it, with the state directory of a platform that was never used.
    ///
    /// # Errors
    /// The image cannot be made or mounted (needs root).
    ///
    /// # Panics
    /// A platform does not come up.
    pub async fn with_state(size: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("disk");
        system("truncate", &["-s", size, text(&image)])?;
        system("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let mounted = Mounted::new(&image, folder.path().join("live"))?;
        let disk = Self { mounted, folder };
        disk.fill_state().await?;
        Ok(disk)
    }

    /// The first start fills the directory of interpreters, which is then moved out: on another disk it would be there.
    async fn fill_state(&self) -> Result<()> {
        let data = self.data();
        let mut first = Setup::new().start().await;
        first.stop().await;
        std::fs::create_dir_all(&data)?;
        rustix::fs::chmod(&data, rustix::fs::Mode::from_raw_mode(0o700))?;
        with_interpreters_outside(first.data(), &self.folder().join("runtimes"))?;
        system("cp", &["-a", &format!("{}/.", text(first.data())), text(&data)])?;
        // What was copied by hand was acknowledged by nobody.
        system("sync", &["-f", text(&data)])
    }

    /// The state directory on it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.mounted.place.join("data")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.mounted.place
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder().join("disk")
    }

    /// A folder beside the image.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Prepares the folder in which the platform keeps its state: interpreters are large, and stay outside of the image.
fn with_interpreters_outside(data: &Path, outside: &Path) -> Result<()> {
    let inside = data.join("runtimes");
    system("cp", &["-a", text(&inside), text(outside)])?;
    std::fs::remove_dir_all(&inside)?;
    std::os::unix::fs::symlink(outside, &inside)?;
    Ok(())
}
