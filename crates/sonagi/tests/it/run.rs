//! Running the binary.

use std::path::Path;
use std::process::Stdio;

use sonagi_server::native::testing::{Served, serve};
use tempfile::TempDir;
use tokio::process::Command;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output of a success.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard output of a success as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.good();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Standard error of a failure with this exit code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// A command in an environment that is the same on every machine.
pub fn command(arguments: &[&str], home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonagi"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SONAGI_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(home)
        .env("SONAGI_DATA", "data")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub async fn run(mut command: Command) -> Ended {
    let output = command.output().await.unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with a state directory in it, and the native API that it names.
pub struct Stage {
    pub served: Served,
    pub home: TempDir,
}

impl Stage {
    pub async fn new() -> Self {
        let stage = Self {
            served: serve().await,
            home: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(stage.home.path().join("data")).unwrap();
        stage.write("data/endpoint", stage.served.endpoint());
        stage.write("data/token", stage.served.token());
        stage
    }

    /// Writes a file below the folder.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A command that reaches the native API.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments, self.home.path());
        // The provider in memory has another name than those whose functions the command line reads.
        command.env("SONAGI_NAMESPACE", "test/one/here");
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Ended {
        run(self.command(arguments)).await
    }

    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--output", "json"]].concat()).await.json()
    }
}
