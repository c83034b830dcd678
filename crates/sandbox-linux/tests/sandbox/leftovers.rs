//! What is left when somebody ends who should not: nothing, at the latest when the next one starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sonagi_ports::Sandbox;
use sonagi_sandbox_linux::{LaunchError, LinuxSandbox, Options, launch};
use tokio::time::timeout;

use crate::node::{Node, PATIENCE, on_node, on_node_with, read_line, runtime, until};

crate::tests![
    nothing_is_left_of_a_destroyed_instance,
    a_killed_spawner_is_noticed_and_leaves_nothing,
    a_killed_server_leaves_nothing,
    a_killed_server_and_spawner_leave_nothing_after_the_next_start,
    a_second_server_is_refused,
];

/// First argument of a process that is a server to be killed.
pub const SERVER_ARGUMENT: &str = "--serve-until-killed";

/// Every control group of a node, in every tree.
pub fn groups_of(node: &Node) -> Vec<PathBuf> {
    groups_named(node, "cell-")
}

/// Groups of a running node whose names begin so.
pub fn groups_named(node: &Node, begin: &str) -> Vec<PathBuf> {
    let all = cells_in(node.folder.path(), Path::new("/sys/fs/cgroup")).into_iter();
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(begin);
    all.filter(named).collect()
}

/// Names of its cells.
pub fn cells_of(node: &Node) -> Vec<String> {
    let mut names: Vec<_> = groups_of(node)
        .into_iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn cells_in(folder: &Path, tree: &Path) -> Vec<PathBuf> {
    let node = node_group(folder);
    let mut cells = Vec::new();
    let mut waiting = vec![tree.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let children = fs::read_dir(&path).into_iter().flatten().flatten();
        for child in children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
            if path.file_name().is_some_and(|name| name.to_string_lossy() == node) {
                cells.push(child.path());
            }
            waiting.push(child.path());
        }
    }
    cells
}

/// The name that the sandbox derives from the folder: FNV-1a of its path.
fn node_group(folder: &Path) -> String {
    let path = folder.canonicalize().unwrap();
    let hash = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("sonagi-{hash:016x}")
}

/// Processes whose command line has this mark.
fn processes_with(mark: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

/// A script that stays, with a child, and can be found from outside.
fn staying(mark: &str) -> String {
    format!("sleep {mark} & echo ready; exec sleep {mark}")
}

/// A number for `sleep` that nobody else uses.
fn mark() -> String {
    let mut random = [0; 4];
    getrandom::fill(&mut random).unwrap();
    format!("1{:010}", u32::from_le_bytes(random))
}

fn nothing_is_left_of_a_destroyed_instance() {
    on_node(|node| async move {
        let (mark, mounted) = (mark(), fs::read_to_string("/proc/self/mountinfo").unwrap());
        let started = node.start(node.plan(&staying(&mark))).await.unwrap();
        let (line, _pipe) = read_line(started.output).await;
        assert_eq!(line, "ready");
        assert_eq!(cells_of(&node).len(), 1);
        until("both processes", || processes_with(&mark) == 2).await;
        timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        assert_eq!(processes_with(&mark), 0);
        assert_eq!(groups_of(&node), [] as [PathBuf; 0]);
        assert_eq!(
            fs::read_to_string("/proc/self/mountinfo").unwrap(),
            mounted,
            "mounts are seen outside"
        );
        assert_eq!(node.sandbox.alive(), 0);
    });
}

fn a_killed_spawner_is_noticed_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let mark = mark();
    fs::create_dir(path.join("code")).unwrap();
    let spawner = launch(&Options::new(&path)).unwrap();
    let number = spawner.id();
    runtime().block_on(async {
        let sandbox = LinuxSandbox::attach(spawner).unwrap();
        let node = Node {
            sandbox,
            code: path.join("code"),
            folder,
        };
        let started = node.start(node.plan(&staying(&mark))).await.unwrap();
        let (_line, _pipe) = read_line(started.output).await;
        kill(number);
        timeout(PATIENCE, node.sandbox.spawner_exited()).await.unwrap();
        let refused = node.start(node.plan("true")).await.unwrap_err().to_string();
        assert_eq!(refused, "reach the spawner: it has ended");
        timeout(PATIENCE, started.sandbox.exited()).await.unwrap();
        timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        assert_eq!(processes_with(&mark), 0);
        assert_eq!(node.sandbox.alive(), 0);
        timeout(PATIENCE, node.sandbox.shut_down()).await.unwrap();
        assert_ne!(
            groups_of(&node),
            [] as [PathBuf; 0],
            "groups are left for the next one to remove"
        );
        let folder = node.folder;
        drop(node.sandbox);
        next_start_finds_nothing(folder, 1);
    });
}

