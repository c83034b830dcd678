//! Control groups on the kernel of this host. Needs root, like everything that makes groups.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops, wherever it is")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::time::{ClockId, clock_gettime};
use sonagi_model::{InstanceLimits, Mebibytes};
use sonagi_sandbox_linux::cgroup::{Group, GroupHandle, Hierarchy, OomWatch, join};

/// Longest wait for a state; far beyond what a loaded machine needs.
const PATIENCE: i64 = 30;

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = clock_gettime(ClockId::Monotonic).tv_sec + PATIENCE;
    while !reached() {
        assert!(
            clock_gettime(ClockId::Monotonic).tv_sec < deadline,
            "not reached in {PATIENCE} s: {what}"
        );
        let pause = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}

/// The groups of one test, gone with it.
struct Node(Hierarchy);

impl Node {
    fn new(test: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make control groups: run them as root"
        );
        let name = format!("test-{}-{test}", std::process::id());
        Self(Hierarchy::detect(&name).expect("usable control groups"))
    }

    /// The files through which a shell joins a group.
    fn doors(&self, cell: &str) -> Vec<PathBuf> {
        let mut doors = Vec::new();
        for (_, root) in self.0.describe().controllers {
            let folder = root.join(cell);
            let v1 = folder.join("tasks");
            let door = if v1.exists() { v1 } else { folder.join("cgroup.procs") };
            if !doors.contains(&door) {
                doors.push(door);
            }
        }
        doors
    }

    /// A shell in the group that runs `script`.
    fn run(&self, cell: &str, script: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("for door in \"$@\"; do echo 0 > \"$door\"; done; {script}"))
            .arg("sh");
        command
            .args(self.doors(cell))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.spawn().expect("a shell"))
    }

    fn read(&self, controller: &str, cell: &str, file: &str) -> Option<String> {
        let described = self.0.describe();
        let (_, root) = described.controllers.iter().find(|(name, _)| *name == controller)?;
        fs::read_to_string(root.join(cell).join(file))
            .ok()
            .map(|text| text.trim().to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let swept = self.0.sweep();
        let removed = self.0.remove_root();
        if !std::thread::panicking() {
            swept.expect("no group is left");
            removed.expect("the node's own group goes when it is empty");
        }
    }
}

struct Running(Child);

