//! What of the host a build needs: programs, and the configuration of package clients (where packages come from, whom to
//! trust, through which proxy). Nothing else of the user's environment or home gets into a cell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::plan::{BUILD, Shown};

/// Beginnings of the names of variables that configure package clients, in lower case.
const PASSED_PREFIXES: &[&str] = &["pip_", "npm_config_", "cargo_http_", "cargo_net_", "cargo_registries_"];
/// Names of variables that configure networks and trust.
const PASSED: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "ssl_cert_file",
    "ssl_cert_dir",
    "requests_ca_bundle",
    "curl_ca_bundle",
    "node_extra_ca_certs",
    "git_ssl_cainfo",
];
/// Variables that would lead a client away from the cell's own folders.
const WITHHELD: &[&str] = &[
    "pip_target",
    "pip_prefix",
    "pip_user",
    "pip_cache_dir",
    "pip_require_virtualenv",
    "npm_config_prefix",
    "npm_config_cache",
    "npm_config_userconfig",
];

/// Files in a home folder that configure package clients: where they are, and where they go in the cell's home.
const CONFIGURATION: &[(&str, &str)] = &[
    (".config/pip/pip.conf", ".config/pip/pip.conf"),
    (".pip/pip.conf", ".pip/pip.conf"),
    (".npmrc", ".npmrc"),
];

/// Whether a variable of the user's goes into the cell.
fn passes(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let wanted = PASSED.contains(&lower.as_str()) || PASSED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    // Tokens for publishing have no place in an installation.
    wanted && !WITHHELD.contains(&lower.as_str()) && !(lower.starts_with("cargo_") && lower.ends_with("_token"))
}

/// The environment of a step whose programs are in these folders.
pub fn environment(programs: &[&Path]) -> Vec<(String, String)> {
    let mut path: Vec<String> = programs.iter().map(|folder| folder.display().to_string()).collect();
    path.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned));
    let mut variables: BTreeMap<String, String> = std::env::vars().filter(|(name, _)| passes(name)).collect();
    for (name, value) in [
        ("PATH", path.join(":")),
        ("HOME", format!("{BUILD}/home")),
        ("TMPDIR", format!("{BUILD}/tmp")),
        ("LANG", "C.UTF-8".to_owned()),
        ("USER", "nobody".to_owned()),
        ("CI", "true".to_owned()),
    ] {
        variables.insert(name.to_owned(), value);
    }
    variables.into_iter().collect()
}

/// Files and folders that passed variables name, so that they are there.
pub fn shown_by_variables(environment: &[(String, String)]) -> Vec<Shown> {
    let named = environment
        .iter()
        .filter(|(name, _)| passes(name))
        .flat_map(|(_, value)| value.split([' ', ':']));
    let mut found: Vec<Shown> = named
        .filter(|part| part.starts_with('/') && *part != "/" && Path::new(part).exists())
        .map(Shown::same)
        .collect();
    found.extend(resolver());
    found
}

/// Where names are looked up, when `/etc/resolv.conf` is a link out of `/etc`.
fn resolver() -> Option<Shown> {
    let real = fs::canonicalize("/etc/resolv.conf").ok()?;
    (!real.starts_with("/etc")).then(|| Shown::same(real))
}

/// Copies the configuration of package clients into the cell's home.
pub fn copy_configuration(home_inside: &Path) -> Result<(), BuildError> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Ok(());
    };
    let mut files: Vec<(PathBuf, &str)> = CONFIGURATION.iter().map(|(from, to)| (home.join(from), *to)).collect();
    let cargo_home = cargo_home();
    files.extend(
        cargo_home
            .iter()
            .map(|folder| (folder.join("config.toml"), ".cargo/config.toml")),
    );
    for (from, to) in files {
        if !from.is_file() {
            continue;
        }
        let target = home_inside.join(to);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(BuildError::io("making the folder", parent))?;
        }
        fs::copy(&from, &target).map_err(BuildError::io("copying", &from))?;
    }
    Ok(())
}

/// Cargo's home.
pub fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

/// A program on the user's search path.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A program's own place and the folder to show so that it runs there: `PREFIX` of `PREFIX/bin/NAME`, unless the system's
/// folders have it anyway.
pub fn program(path: &Path) -> Result<(PathBuf, Option<Shown>), BuildError> {
    let real = fs::canonicalize(path).map_err(BuildError::io("finding", path))?;
    Ok((real.clone(), prefix(&real)))
}

fn prefix(real: &Path) -> Option<Shown> {
    let system = ["/usr", "/opt", "/bin", "/sbin"]
        .iter()
        .any(|folder| real.starts_with(folder));
    let folder = real.parent()?;
    let prefix = if folder.ends_with("bin") {
        folder.parent()?
    } else {
        folder
    };
    // A program right below the root would show everything.
    (!system && prefix.parent().is_some()).then(|| Shown::same(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configuration_of_package_clients_passes() {
        for name in [
            "PIP_INDEX_URL",
            "npm_config_registry",
            "NPM_CONFIG_REGISTRY",
            "HTTPS_PROXY",
            "https_proxy",
            "SSL_CERT_FILE",
        ] {
            assert!(passes(name), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "SONAGI_TOKEN",
            "PATH",
            "HOME",
            "LD_PRELOAD",
            "PYTHONPATH",
            "NODE_OPTIONS",
            "PIP_TARGET",
            "NPM_CONFIG_PREFIX",
            "CARGO_REGISTRIES_MINE_TOKEN",
            "CARGO_REGISTRY_TOKEN",
        ] {
            assert!(!passes(name), "{name}");
        }
    }

    #[test]
    fn prefixes_are_shown_and_the_system_is_there_already() {
        let shown = |path: &str| prefix(Path::new(path)).map(|shown| shown.source.display().to_string());
        assert_eq!(
            shown("/home/me/.pyenv/versions/3.11.7/bin/python3.11").as_deref(),
            Some("/home/me/.pyenv/versions/3.11.7")
        );
        assert_eq!(shown("/srv/node/node").as_deref(), Some("/srv/node"));
        assert_eq!(shown("/usr/bin/python3.11"), None);
        assert_eq!(shown("/opt/node/bin/node"), None);
        assert_eq!(shown("/node"), None);
    }
}
