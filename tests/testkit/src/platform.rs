//! A real platform: the binary, on a temporary state directory and a port that the kernel chose.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::clients::{self, Ended, Environment};
use crate::{Http, Leftovers, checkout, until};

/// How long a start, a stop or a change of state may take here. Generous: the tests share two cores with a compiler.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What to start a platform with.
#[derive(Debug, Default)]
pub struct Setup {
    arguments: Vec<String>,
    environment: Environment,
    data: Option<PathBuf>,
}

impl Setup {
    /// Defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more setting, as `--NAME VALUE`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_string()]);
        self
    }

    /// With one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On this state directory, which stays.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// It does not become ready; its log is shown.
    pub async fn start(self) -> Platform {
        let mut platform = self.stopped();
        platform.start().await;
        platform
    }

    /// A platform that is not running yet.
    ///
    /// # Panics
    /// There is no room for temporary files.
    #[must_use]
    pub fn stopped(self) -> Platform {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        Platform {
            log: folder.path().join("log"),
            arguments: self.arguments,
            environment: self.environment,
            endpoint: String::new(),
            child: None,
            _folder: folder,
            data,
        }
    }
}

/// Unless a test says otherwise: the way out that touches nothing of the host's network.
pub const EGRESS: (&str, &str) = ("SONAGI_EGRESS", "proxy");

/// The binary under test: the one that `SONAGI_BIN` names, or else this checkout's debug build, made now.
///
/// # Panics
/// It cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("SONAGI_BIN") {
            return path.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = std::process::Command::new(cargo);
        build
            .current_dir(checkout(""))
            .args(["build", "--quiet", "--package", "sonagi"]);
        assert!(
            build.status().expect("cargo can be started").success(),
            "sonagi cannot be built"
        );
        checkout("target/debug/sonagi")
    })
}

/// A running (or stopped) platform. When it goes out of scope it is stopped and its state directory is removed.
#[derive(Debug)]
pub struct Platform {
    data: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    environment: Environment,
    endpoint: String,
    child: Option<Child>,
    _folder: TempDir,
}

