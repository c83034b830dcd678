//! `sonagi doctor`: what of the host the platform needs, with or without a platform that runs.

use std::fs;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use sonagi_api::{Check, CheckState, ClientError};

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::{self, Paint};

/// Check what the platform needs of this host, and say how to fix what is missing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi doctor
  sonagi doctor --output json | jq '.checks[] | select(.state != \"ok\")'

Exit code 1: something without which functions cannot run is missing.")]
pub struct Doctor {}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
}

impl Doctor {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let mut checks = of_host(Path::new("/"));
        checks.extend(of_platform(global).await);
        let failed = checks.iter().filter(|check| check.state == CheckState::Failure).count();
        let report = Report { checks };
        global.format().print(&report, || text(&report.checks))?;
        if failed > 0 {
            let things = if failed == 1 {
                "1 check".to_owned()
            } else {
                format!("{failed} checks")
            };
            return Err(Failure::new(
                Exit::Failure,
                format!("{things} failed: functions cannot run here"),
            ));
        }
        Ok(())
    }
}

/// What a platform that runs says; that none runs is no failure.
async fn of_platform(global: &Global) -> Vec<Check> {
    let state = |state, found: String, hint: Option<String>| Check {
        name: "platform".to_owned(),
        state,
        found,
        hint,
    };
    let client = match global.client() {
        Ok(client) => client,
        Err(failure) => return vec![state(CheckState::Warning, failure.message, failure.hint)],
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => {
            let unreachable = matches!(error, ClientError::Unreachable { .. });
            let failure = Failure::from(error);
            let how = if unreachable {
                CheckState::Warning
            } else {
                CheckState::Failure
            };
            return vec![state(how, failure.message, failure.hint)];
        }
    };
    let found = format!(
        "version {} at {}, {} functions",
        status.version,
        client.endpoint(),
        status.functions
    );
    let mut checks = vec![state(CheckState::Ok, found, None)];
    match client.doctor().await {
        Ok(doctor) => checks.extend(doctor.checks),
        Err(error) => checks.push(state(CheckState::Failure, Failure::from(error).message, None)),
    }
    checks
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in checks {
        let mark = match check.state {
            CheckState::Ok => "ok  ".to_owned(),
            CheckState::Warning => output::paint(Paint::Cyan, "warn"),
            CheckState::Failure => output::paint(Paint::Red, "FAIL"),
        };
        lines.push(format!("{mark}  {:width$}  {}", check.name, check.found));
        if let Some(hint) = &check.hint {
            lines.push(format!("{:width$}        hint: {hint}", ""));
        }
    }
    lines.join("\n")
}

/// What the files of the host say, below `root`.
fn of_host(root: &Path) -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let exists = |path: &str| root.join(path).exists();
    let user = rustix::process::geteuid().as_raw();
    vec![
        kernel(read("proc/sys/kernel/osrelease").trim()),
        rights(user),
        groups(&Groups {
            unified: read("sys/fs/cgroup/cgroup.controllers"),
            legacy: read("proc/cgroups"),
            mounts: read("proc/self/mounts"),
        }),
        namespaces(
            |kind| exists(&format!("proc/self/ns/{kind}")),
            read("proc/sys/user/max_user_namespaces").trim(),
        ),
        file_systems(&read("proc/filesystems")),
        seccomp(
            &read("proc/sys/kernel/seccomp/actions_avail"),
            &read("proc/self/status"),
        ),
        memory(&read("proc/meminfo")),
    ]
}

fn check(name: &str, state: CheckState, found: impl Into<String>, hint: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        state,
        found: found.into(),
        hint: hint.map(str::to_owned),
    }
}

/// The oldest kernel that has everything: `clone3` into a control group and `close_range` with CLOEXEC came by 5.11.
const KERNEL_MIN: (u32, u32) = (5, 11);

fn kernel(release: &str) -> Check {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        check("kernel", CheckState::Ok, release, None)
    } else {
        let found = format!("{release:?} is older than {}.{}", KERNEL_MIN.0, KERNEL_MIN.1);
        check("kernel", CheckState::Failure, found, Some("use a newer kernel"))
    }
}

fn rights(uid: u32) -> Check {
    if uid == 0 {
        check("rights", CheckState::Ok, "root", None)
    } else {
        let hint = "start the platform as root: it gives each instance a uid of its own and limits that hold";
        check("rights", CheckState::Warning, format!("uid {uid}"), Some(hint))
    }
}

/// What the host says about control groups.
struct Groups {
    /// Controllers of the unified hierarchy.
    unified: String,
    /// `/proc/cgroups`.
    legacy: String,
    /// `/proc/self/mounts`.
    mounts: String,
}

/// Controllers that limits need, by their names in version 2.
const CONTROLLERS: &[&str] = &["memory", "pids", "cpu"];

fn groups(found: &Groups) -> Check {
    let unified: Vec<&str> = found.unified.split_whitespace().collect();
    if CONTROLLERS.iter().all(|name| unified.contains(name)) {
        return check(
            "cgroups",
            CheckState::Ok,
            format!("version 2 with {}", unified.join(" ")),
            None,
        );
    }
    let mounted = |name: &str| {
        found.mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(2);
            fields.next() == Some("cgroup")
                && fields
                    .next()
                    .is_some_and(|options| options.split(',').any(|option| option == name))
        })
    };
    let enabled = |name: &str| {
        found
            .legacy
            .lines()
            .any(|line| line.starts_with(&format!("{name}\t")) && line.trim_end().ends_with('1'))
    };
    let missing: Vec<&str> = CONTROLLERS
        .iter()
        .copied()
        .filter(|name| !(enabled(name) && mounted(name)))
        .collect();
    if missing.is_empty() {
        let hint = "version 2 freezes and limits more exactly; most distributions start with it today";
        return check(
            "cgroups",
            CheckState::Ok,
            "version 1 with memory, pids and cpu",
            Some(hint),
        );
    }
    let hint = "mount the cgroup2 file system at /sys/fs/cgroup with the memory, pids and cpu controllers enabled";
    check(
        "cgroups",
        CheckState::Failure,
        format!("no controller for {}", missing.join(", ")),
        Some(hint),
    )
}

