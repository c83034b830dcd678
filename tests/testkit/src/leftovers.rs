//! What a platform has on the host beside its own process: processes of instances, control groups, mounts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel's control groups are mounted.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How deep a platform's groups lie at most below a mount of theirs.
const DEPTH: usize = 6;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes in one of its control groups.
    pub processes: Vec<u32>,
    /// Control groups that carry the platform's node name.
    pub groups: Vec<PathBuf>,
    /// Mounts that show something of the state directory, in the host's own namespace.
    pub mounts: Vec<String>,
}

impl Leftovers {
    /// Looks for what belongs to groups with this text in their name, and to this state directory.
    #[must_use]
    pub fn find(group: &str, data: &Path) -> Self {
        Self {
            processes: processes(group),
            groups: groups(group),
            mounts: mounts(data),
        }
    }

    /// Processes that run a program of a function. What only waits for one, the init of a cell or a runtime that was
    /// booted ahead of demand, is in the root of its file system; a program starts in the folder of its code.
    #[must_use]
    pub fn of_functions(&self) -> usize {
        let program = |id: &&u32| {
            let folder = fs::read_link(format!("/proc/{id}/cwd"));
            folder.is_ok_and(|folder| folder != Path::new("/"))
        };
        self.processes.iter().filter(program).count()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn processes(group: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| is_in(*id, group)).collect()
}

/// Whether a process is in such a group; one that is gone, or a zombie that somebody is about to reap, is in none.
fn is_in(id: u32, group: &str) -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    read("cgroup").contains(group) && !read("status").lines().any(|line| line.starts_with("State:\tZ"))
}

fn groups(name: &str) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    collect_groups(Path::new(CONTROL_GROUPS), name, DEPTH, &mut found);
    found.into_iter().collect()
}

fn collect_groups(folder: &Path, name: &str, depth: usize, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(name) {
            // Hybrid hosts show one hierarchy under two names; both name the same group.
            found.insert(fs::canonicalize(entry.path()).unwrap_or_else(|_| entry.path()));
        }
        if depth > 1 {
            collect_groups(&entry.path(), name, depth - 1, found);
        }
    }
}

fn mounts(data: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let data = data.to_string_lossy();
    table
        .lines()
        .filter(|line| line.contains(data.as_ref()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_group() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let group = own
            .lines()
            .next()
            .and_then(|line| line.rsplit(':').next())
            .expect("every process is in a group");
        assert!(processes(group).contains(&std::process::id()));
        assert!(processes("no-group-has-this-name").is_empty());
        assert!(Leftovers::find("no-group-has-this-name", Path::new("/no/such/folder")).is_empty());
    }
}