impl Platform {
    /// A platform with default settings.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub async fn up() -> Self {
        Setup::new().start().await
    }

    /// Starts it (again) on its state directory and waits until it is ready.
    ///
    /// # Panics
    /// It is running, or does not become ready.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "it is running");
        // A file of an earlier life must not be taken for this one's.
        let _ = fs::remove_file(self.data.join("endpoint"));
        self.child = Some(self.spawn());
        self.endpoint = self.wait_for_endpoint().await;
        let http = self.http();
        until("readiness", PATIENCE, async || {
            self.assert_running();
            http.get("/readyz")
                .await
                .is_ok_and(|answer| answer.status.is_success())
                .then_some(())
        })
        .await;
    }

    /// Starts one more process on the same state directory and returns how it ended.
    pub async fn start_second(&self) -> Ended {
        let mut command = Command::new(binary());
        command
            .arg("up")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", "127.0.0.1:0"])
            .env(EGRESS.0, EGRESS.1);
        clients::run(command, &self.environment).await
    }

    fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let mut command = Command::new(binary());
        command
            .arg("up")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", "127.0.0.1:0"])
            .env(EGRESS.0, EGRESS.1);
        let bundles = checkout(".cache/bundles");
        if bundles.exists() {
            command.arg("--bundles").arg(bundles);
        }
        for major in ["20", "22", "24"] {
            let folder = checkout(".cache/node").join(major);
            if folder.exists() {
                command
                    .arg("--interpreters")
                    .arg(fs::canonicalize(folder).expect("it exists"));
            }
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .kill_on_drop(true);
        command.spawn().expect("the binary can be started")
    }

    async fn wait_for_endpoint(&mut self) -> String {
        let file = self.data.join("endpoint");
        until("the endpoint file", PATIENCE, async || {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().expect("its status"))
            {
                panic!("it ended with {status}:\n{}", self.log());
            }
            fs::read_to_string(&file)
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        })
        .await
    }

    fn assert_running(&self) {
        let id = self.id();
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        assert!(
            !status.is_empty() && !status.contains(") Z "),
            "it has ended:\n{}",
            self.log()
        );
    }

    /// Sets variables for the processes that are started from now on, in place of all earlier ones.
    pub fn set_environment(&mut self, environment: Environment) {
        self.environment = environment;
    }

    /// Starts it and ends it again (SIGKILL) after so long, ready or not.
    ///
    /// # Panics
    /// It is running.
    pub async fn start_and_kill(&mut self, after: Duration) {
        assert!(self.child.is_none(), "it is running");
        self.child = Some(self.spawn());
        // How far it gets is what is varied: there is no state to wait for.
        tokio::time::sleep(after).await;
        if self.has_ended() {
            self.child = None;
        } else {
            self.kill().await;
        }
    }

    /// Starts it and waits until it is ready; whether it is. It may end before, by itself.
    ///
    /// # Panics
    /// It is running, or neither ends nor becomes ready.
    pub async fn try_start(&mut self) -> bool {
        assert!(self.child.is_none(), "it is running");
        let _ = fs::remove_file(self.data.join("endpoint"));
        self.child = Some(self.spawn());
        let file = self.data.join("endpoint");
        let ready = until("an end or readiness", PATIENCE, async || {
            if self.has_ended() {
                return Some(false);
            }
            let endpoint = fs::read_to_string(&file).ok().filter(|text| !text.is_empty())?;
            let ready = Http::new(endpoint.trim()).get("/readyz").await;
            self.endpoint = endpoint.trim().to_owned();
            ready.is_ok_and(|answer| answer.status.is_success()).then_some(true)
        });
        let ready = ready.await;
        if !ready {
            self.child = None;
        }
        ready
    }

    /// Whether its process has ended by itself.
    ///
    /// # Panics
    /// Its status cannot be read.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| child.try_wait().expect("its status").is_some())
    }

    /// Forgets a process that has ended by itself, so that it can be started again.
    ///
    /// # Panics
    /// It has not ended.
    pub fn forget_ended(&mut self) {
        assert!(self.has_ended(), "it is running");
        self.child = None;
    }

    /// Holds its process (SIGSTOP), so that nothing it writes changes meanwhile.
    ///
    /// # Panics
    /// It is not running.
    pub fn hold(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// It is not running.
    pub fn release(&self) {
        self.signal(Signal::CONT);
    }

    /// Its process.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it is running")
    }

    /// Its address, for instance `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The port in its address.
    ///
    /// # Panics
    /// It was never started.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.endpoint
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("an address with a port")
    }

    /// Its state directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it has logged so far, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client of its address.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(&self.endpoint)
    }

    /// Asks it to stop (SIGTERM), once.
    ///
    /// # Panics
    /// It is not running.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it and waits for its end.
    ///
    /// # Panics
    /// It is not running, does not end in time, or not with success.
    pub async fn stop(&mut self) {
        self.ask_to_stop();
        let status = self.ended().await;
        assert!(status.success(), "it stopped with {status}:\n{}", self.log());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It is not running, or does not end in time.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("it is running");
        let status = tokio::time::timeout(PATIENCE, child.wait()).await;
        status
            .unwrap_or_else(|_| panic!("it did not end in {PATIENCE:?}:\n{}", self.log()))
            .expect("its status")
    }

    /// Ends it at once (SIGKILL), as a power cut would.
    ///
    /// # Panics
    /// It is not running.
    pub async fn kill(&mut self) {
        self.kill_now();
        self.ended().await;
    }

    /// The same, without waiting for the end.
    ///
    /// # Panics
    /// It is not running.
    pub fn kill_now(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(id, signal).expect("a signal can be sent");
    }

    /// What of it is on the host: instances and prepared cells while it runs, nothing once it has stopped.
    ///
    /// # Panics
    /// It was never started: then nobody knows how its groups are named.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let name =
            fs::read_to_string(self.data.join("sandbox/group")).expect("the platform writes how its groups are named");
        let name = name.trim();
        assert!(name.len() > "sonagi-".len(), "{name:?} is no name of a group");
        Leftovers::find(name, &self.data)
    }

    /// Its command line.
    #[must_use]
    pub fn cli(&self) -> Cli<'_> {
        Cli { platform: self }
    }

    /// Asks its native API: `GET` for nothing to send.
    ///
    /// # Panics
    /// The request fails, or the answer is no success.
    pub async fn native(&self, method: &str, path: &str, body: impl Into<bytes::Bytes>) -> serde_json::Value {
        let answer = self.native_answer(method, path, body).await;
        assert!(
            answer.status.is_success(),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.body.is_empty() {
            serde_json::Value::Null
        } else {
            answer.json().expect("JSON")
        }
    }

    /// The same, whatever the answer is.
    ///
    /// # Panics
    /// The request fails.
    pub async fn native_answer(&self, method: &str, path: &str, body: impl Into<bytes::Bytes>) -> crate::Answer {
        let token = fs::read_to_string(self.data.join("token")).expect("a token file");
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let sent = self
            .http()
            .send(method, &format!("/sonagi/v1{path}"), &headers, body)
            .await;
        sent.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The variables that `sonagi env aws` gives to a shell.
    ///
    /// # Panics
    /// The command fails or prints something else.
    pub async fn aws(&self) -> Environment {
        self.aws_of(None).await
    }

    /// The same for one account.
    ///
    /// # Panics
    /// As [`Platform::aws`].
    pub async fn aws_of(&self, account: Option<&str>) -> Environment {
        self.clients_of("aws", account).await
    }

    /// The variables that `sonagi env PROVIDER` gives to a shell, for an account or the first one.
    ///
    /// # Panics
    /// The command fails or prints something else.
    pub async fn clients_of(&self, provider: &str, account: Option<&str>) -> Environment {
        let mut arguments = vec!["env", provider];
        arguments.extend(account.iter().flat_map(|id| ["--account", *id]));
        exports(&self.cli().run(&arguments).await.expect("sonagi env"))
    }
}

/// The variables of `export NAME=VALUE` lines.
fn exports(text: &str) -> Environment {
    let lines = text.lines().filter_map(|line| line.strip_prefix("export "));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect()
}

impl Drop for Platform {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if std::thread::panicking() {
            eprintln!("--- log of the platform\n{}---", tail(&self.log(), 200));
        }
        // Two signals: stop at once, but remove everything.
        for _ in 0..2 {
            if let Some(id) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
                let _ = kill_process(id, Signal::TERM);
            }
        }
        for _ in 0..2000 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(5));
        }
        let _ = child.start_kill();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a destructor cannot await; the wait is bounded and looks at a state"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The command line of a platform.
#[derive(Debug, Clone, Copy)]
pub struct Cli<'a> {
    platform: &'a Platform,
}

impl Cli<'_> {
    /// Runs `sonagi ARGUMENTS…` against the platform.
    ///
    /// # Panics
    /// It cannot be started or does not end in time.
    pub async fn run(self, arguments: &[&str]) -> Ended {
        clients::run(self.command(arguments), &self.platform.environment).await
    }

    /// Runs it with `--output json` and reads what it prints.
    ///
    /// # Panics
    /// It fails or prints something else.
    pub async fn json(self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--output", "json"]].concat())
            .await
            .json(&format!("sonagi {}", arguments.join(" ")))
    }

    /// The command, to be run otherwise.
    #[must_use]
    pub fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("SONAGI_DATA", &self.platform.data)
            .env("NO_COLOR", "1");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read_with_and_without_quotes() {
        let read = exports("# for a shell\nexport A='1 2'\nexport B=\"x=y\"\nexport C=z\nother\n");
        let expected =
            [("A", "1 2"), ("B", "x=y"), ("C", "z")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
    }
}