/// Starts a sandbox on the folder and checks that it removed so many cells.
fn next_start_finds_nothing(folder: tempfile::TempDir, swept: usize) {
    let spawner = launch(&Options::new(folder.path())).unwrap();
    assert_eq!(spawner.swept, swept);
    assert_eq!(cells_in(folder.path(), Path::new("/sys/fs/cgroup")), [] as [PathBuf; 0]);
}

fn kill(process: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A server with one instance and one ready cell, that waits to be killed. Says when it is ready, and the number of its
/// spawner.
pub fn serve(arguments: &str) {
    let (folder, mark) = arguments.split_once(',').unwrap();
    let spawner = launch(&Options::new(folder)).unwrap();
    let number = spawner.id();
    runtime().block_on(async {
        let sandbox = LinuxSandbox::attach(spawner).unwrap();
        let code = Path::new(folder).join("code");
        let node = Node {
            sandbox,
            code,
            folder: tempfile::tempdir().unwrap(),
        };
        let plan = node.plan(&staying(mark));
        let kind = plan.cell.clone();
        let started = node.start(plan).await.unwrap();
        let (_line, _pipe) = read_line(started.output).await;
        node.sandbox.expect(&kind, 1);
        let tree = Path::new("/sys/fs/cgroup");
        until("a cell is ready", || {
            cells_in(Path::new(folder), tree)
                .iter()
                .any(|path| path.ends_with("cell-2"))
        })
        .await;
        println!("{number}");
        std::future::pending::<()>().await;
    });
}

/// A server process, and the number of its spawner.
fn server(folder: &Path, mark: &str) -> (Child, u32) {
    use std::io::BufRead;
    fs::create_dir_all(folder.join("code")).unwrap();
    let mut server = Command::new("/proc/self/exe")
        .args([SERVER_ARGUMENT, &format!("{},{mark}", folder.display())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (server, line.trim().parse().unwrap())
}

fn a_killed_server_leaves_nothing() {
    let (folder, mark) = (tempfile::tempdir().unwrap(), mark());
    let (mut server, spawner) = server(folder.path(), &mark);
    // Its own command line names the mark, too.
    assert_eq!(processes_with(&mark), 3);
    server.kill().unwrap();
    server.wait().unwrap();
    runtime().block_on(async {
        until("the processes are gone", || processes_with(&mark) == 0).await;
        until("the groups are gone", || {
            cells_in(folder.path(), Path::new("/sys/fs/cgroup")).is_empty()
        })
        .await;
        until("the spawner is gone", || {
            !Path::new(&format!("/proc/{spawner}/cwd")).exists()
        })
        .await;
    });
    next_start_finds_nothing(folder, 0);
}

fn a_killed_server_and_spawner_leave_nothing_after_the_next_start() {
    let (folder, mark) = (tempfile::tempdir().unwrap(), mark());
    let (mut server, spawner) = server(folder.path(), &mark);
    kill(spawner);
    server.kill().unwrap();
    server.wait().unwrap();
    let spawner = launch(&Options::new(folder.path())).unwrap();
    assert_eq!(spawner.swept, 2, "the instance and the ready cell");
    assert_eq!(processes_with(&mark), 0);
    assert_eq!(cells_in(folder.path(), Path::new("/sys/fs/cgroup")), [] as [PathBuf; 0]);
}

fn a_second_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let again = options.clone();
    on_node_with(folder, &options, |_node| async move {
        let refused = launch(&again);
        assert!(matches!(refused, Err(LaunchError::InUse(_))), "{refused:?}");
    });
}
