//! Where this host mounts its control group trees, and where this process is in them. Pure text work.
//!
//! Sources: proc_pid_mountinfo(5), cgroups(7) "/proc/pid/cgroup".

use std::path::{Path, PathBuf};

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    /// The v1 controllers of the tree; `None` for the v2 tree.
    pub(super) controllers: Option<Vec<String>>,
    /// Where it is mounted.
    pub(super) mounted: PathBuf,
    /// Folder of this process's own group.
    pub(super) own: PathBuf,
}

/// All trees in which this process has a reachable group, in the order of the mount table.
pub(super) fn trees(mountinfo: &str, membership: &str) -> Vec<Tree> {
    mountinfo.lines().filter_map(|line| tree(line, membership)).collect()
}

fn tree(line: &str, membership: &str) -> Option<Tree> {
    // 36 35 98:0 /root /mounted rw,noatime shared:1 - cgroup source rw,memory
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, mounted) = (unescape(left.next()?), PathBuf::from(unescape(left.next()?)));
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let controllers = match kind {
        "cgroup2" => None,
        "cgroup" => {
            let flags = [
                "rw",
                "ro",
                "xattr",
                "noprefix",
                "clone_children",
                "favordynmods",
                "nofavordynmods",
            ];
            let named = |option: &&str| !option.contains('=') && !flags.contains(option);
            let controllers: Vec<_> = options.split(',').filter(named).map(str::to_owned).collect();
            if controllers.is_empty() {
                return None;
            }
            Some(controllers)
        }
        _ => return None,
    };
    let path = membership.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (list, path) = (parts.next()?, parts.next()?);
        let same = match &controllers {
            None => list.is_empty(),
            Some(controllers) => list
                .split(',')
                .any(|name| controllers.iter().any(|controller| controller == name)),
        };
        same.then_some(path)
    })?;
    // Both are seen from the same cgroup namespace. A mount of a subtree that does not hold us is of no use.
    let below = Path::new(path).strip_prefix(&root).ok()?;
    let own = if below.as_os_str().is_empty() {
        mounted.clone()
    } else {
        mounted.join(below)
    };
    Some(Tree {
        controllers,
        mounted,
        own,
    })
}

/// Undoes the octal escapes of the mount table.
fn unescape(field: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(field.to_owned(), |text, pair| text.replace(&pair[..4], &pair[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, membership: &str, expected: &[(&str, &str, &str)]) {
        let found: Vec<_> = trees(mountinfo, membership)
            .into_iter()
            .map(|tree| {
                let controllers = tree.controllers.map_or_else(|| "v2".to_owned(), |list| list.join(","));
                (
                    controllers,
                    tree.mounted.display().to_string(),
                    tree.own.display().to_string(),
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pure_v2_host() {
        check(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
            "0::/system.slice/sonagi.service\n",
            &[("v2", "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/sonagi.service")],
        );
    }

    #[test]
    fn a_hybrid_host_with_controllers_mounted_together() {
        check(
            "1 0 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
             2 0 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             3 0 0:4 / /sys/fs/cgroup/cpu,cpuacct rw shared:8 - cgroup cgroup rw,cpu,cpuacct\n\
             4 0 0:5 / /a\\040b rw - cgroup cgroup rw,memory\n\
             5 0 0:6 / /proc rw - proc proc rw\n",
            "5:memory:/one/two\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n",
            &[
                ("v2", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"),
                (
                    "cpu,cpuacct",
                    "/sys/fs/cgroup/cpu,cpuacct",
                    "/sys/fs/cgroup/cpu,cpuacct",
                ),
                ("memory", "/a b", "/a b/one/two"),
            ],
        );
    }

    #[test]
    fn a_container_sees_only_its_subtree() {
        check(
            "1 0 0:5 /box/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             2 0 0:6 /other /elsewhere rw - cgroup cgroup rw,pids\n",
            "5:memory:/box/1/deep\n6:pids:/box/1\n",
            &[("memory", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/deep")],
        );
    }
}
