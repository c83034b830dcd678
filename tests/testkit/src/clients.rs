//! The providers' own clients, unmodified, in the pinned versions that `cargo xtask setup` installs.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::{checkout, installed};

/// Variables for a client.
pub type Environment = Vec<(String, String)>;

/// Longest time for one script.
const LIMIT: Duration = Duration::from_secs(280);

/// A client program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Python with boto3.
    Boto3,
    /// The AWS command line.
    AwsCli,
    /// Node.js with the JavaScript SDK.
    JavaScript,
    /// Node.js with the clients of OpenWhisk.
    OpenWhisk,
    /// A bash script, which finds the AWS command line as `aws`.
    Shell,
}

/// How a script or command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Its exit status, if no signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output of a success.
    ///
    /// # Panics
    /// It was none; both streams are shown.
    #[must_use]
    pub fn expect(self, what: &str) -> String {
        assert!(
            self.success,
            "{what}: status {:?}\n{}\n{}",
            self.code, self.stdout, self.stderr
        );
        self.stdout
    }

    /// Standard output of a success as JSON.
    ///
    /// # Panics
    /// It was no success, or no JSON.
    #[must_use]
    pub fn json(self, what: &str) -> serde_json::Value {
        let text = self.expect(what);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error} in {text:?}"))
    }

    /// Standard error of a failure.
    ///
    /// # Panics
    /// It was none.
    #[must_use]
    pub fn expect_failure(self, what: &str) -> String {
        assert!(!self.success, "{what} succeeded:\n{}", self.stdout);
        self.stderr
    }
}

impl Client {
    /// Runs the client with these arguments (a script and its arguments, or a command) and variables.
    ///
    /// # Panics
    /// It is not installed, cannot be started, or did not end within the limit.
    pub async fn run<I, S>(self, arguments: I, environment: &Environment) -> Ended
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let mut command = match self {
            Self::Boto3 => Command::new(installed("python/boto3/bin/python")),
            Self::AwsCli => Command::new(installed("python/awscli/bin/aws")),
            Self::JavaScript => {
                let mut node = Command::new(installed("node/22/bin/node"));
                node.env("NODE_PATH", installed("npm/node_modules"));
                node
            }
            Self::OpenWhisk => {
                let mut node = Command::new(installed("node/22/bin/node"));
                node.env("NODE_PATH", installed("npm-openwhisk/node_modules"));
                node
            }
            Self::Shell => Command::new("bash"),
        };
        command.args(arguments.into_iter().map(Into::into));
        run(command, environment).await
    }

    /// Runs a script of the checkout.
    ///
    /// # Panics
    /// As [`Client::run`].
    pub async fn script(self, relative: &str, environment: &Environment) -> Ended {
        self.run([checkout(relative)], environment).await
    }

    /// Runs a piece of Python or JavaScript given as text.
    ///
    /// # Panics
    /// As [`Client::run`].
    pub async fn text(self, program: &str, environment: &Environment) -> Ended {
        let flag = match self {
            Self::Boto3 | Self::AwsCli | Self::Shell => "-c",
            Self::JavaScript | Self::OpenWhisk => "-e",
        };
        self.run([flag, program], environment).await
    }
}

/// Runs a command to its end, with nothing to read and no configuration of the person who runs the tests.
///
/// # Panics
/// It cannot be started, or did not end within the limit.
pub async fn run(mut command: Command, environment: &Environment) -> Ended {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_CONFIG_FILE", Path::new("/dev/null"))
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{shown} did not end in {LIMIT:?}"));
    let output = output.unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    Ended {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
