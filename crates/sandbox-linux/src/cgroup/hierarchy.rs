//! The trees of this host, and the group of this node in them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::group::{LifePlace, Places, remove_folders};
use super::life::signal_members;
use super::mounts::{Tree, trees};
use super::{Error, Group, check_name, files};

/// What every limit needs.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
/// Deepest folder in which groups of an earlier process are looked for, and how many folders are looked at.
const SEARCH: (usize, usize) = (6, 20_000);
/// Longest wait for the processes of one leftover group.
const SWEEP_WAIT: Duration = Duration::from_secs(5);
/// Name of the leaf into which this process moves on v2, where only leaves may have processes.
const OWN_LEAF: &str = "daemon";

/// The control groups of this node.
#[derive(Debug)]
pub struct Hierarchy {
    trees: Vec<Tree>,
    name: String,
    root: Places,
}

/// What was found, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `v1`, `v1 with the v2 tree for life cycle` or `v2`.
    pub version: &'static str,
    /// Each controller with the folder of this node's group.
    pub controllers: Vec<(&'static str, PathBuf)>,
    /// What freezes and kills.
    pub freezer: &'static str,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, frozen by {}", self.version, self.freezer)?;
        self.controllers
            .iter()
            .try_for_each(|(name, path)| write!(f, "; {name} at {}", path.display()))
    }
}

impl Hierarchy {
    /// Finds the trees that this process can use and makes the group of this node, `sonagi-NODE`, in each: below the
    /// own group of this process, on v2 else below the mounted root. On v2 that may move this process and its parent
    /// into a leaf `daemon` beside it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Unusable`] when a controller is missing or may not be used, saying which and why.
    pub fn detect(node: &str) -> Result<Self, Error> {
        check_name(node)?;
        let read = |path: &'static str| {
            fs::read_to_string(path).map_err(|error| Error::Unusable(format!("cannot read {path}: {error}")))
        };
        let trees = trees(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        let name = format!("sonagi-{node}");
        let root = if with(&trees, "memory").is_some() {
            v1_root(&trees, &name)?
        } else {
            v2_root(&trees, &name)?
        };
        Ok(Self { trees, name, root })
    }

    /// Makes a group, in every tree.
    ///
    /// # Errors
    /// [`Error::Name`], or as the kernel says. What was made until then is removed.
    pub fn create(&self, cell: &str) -> Result<Group, Error> {
        check_name(cell)?;
        let places = self.root.below(cell);
        let folders = places.folders();
        for (made, folder) in folders.iter().enumerate() {
            if let Err(source) = rustix::fs::mkdir(*folder, Mode::from_raw_mode(0o755)) {
                drop(remove_folders(&folders[..made], Duration::ZERO));
                return Err(Error::kernel("make", *folder)(source));
            }
        }
        Group::open(places)
    }

    /// Kills and removes every group of this node that an earlier process has left, wherever in the trees it ran, and
    /// says how many there were. Waits up to 5 s for each.
    ///
    /// # Errors
    /// [`Error::Busy`] when one would not go; the others are removed.
    pub fn sweep(&self) -> Result<usize, Error> {
        let ours: Vec<_> = self.root.folders().into_iter().map(Path::to_path_buf).collect();
        let mut roots = ours.clone();
        let mut budget = SEARCH.1;
        for tree in &self.trees {
            find(&tree.mounted, &self.name, SEARCH.0, &mut budget, &mut roots);
        }
        let mut cells: Vec<PathBuf> = Vec::new();
        for root in &roots {
            cells.extend(folders_in(root).into_iter().map(|name| root.join(name)));
        }
        // The same cell has a folder in each tree. Killing comes first for all of them: one may hold processes that
        // another still counts.
        let mut names: Vec<_> = cells.iter().filter_map(|cell| cell.file_name()).collect();
        names.sort_unstable();
        names.dedup();
        let removed = names.len();
        let results: Vec<_> = cells.iter().map(|cell| empty(cell)).collect();
        let refused = results
            .into_iter()
            .chain(cells.iter().map(|cell| remove_folders(&[cell], SWEEP_WAIT)));
        let first = refused.fold(Ok(()), Result::and);
        for root in roots.iter().filter(|root| !ours.contains(root)) {
            drop(remove_folders(&[root], Duration::ZERO));
        }
        first.map(|()| removed)
    }

    /// Removes the group of this node. All groups below must have been removed.
    ///
    /// # Errors
    /// [`Error::Busy`] when some are left.
    pub fn remove_root(&self) -> Result<(), Error> {
        remove_folders(&self.root.folders(), Duration::ZERO)
    }

    /// What was found.
    #[must_use]
    pub fn describe(&self) -> Description {
        match &self.root {
            Places::V1 {
                memory,
                cpu,
                cpuacct,
                pids,
                life,
            } => {
                let (version, freezer) = match life {
                    LifePlace::Unified(_) => ("v1 with the v2 tree for life cycle", "cgroup.freeze"),
                    LifePlace::Freezer(_) => ("v1", "freezer.state"),
                };
                let named = [("memory", memory), ("cpu", cpu), ("cpuacct", cpuacct), ("pids", pids)];
                let mut controllers: Vec<_> = named.map(|(name, path)| (name, path.clone())).to_vec();
                controllers.push(("life cycle", life.path().to_path_buf()));
                Description {
                    version,
                    controllers,
                    freezer,
                }
            }
            Places::V2(folder) => Description {
                version: "v2",
                controllers: NEEDED.map(|name| (name, folder.clone())).to_vec(),
                freezer: "cgroup.freeze",
            },
        }
    }
}