fn namespaces(exists: impl Fn(&str) -> bool, users_max: &str) -> Check {
    let missing: Vec<&str> = ["mnt", "pid", "net", "ipc", "uts", "user"]
        .into_iter()
        .filter(|kind| !exists(kind))
        .collect();
    if !missing.is_empty() {
        let hint = "use a kernel that is built with all namespaces";
        return check(
            "namespaces",
            CheckState::Failure,
            format!("missing: {}", missing.join(", ")),
            Some(hint),
        );
    }
    if users_max == "0" {
        let hint = "sysctl user.max_user_namespaces=65536";
        return check(
            "namespaces",
            CheckState::Failure,
            "user namespaces are switched off",
            Some(hint),
        );
    }
    check("namespaces", CheckState::Ok, "mnt pid net ipc uts user", None)
}

fn file_systems(known: &str) -> Check {
    let missing: Vec<&str> = ["tmpfs", "proc"]
        .into_iter()
        .filter(|name| !known.lines().any(|line| line.split_whitespace().last() == Some(name)))
        .collect();
    if !missing.is_empty() {
        return check(
            "file systems",
            CheckState::Failure,
            format!("missing: {}", missing.join(", ")),
            Some("use another kernel"),
        );
    }
    let overlay = known
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    let found = if overlay {
        "tmpfs proc overlay"
    } else {
        "tmpfs proc (overlay is not loaded and not needed)"
    };
    check("file systems", CheckState::Ok, found, None)
}

fn seccomp(actions: &str, status: &str) -> Check {
    if actions.split_whitespace().any(|action| action == "errno") || status.contains("\nSeccomp:") {
        check("seccomp", CheckState::Ok, "filters can be set", None)
    } else {
        check(
            "seccomp",
            CheckState::Failure,
            "filters cannot be set",
            Some("use a kernel with CONFIG_SECCOMP_FILTER"),
        )
    }
}

fn memory(info: &str) -> Check {
    let kibibytes = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
    };
    match (kibibytes("MemTotal"), kibibytes("MemAvailable")) {
        (Some(total), Some(available)) => {
            let found = format!("{} MiB, {} MiB available", total / 1024, available / 1024);
            if available < 256 * 1024 {
                check(
                    "memory",
                    CheckState::Warning,
                    found,
                    Some("an instance of the smallest function takes up to 128 MiB"),
                )
            } else {
                check("memory", CheckState::Ok, found, None)
            }
        }
        _ => check("memory", CheckState::Warning, "/proc/meminfo cannot be read", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, state) in [
            ("6.1.0-18-amd64", CheckState::Ok),
            ("5.11.0", CheckState::Ok),
            ("5.10.205", CheckState::Failure),
            ("4.19.0", CheckState::Failure),
            ("10.0", CheckState::Ok),
            ("", CheckState::Failure),
        ] {
            assert_eq!(kernel(release).state, state, "{release}");
        }
    }

    #[test]
    fn control_groups_of_both_versions_count() {
        let find = |unified: &str, legacy: &str, mounts: &str| {
            let check = groups(&Groups {
                unified: unified.to_owned(),
                legacy: legacy.to_owned(),
                mounts: mounts.to_owned(),
            });
            (check.state, check.found)
        };
        assert_eq!(find("cpuset cpu io memory pids", "", "").0, CheckState::Ok);
        let legacy = "#subsys_name\thierarchy\tnum\tenabled\nmemory\t1\t1\t1\npids\t2\t1\t1\ncpu\t3\t1\t1\n";
        let mounts =
            "cgroup /a cgroup rw,memory 0 0\ncgroup /b cgroup rw,pids 0 0\ncgroup /c cgroup rw,cpu,cpuacct 0 0\n";
        assert_eq!(find("", legacy, mounts).0, CheckState::Ok);
        assert_eq!(
            find("", &legacy.replace("pids\t2\t1\t1", "pids\t2\t1\t0"), mounts),
            (CheckState::Failure, "no controller for pids".to_owned())
        );
        assert_eq!(find("", "", "").0, CheckState::Failure);
    }

    #[test]
    fn what_is_missing_is_named_with_a_fix() {
        let check = namespaces(|kind| kind != "user", "100");
        assert!(check.found.contains("user") && check.hint.is_some());
        assert_eq!(namespaces(|_| true, "0").state, CheckState::Failure);
        assert_eq!(namespaces(|_| true, "100").state, CheckState::Ok);
        assert_eq!(
            file_systems("nodev\ttmpfs\nnodev\tproc\n\text4\n").state,
            CheckState::Ok
        );
        assert_eq!(file_systems("nodev\tproc\n").state, CheckState::Failure);
        assert_eq!(seccomp("kill_process errno allow", "").state, CheckState::Ok);
        assert_eq!(seccomp("", "").state, CheckState::Failure);
        assert_eq!(
            memory("MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n").state,
            CheckState::Ok
        );
        assert_eq!(
            memory("MemTotal: 1000000 kB\nMemAvailable: 9000 kB\n").state,
            CheckState::Warning
        );
        assert_eq!(memory("").state, CheckState::Warning);
        assert_eq!(
            (rights(0).state, rights(5).state),
            (CheckState::Ok, CheckState::Warning)
        );
    }
}
