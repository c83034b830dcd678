//! Python packages from PyPI: one environment for boto3, one for the AWS CLI (it pins another botocore), and folders
//! of packages that tests bundle into functions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::stamp;
use crate::checkout::Checkout;
use crate::shell;

/// Virtual environments below `.cache/python/`, by the requirements file of the same name.
const ENVIRONMENTS: &[&str] = &["boto3", "awscli"];

/// Package folders below `.cache/python/`, to be put into a function's archive, and their requirements file.
const BUNDLES: &[(&str, &str)] = &[("awslambdaric", "awslambdaric"), ("boto3-bundle", "boto3")];

/// Packages of the platform's own runtimes, by their pins: below `.cache/bundles/`, one folder for each version of Python
/// that they are used with, since some are compiled.
const RUNTIMES: &[(&str, &str, &[&str])] = &[("xtask/bundles/fn/python.txt", "bundles/fn", &["3.11", "3.12", "3.13"])];

/// Installs environments and bundles that are missing or pinned otherwise.
///
/// # Errors
/// pip or the file system failed.
pub fn run(checkout: &Checkout) -> Result<()> {
    for name in ENVIRONMENTS {
        let (file, wanted) = requirements(checkout, name)?;
        let folder = checkout.cache(&format!("python/{name}"));
        if !stamp::matches(&folder, &wanted) {
            println!("setup: installing the Python environment {name}: {}", summary(&wanted));
            stamp::install(&folder, &wanted, || {
                shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
                pip(checkout, &folder.join("bin/python"))
                    .arg("-r")
                    .arg(&file)
                    .pipe(shell::run)
            })?;
        }
    }
    for (name, pins) in BUNDLES {
        let (file, wanted) = requirements(checkout, pins)?;
        let folder = checkout.cache(&format!("python/{name}"));
        if !stamp::matches(&folder, &wanted) {
            println!("setup: installing the Python packages {name}: {}", summary(&wanted));
            stamp::install(&folder, &wanted, || install_into(checkout, &folder, &file))?;
        }
    }
    for (pins, parent, versions) in RUNTIMES {
        for version in *versions {
            install_for(checkout, pins, &format!("{parent}/python{version}"), version)?;
        }
    }
    Ok(())
}

/// Installs the packages of a requirements file for one version of Python, whichever this machine has.
fn install_for(checkout: &Checkout, pins: &str, folder: &str, version: &str) -> Result<()> {
    let file = checkout.path(pins);
    let wanted = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let folder = checkout.cache(folder);
    if stamp::matches(&folder, &wanted) {
        return Ok(());
    }
    println!("setup: installing the packages of {pins} for Python {version}");
    stamp::install(&folder, &wanted, || {
        let mut command = pip(checkout, &checkout.cache("python/boto3/bin/python"));
        command.args(["--no-compile", "--python-version", version, "--target"]);
        shell::run(command.arg(&folder).arg("-r").arg(&file))
    })
}

/// Installs the packages of a requirements file into a plain folder.
///
/// # Errors
/// pip failed.
pub fn install_into(checkout: &Checkout, folder: &Path, requirements: &Path) -> Result<()> {
    let mut command = pip(checkout, &checkout.cache("python/boto3/bin/python"));
    shell::run(
        command
            .arg("--no-compile")
            .arg("--target")
            .arg(folder)
            .arg("-r")
            .arg(requirements),
    )
}

/// pip of an environment, with its downloads kept in the checkout's cache.
pub fn pip(checkout: &Checkout, python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]);
    command
        .env("PIP_CACHE_DIR", checkout.cache("pip"))
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    command
}

fn requirements(checkout: &Checkout, name: &str) -> Result<(PathBuf, String)> {
    let file = checkout.path(&format!("tests/conformance/clients/{name}.txt"));
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok((file, text))
}

fn summary(requirements: &str) -> String {
    let pins = requirements
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    pins.collect::<Vec<_>>().join(", ")
}

/// Hands a command that was built in one expression to the function that runs it.
trait Pipe {
    fn pipe<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        run(self)
    }
}

impl Pipe for Command {}