/// The v1 tree that has this controller.
fn with<'a>(trees: &'a [Tree], controller: &str) -> Option<&'a Tree> {
    trees
        .iter()
        .find(|tree| tree.controllers.iter().flatten().any(|name| name == controller))
}

fn make(folder: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(source) => Err(Error::kernel("make", folder)(source)),
    }
}

fn v1_root(trees: &[Tree], name: &str) -> Result<Places, Error> {
    let place = |controller: &str| {
        let tree = with(trees, controller).ok_or_else(|| {
            Error::Unusable(format!(
                "the memory controller is mounted as version 1, {controller} is not mounted"
            ))
        })?;
        let folder = tree.own.join(name);
        make(&folder)?;
        Ok::<_, Error>(folder)
    };
    let (memory, cpu, cpuacct, pids) = (place("memory")?, place("cpu")?, place("cpuacct")?, place("pids")?);
    let unified = trees
        .iter()
        .find(|tree| tree.controllers.is_none())
        .map(|tree| tree.own.join(name));
    let life = match unified {
        Some(folder) if make(&folder).is_ok() && folder.join("cgroup.freeze").exists() => LifePlace::Unified(folder),
        _ => LifePlace::Freezer(place("freezer")?),
    };
    Ok(Places::V1 {
        memory,
        cpu,
        cpuacct,
        pids,
        life,
    })
}

fn v2_root(trees: &[Tree], name: &str) -> Result<Places, Error> {
    let tree = trees
        .iter()
        .find(|tree| tree.controllers.is_none())
        .ok_or_else(|| Error::Unusable("neither version is mounted at a place that holds this process".to_owned()))?;
    // After a restart in the same unit, an earlier process may have made the leaf already and this one been put there.
    let own = match (tree.own.file_name(), tree.own.parent()) {
        (Some(leaf), Some(parent)) if leaf == OWN_LEAF && tree.own != tree.mounted => parent,
        _ => &tree.own,
    };
    let mut reasons = Vec::new();
    for base in [own, tree.mounted.as_path()] {
        match v2_base(base).and_then(|()| v2_node(&base.join(name))) {
            Ok(()) => return Ok(Places::V2(base.join(name))),
            Err(reason) => reasons.push(format!("{}: {reason}", base.display())),
        }
    }
    reasons.dedup();
    Err(Error::Unusable(format!(
        "{}; run in a group of its own with the controllers delegated (systemd: Delegate=yes)",
        reasons.join("; ")
    )))
}

/// Makes the controllers usable in groups below `base`.
fn v2_base(base: &Path) -> Result<(), String> {
    let read = |file: &str| fs::read_to_string(base.join(file)).map_err(|error| format!("cannot read {file}: {error}"));
    let lacks = |list: &str| {
        NEEDED
            .into_iter()
            .find(|needed| !list.split_whitespace().any(|name| name == *needed))
    };
    if let Some(missing) = lacks(&read("cgroup.controllers")?) {
        return Err(format!("controller {missing} is not available"));
    }
    if lacks(&read("cgroup.subtree_control")?).is_none() {
        return Ok(());
    }
    // Only the root of the whole tree may have both processes and controllers below; it alone has no type.
    if base.join("cgroup.type").exists() {
        move_out(base, &read("cgroup.procs")?)?;
    }
    enable(base)
}

fn v2_node(folder: &Path) -> Result<(), String> {
    make(folder).map_err(|error| error.to_string())?;
    enable(folder)
}

fn enable(folder: &Path) -> Result<(), String> {
    fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids")
        .map_err(|error| format!("cannot enable controllers: {error}"))
}

/// Moves this process and its parent out of a group that may have none. Others are not ours to move.
fn move_out(base: &Path, members: &str) -> Result<(), String> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let members: Vec<i32> = members.lines().filter_map(|line| line.trim().parse().ok()).collect();
    if let Some(other) = members.iter().find(|pid| **pid != own && **pid != parent) {
        return Err(format!("process {other} is in it"));
    }
    let leaf = base.join(OWN_LEAF);
    make(&leaf).map_err(|error| error.to_string())?;
    for pid in members {
        fs::write(leaf.join("cgroup.procs"), pid.to_string()).map_err(|error| format!("cannot move {pid}: {error}"))?;
    }
    Ok(())
}

/// Names of the groups in a group.
fn folders_in(folder: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let groups = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.file_name()).collect()
}

/// Adds every group of this name to `found`. Groups come and go while we look.
fn find(folder: &Path, name: &str, depth: usize, budget: &mut usize, found: &mut Vec<PathBuf>) {
    for child in folders_in(folder) {
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        let path = folder.join(&child);
        if child == name {
            if !found.contains(&path) {
                found.push(path);
            }
        } else if depth > 0 {
            find(&path, name, depth - 1, budget, found);
        }
    }
}

/// Kills what is in one folder of a leftover group, whatever version it is of. Those that were frozen are thawed, for
/// a frozen v1 task does not die. Bounded by the processes there: none of them can be ours, and none is started.
fn empty(cell: &Path) -> Result<(), Error> {
    let folder = match files::folder(cell) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(source) => return Err(Error::kernel("open", cell)(source)),
    };
    let dir = std::os::fd::AsFd::as_fd(&folder);
    let at = || cell.to_path_buf();
    files::write_if_present(dir, "freezer.state", "THAWED").map_err(Error::kernel("thaw", at()))?;
    match files::write(dir, "cgroup.kill", "1") {
        Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
        done => return done.map_err(Error::kernel("kill", at())),
    }
    signal_members(dir).map(drop).map_err(Error::kernel("kill", at()))
}
