//! A node of its own for each test.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonagi_model::{Exit, InstanceId, InstanceLimits, Mebibytes};
use sonagi_ports::{CellKind, LaunchPlan, Mount, Sandbox, SandboxError, Started};
use sonagi_sandbox_linux::{LinuxSandbox, Options, launch};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// Longest wait for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running sandbox on a folder of its own.
pub struct Node {
    pub sandbox: Arc<LinuxSandbox>,
    /// Where code trees are.
    pub code: PathBuf,
    pub folder: TempDir,
}

/// What became of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub exit: Exit,
    pub output: String,
}

/// Runs a test on a fresh node, and checks that nothing is left of it.
pub fn on_node<F: Future<Output = ()>>(test: impl FnOnce(Arc<Node>) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    on_node_with(folder, &options, test);
}

/// As [`on_node`], with these options.
pub fn on_node_with<F: Future<Output = ()>>(folder: TempDir, options: &Options, test: impl FnOnce(Arc<Node>) -> F) {
    let code = folder.path().join("code");
    fs::create_dir_all(&code).unwrap();
    let spawner = launch(options).unwrap();
    runtime().block_on(async {
        let sandbox = LinuxSandbox::attach(spawner).unwrap();
        let node = Arc::new(Node { sandbox, code, folder });
        test(Arc::clone(&node)).await;
        assert_eq!(
            timeout(PATIENCE, node.sandbox.shut_down()).await.unwrap(),
            0,
            "something is left"
        );
    });
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

impl Node {
    /// A plan for a shell script, with 64 MiB of memory and 16 MiB of scratch.
    pub fn plan(&self, script: &str) -> LaunchPlan {
        self.plan_for(&["/bin/sh", "-c", script])
    }

    /// A plan for a program of the host's `/usr`, or of the code tree.
    pub fn plan_for(&self, program: &[&str]) -> LaunchPlan {
        LaunchPlan {
            instance: InstanceId::generate(),
            cell: CellKind {
                mounts: vec![Mount {
                    source: "/usr".into(),
                    target: "/usr".to_owned(),
                    executable: true,
                }],
                stem: None,
                outside: sonagi_model::Outside::Open,
            },
            code: Mount {
                source: self.code.clone(),
                target: "/var/task".to_owned(),
                executable: true,
            },
            program: program.iter().map(|&part| part.to_owned()).collect(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            working_directory: "/var/task".to_owned(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            channel: false,
            meets_in_scratch: false,
            limits: InstanceLimits::for_sizes(Mebibytes(64), Mebibytes(16)),
        }
    }

    pub async fn start(&self, plan: LaunchPlan) -> Result<Started, SandboxError> {
        timeout(PATIENCE, self.sandbox.start(plan)).await.unwrap()
    }

    /// Runs a plan to its end.
    pub async fn run_plan(&self, plan: LaunchPlan) -> Outcome {
        let started = self.start(plan).await.unwrap();
        let output = timeout(PATIENCE, read_all(started.output)).await.unwrap();
        let exit = timeout(PATIENCE, started.sandbox.exited()).await.unwrap();
        timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
        Outcome { exit, output }
    }

    /// Runs a shell script to its end.
    pub async fn run(&self, script: &str) -> Outcome {
        self.run_plan(self.plan(script)).await
    }

    /// Output of a script that must end well.
    pub async fn output(&self, script: &str) -> String {
        let outcome = self.run(script).await;
        assert_eq!(outcome.exit, Exit::Code(0), "{script}: {}", outcome.output);
        outcome.output
    }

    /// Output of a Python program that must end well.
    pub async fn python(&self, program: &str) -> String {
        let outcome = self
            .run_plan(self.plan_for(&["/usr/bin/python3", "-I", "-S", "-c", program]))
            .await;
        assert_eq!(outcome.exit, Exit::Code(0), "{program}: {}", outcome.output);
        outcome.output
    }
}

/// Everything that comes until the end.
pub async fn read_all(output: OwnedFd) -> String {
    let mut pipe = pipe::Receiver::from_owned_fd(output).unwrap();
    let mut text = Vec::new();
    pipe.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads until a line is there; what was read, and the rest of the pipe.
pub async fn read_line(output: OwnedFd) -> (String, pipe::Receiver) {
    let mut pipe = pipe::Receiver::from_owned_fd(output).unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        assert_eq!(
            timeout(PATIENCE, pipe.read(&mut byte)).await.unwrap().unwrap(),
            1,
            "the output ended"
        );
        text.push(byte[0]);
    }
    (String::from_utf8_lossy(&text).trim_end().to_owned(), pipe)
}

/// Waits for a state.
pub async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let reached = timeout(PATIENCE, async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(reached.await.is_ok(), "not reached: {what}");
}
