//! Programs from Debian's own packages, installed only where a program is missing.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// A program that must be there.
#[derive(Debug)]
pub struct Need {
    /// Shows that it is there.
    probe: &'static [&'static str],
    /// The packages that bring it.
    packages: &'static [&'static str],
}

impl Need {
    /// A program and the packages that bring it.
    pub const fn new(probe: &'static [&'static str], packages: &'static [&'static str]) -> Self {
        Self { probe, packages }
    }
}

const NEEDS: &[Need] = &[
    Need {
        probe: &["cc", "--version"],
        packages: &["gcc", "libc6-dev"],
    },
    Need {
        probe: &["python3", "-c", "import ensurepip, venv"],
        packages: &["python3", "python3-venv"],
    },
    Need {
        probe: &["curl", "--version"],
        packages: &["curl", "ca-certificates"],
    },
    Need {
        probe: &["git", "--version"],
        packages: &["git"],
    },
    Need {
        probe: &["nft", "--version"],
        packages: &["nftables"],
    },
    Need {
        probe: &["strace", "--version"],
        packages: &["strace"],
    },
];

/// Installs what is missing of what every test needs.
///
/// # Errors
/// As [`install`].
pub fn run() -> Result<()> {
    install(NEEDS)
}

/// Installs what is missing of some programs.
///
/// # Errors
/// Something is missing and this is no Debian, or not root, or the installation failed.
pub fn install(needs: &[Need]) -> Result<()> {
    let missing = missing(needs, |probe| shell::succeeds(Command::new(probe[0]).args(&probe[1..])));
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: installing Debian packages {}", missing.join(" "));
    if !shell::succeeds(Command::new("apt-get").arg("--version")) {
        bail!(
            "apt-get is not there: install the equivalents of {} by hand",
            missing.join(", ")
        );
    }
    shell::run(Command::new("apt-get").args(["update", "-qq"]))?;
    shell::run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn missing(needs: &[Need], is_there: impl Fn(&[&str]) -> bool) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|need| !is_there(need.probe))
        .flat_map(|need| need.packages)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_missing_programs_are_named() {
        assert_eq!(missing(NEEDS, |_| true), Vec::<&str>::new());
        assert_eq!(
            missing(NEEDS, |probe| probe[0] != "python3"),
            ["python3", "python3-venv"]
        );
    }
}