impl Running {
    fn ended(&mut self) -> ExitStatus {
        self.0.wait().expect("the child is ours")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn handle_of(group: &Group) -> GroupHandle {
    let sent: Vec<OwnedFd> = group
        .handle_fds()
        .iter()
        .map(|fd| fd.try_clone_to_owned().unwrap())
        .collect();
    GroupHandle::from_fds(sent).unwrap()
}

fn limits(memory: u32, scratch: u32) -> InstanceLimits {
    InstanceLimits::for_sizes(Mebibytes(memory), Mebibytes(scratch))
}

#[test]
fn a_group_is_frozen_thawed_killed_and_removed() {
    let node = Node::new("life");
    let group = node.0.create("cell").unwrap();
    let handle = handle_of(&group);
    assert!(handle.is_empty().unwrap());
    let mut child = node.run("cell", "while :; do :; done");
    until("it runs", || handle.cpu_usage().unwrap() > Duration::from_millis(20));
    assert!(!handle.is_empty().unwrap());

    handle.freeze().unwrap();
    handle.freeze().unwrap();
    assert!(handle.is_frozen());
    let stopped = handle.cpu_usage().unwrap();
    let pause = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    let _ = rustix::event::poll(&mut [], Some(&pause));
    assert_eq!(handle.cpu_usage().unwrap(), stopped, "it ran while frozen");

    handle.thaw().unwrap();
    until("it runs again", || handle.cpu_usage().unwrap() > stopped);
    assert_eq!(
        group.remove().unwrap_err().to_string().split_whitespace().next(),
        Some("group")
    );

    handle.freeze().unwrap();
    handle.kill_all().unwrap();
    assert!(
        handle.wait_empty(Duration::from_secs(5)).unwrap(),
        "a frozen group dies"
    );
    assert!(!child.ended().success());
    assert_eq!(handle.oom_kills().unwrap(), 0);
    group.remove().unwrap();
    group.remove().unwrap();
}

#[test]
fn a_thread_joins_through_descriptors_that_were_opened_before() {
    let node = Node::new("join");
    let group = node.0.create("cell").unwrap();
    // The v2 tree moves whole processes, which would be this test program: the doors of the other trees only.
    let unified = usize::from(group.handle().unified_folder().is_some());
    let doors = &group.join_fds()[..group.join_fds().len() - unified];
    let inside = std::thread::scope(|scope| {
        let thread = scope.spawn(|| join(doors).map(|()| fs::read_to_string("/proc/thread-self/cgroup").unwrap()));
        thread.join().unwrap().unwrap()
    });
    assert_eq!(
        inside.lines().filter(|line| line.ends_with("/cell")).count(),
        doors.len(),
        "{inside}"
    );
}

#[test]
fn limits_are_what_was_asked() {
    let node = Node::new("limits");
    let group = node.0.create("cell").unwrap();
    let mut asked = limits(128, 64);
    asked.processes = 20;
    group.set_limits(&asked).unwrap();
    handle_of(&group).apply_cpu_cap(250).unwrap();
    let hard = ((128 + 64) * 1024 * 1024 + 100_000 * 1536_u64).to_string();
    let page = |bytes: &str| bytes.parse::<u64>().unwrap() / 4096 * 4096;
    let expected: &[(&str, &str, String)] = if node.0.describe().version == "v2" {
        &[
            ("memory", "memory.max", page(&hard).to_string()),
            ("memory", "memory.high", (128 << 20).to_string()),
            ("memory", "memory.oom.group", "1".to_owned()),
            ("pids", "pids.max", "20".to_owned()),
            ("cpu", "cpu.weight", "7".to_owned()),
            ("cpu", "cpu.max", "5000 20000".to_owned()),
            ("cpu", "cpu.max.burst", "5000".to_owned()),
        ]
    } else {
        &[
            ("memory", "memory.limit_in_bytes", page(&hard).to_string()),
            ("memory", "memory.kmem.tcp.limit_in_bytes", (16 << 20).to_string()),
            ("memory", "memory.swappiness", "0".to_owned()),
            ("pids", "pids.max", "20".to_owned()),
            ("cpu", "cpu.shares", "74".to_owned()),
            ("cpu", "cpu.cfs_quota_us", "5000".to_owned()),
            ("cpu", "cpu.cfs_period_us", "20000".to_owned()),
            ("cpu", "cpu.cfs_burst_us", "5000".to_owned()),
        ]
    };
    for (controller, file, value) in expected {
        assert_eq!(node.read(controller, "cell", file).as_ref(), Some(value), "{file}");
    }
    if let Some(with_swap) = node.read("memory", "cell", "memory.memsw.limit_in_bytes") {
        assert_eq!(with_swap, page(&hard).to_string());
    }
}

#[test]
fn a_fork_bomb_ends_at_the_process_limit() {
    let node = Node::new("pids");
    let group = node.0.create("cell").unwrap();
    let mut asked = limits(128, 0);
    asked.processes = 10;
    group.set_limits(&asked).unwrap();
    let mut child = node.run("cell", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; wait");
    child.ended();
    let count = || {
        node.read("pids", "cell", "pids.current")
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert!(count() <= 10, "{} processes", count());
    group.handle().kill_all().unwrap();
    until("all are gone", || count() == 0);
}

#[test]
fn the_cpu_cap_holds() {
    let node = Node::new("cpu");
    let group = node.0.create("cell").unwrap();
    group.handle().apply_cpu_cap(200).unwrap();
    let _child = node.run("cell", "while :; do :; done");
    until("it runs", || {
        group.handle().cpu_usage().unwrap() > Duration::from_millis(20)
    });
    let (used, from) = (group.handle().cpu_usage().unwrap(), clock_gettime(ClockId::Monotonic));
    until("half a second of CPU time", || {
        group.handle().cpu_usage().unwrap() >= used + Duration::from_millis(500)
    });
    let to = clock_gettime(ClockId::Monotonic);
    let wall = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1_000_000;
    // 500 ms at one fifth of a core are 2500 ms; the burst and the first and last period are free.
    assert!(
        wall >= 2200,
        "500 ms of CPU time within {wall} ms at a cap of 200 thousandths"
    );
}

#[test]
fn what_an_earlier_process_left_is_swept() {
    let node = Node::new("sweep");
    let (left, empty) = (node.0.create("left").unwrap(), node.0.create("empty").unwrap());
    let mut child = node.run("left", "sleep 600");
    until("it is inside", || !left.handle().is_empty().unwrap());
    left.handle().freeze().unwrap();
    drop((left, empty));
    let again = Hierarchy::detect(&format!("test-{}-sweep", std::process::id())).unwrap();
    assert_eq!(again.sweep().unwrap(), 2);
    assert!(!child.ended().success());
    assert_eq!(again.sweep().unwrap(), 0);
}

#[test]
fn names_that_could_be_paths_are_refused() {
    assert!(Hierarchy::detect("../x").is_err());
    let node = Node::new("names");
    for name in ["", "..", "a/b", "a.b", &"x".repeat(65)] {
        assert!(node.0.create(name).is_err(), "{name:?}");
    }
    let _once = node.0.create("twice").unwrap();
    assert!(node.0.create("twice").is_err());
}

/// A tmpfs that is mounted nowhere; a child reaches it through our descriptor.
fn scratch(mebibytes: u32) -> (OwnedFd, String) {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", format!("{mebibytes}m")).unwrap();
    rustix::mount::fsconfig_create(context.as_fd()).unwrap();
    let mount =
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), mount.as_raw_fd());
    (mount, path)
}

/// Runs `script` with 64 MiB of memory and 256 MiB of scratch, whose path is `$scratch` in it.
fn under_watch(test: &str, script: &str) -> (ExitStatus, u64, u32) {
    let node = Node::new(test);
    let group = node.0.create("cell").unwrap();
    let (mount, path) = scratch(256);
    let asked = limits(64, 256);
    group.set_limits(&asked).unwrap();
    let watch = OomWatch::new().unwrap();
    let guard = watch.watch(handle_of(&group), mount.try_clone().unwrap(), &asked);
    let watched = handle_of(&group);
    let mut child = node.run("cell", &format!("scratch={path}; {script}"));
    let status = child.ended();
    group.handle().wait_empty(Duration::from_secs(5)).unwrap();
    // The kill is counted on the handle that was watched or by the kernel.
    let kills = guard.oom_kills().unwrap();
    assert!(watched.oom_kills().unwrap() <= kills);
    drop(guard);
    assert!(watch.is_empty());
    (status, kills, group.handle().memory_peak().unwrap().0)
}

// `tail` keeps the last line of its input in memory, and zeros have no end of line.
const USE_MEMORY: &str = "head -c 200M /dev/zero | tail | cat > /dev/null";

#[test]
fn more_memory_than_allowed_ends_the_instance_though_scratch_would_have_room() {
    let (status, kills, peak) = under_watch("memory", &format!("{USE_MEMORY}; sleep 60"));
    assert!(!status.success(), "{status}");
    assert!(kills >= 1);
    assert!(peak < 128, "it reached {peak} MiB with 64 allowed");
}

#[test]
fn the_alarm_ends_an_instance_that_has_run_for_a_while() {
    let (status, kills, peak) = under_watch("alarm", &format!("sleep 1; {USE_MEMORY}; sleep 60"));
    assert!(!status.success(), "{status}");
    assert!(kills >= 1);
    // Other tests take the processors from the watching thread, so this is far from exact.
    assert!(peak < 64 + 32, "it reached {peak} MiB with 64 allowed");
}

#[test]
fn scratch_can_be_filled_beyond_memory() {
    let script = "head -c 250M /dev/zero > $scratch/a && cat $scratch/a > /dev/null && rm $scratch/a && \
                  head -c 250M /dev/zero > $scratch/b";
    let (status, kills, peak) = under_watch("scratch", script);
    assert!(status.success(), "{status}");
    assert_eq!(kills, 0);
    assert!(peak >= 250, "the kernel counts scratch, {peak} MiB");
}

#[test]
fn memory_is_enforced_after_scratch_was_filled_and_emptied() {
    let script = format!("head -c 200M /dev/zero > $scratch/a || exit 3; rm $scratch/a; {USE_MEMORY}; sleep 60");
    let (status, kills, _) = under_watch("emptied", &script);
    assert!(!status.success() && status.code() != Some(3), "{status}");
    assert!(kills >= 1);
}

#[test]
fn memory_is_enforced_while_scratch_is_full() {
    let script = format!("head -c 200M /dev/zero > $scratch/a || exit 3; {USE_MEMORY}; sleep 60");
    let (status, kills, peak) = under_watch("full", &script);
    assert!(!status.success() && status.code() != Some(3), "{status}");
    assert!(kills >= 1);
    assert!(peak < 200 + 128, "it reached {peak} MiB with 64 and 200 of scratch");
}

#[test]
fn many_small_files_count_as_scratch() {
    let script = "i=0; while [ $i -lt 60000 ]; do : > $scratch/$i; i=$((i+1)); done";
    let (status, kills, peak) = under_watch("files", script);
    assert!(status.success(), "{status} at {peak} MiB");
    assert_eq!(kills, 0);
}
