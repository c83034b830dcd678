//! Remembers what was installed into a folder, so that the next run can tell in one file read that nothing is to do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const NAME: &str = ".installed";

/// Whether exactly this was installed into the folder, completely.
pub fn matches(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join(NAME)).is_ok_and(|found| found == wanted)
}

/// Empties the folder, lets `install` fill it, and records what it holds. A failure leaves no record, so the next run
/// begins again.
///
/// # Errors
/// Those of `install` and of the file system.
pub fn install(folder: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    install()?;
    fs::write(folder.join(NAME), wanted).with_context(|| format!("cannot record {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_or_different_installation_is_done_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tool");
        assert!(install(&folder, "tool 1", || anyhow::bail!("no network")).is_err());
        assert!(!matches(&folder, "tool 1"));
        install(&folder, "tool 1", || Ok(fs::write(folder.join("old"), "")?)).unwrap();
        assert!(matches(&folder, "tool 1") && !matches(&folder, "tool 2"));
        install(&folder, "tool 2", || Ok(())).unwrap();
        assert!(matches(&folder, "tool 2") && !folder.join("old").exists());
    }
}
