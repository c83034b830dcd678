//! What the benchmarks stand beside: container runtimes and nginx from Debian, function servers from PyPI and npm.
//!
//! Debian's packages are unpacked below `.cache/bench/debian/`, not installed: a benchmark starts no service of theirs and
//! changes nothing of the host. Pins are the files below `bench/references/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{node, python, stamp};
use crate::checkout::Checkout;
use crate::shell;

/// Installs one part, if it is missing.
type Install = fn(&Checkout) -> Result<()>;

/// Installs what is missing; a reference that cannot be installed is named, and left out of the figures.
///
/// # Errors
/// None of them could be installed.
pub fn run(checkout: &Checkout) -> Result<()> {
    let parts: [(&str, Install); 3] = [
        ("Debian", debian),
        ("PyPI", servers_in_python),
        ("npm", servers_in_node),
    ];
    let mut failed = 0;
    for (name, install) in parts {
        if let Err(error) = install(checkout) {
            eprintln!("setup: the references from {name} are left out: {error:#}");
            failed += 1;
        }
    }
    ensure!(failed < parts.len(), "no reference could be installed");
    Ok(())
}

fn debian(checkout: &Checkout) -> Result<()> {
    let file = checkout.path("bench/references/debian.txt");
    let wanted = read(&file)?;
    let folder = checkout.cache("bench/debian");
    if stamp::matches(&folder, &wanted) {
        return Ok(());
    }
    println!(
        "setup: unpacking Debian packages for the benchmarks: {}",
        wanted.trim().replace('\n', ", ")
    );
    stamp::install(&folder, &wanted, || {
        shell::run(Command::new("apt-get").args(["update", "-qq"]))?;
        for pin in wanted.lines() {
            let archives = folder.join("archives");
            fs::create_dir_all(&archives).with_context(|| format!("cannot create {}", archives.display()))?;
            download(&archives, pin)?;
        }
        for archive in fs::read_dir(folder.join("archives"))? {
            shell::run(
                Command::new("dpkg")
                    .arg("-x")
                    .arg(archive?.path())
                    .arg(folder.join("root")),
            )?;
        }
        Ok(())
    })
}

/// Fetches a package in its pinned version; where the archive has a newer one only, that one, aloud.
fn download(folder: &Path, pin: &str) -> Result<()> {
    let fetch = |what: &str| {
        let mut command = Command::new("apt-get");
        command.current_dir(folder).args(["download", "-qq", what]);
        command
    };
    if shell::succeeds(&mut fetch(pin)) {
        return Ok(());
    }
    let name = pin.split('=').next().unwrap_or(pin);
    println!("setup: {pin} is gone from the archive: taking the version of {name} that it has");
    shell::run(&mut fetch(name))
}

fn servers_in_python(checkout: &Checkout) -> Result<()> {
    let file = checkout.path("bench/references/functions-framework.txt");
    let wanted = read(&file)?;
    let folder = checkout.cache("bench/functions-framework");
    if stamp::matches(&folder, &wanted) {
        return Ok(());
    }
    println!("setup: installing the Python environment functions-framework for the benchmarks");
    stamp::install(&folder, &wanted, || {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = python::pip(checkout, &folder.join("bin/python"));
        shell::run(pip.arg("-r").arg(&file))
    })
}

fn servers_in_node(checkout: &Checkout) -> Result<()> {
    node::install(checkout, "bench/references/peers", "bench/npm")
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
