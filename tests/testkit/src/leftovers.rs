//! What a platform has on the host beside its own process: processes of instances, control groups, mounts.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where the kernel's control groups are mounted.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How deep a platform's groups lie at most below a mount of theirs.
const DEPTH: usize = 6;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes that run under one of the platform's user ids, or as a child of a platform that is gone.
    pub processes: Vec<u32>,
    /// Control groups that carry the platform's node name.
    pub groups: Vec<PathBuf>,
    /// Mounts that show something of the state directory, in the host's own namespace.
    pub mounts: Vec<String>,
}

impl Leftovers {
    /// Looks for what belongs to the uids, to groups with this text in their name, and to this state directory.
    #[must_use]
    pub fn find(uids: &Range<u32>, group: &str, data: &Path) -> Self {
        Self {
            processes: processes(uids),
            groups: groups(group),
            mounts: mounts(data),
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn processes(uids: &Range<u32>) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| real_uids(*id).iter().any(|uid| uids.contains(uid)))
        .collect()
}

/// The four user ids of a process; none for one that is gone or a zombie that somebody is about to reap.
fn real_uids(id: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    if status.lines().any(|line| line.starts_with("State:\tZ")) {
        return Vec::new();
    }
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .unwrap_or_default();
    line.split_whitespace().filter_map(|uid| uid.parse().ok()).collect()
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
    fn a_process_of_the_range_is_found_and_others_are_not() {
        use std::os::unix::process::CommandExt;
        let uid = 1_499_999_999;
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .uid(uid)
            .spawn()
            .expect("run as root");
        assert_eq!(processes(&(uid..uid + 1)), [child.id()]);
        assert!(processes(&(uid - 1..uid)).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes(&(uid..uid + 1)).is_empty());
    }
}
