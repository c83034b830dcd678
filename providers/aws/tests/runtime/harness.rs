//! Starts functions as plain child processes and talks with them through the contract.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use sonagi_aws::credentials::TemporaryCredentials;
use sonagi_aws::runtime::{AwsContract, CONTRACT, RuntimeOptions};
use sonagi_model::{
    ArtifactRef, Digest, Document, FunctionError, FunctionId, FunctionName, InstanceId, InvocationId, Mebibytes,
    Namespace, Revision, RevisionId, RevisionSpec, TenantId, Timestamp,
};
use sonagi_ports::{
    Attributes, Call, Clock, Contract, InitFailure, InstanceLog, Interpreter, Interpreters, Language, Launch,
    LaunchPlan, LogSource, Opening, Purpose, Reply, ReplyBody, Session, SessionError, StreamPart, SystemClock,
    SystemEntropy,
};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Longest time that anything here waits for a state.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The interpreters that `PATH` leads to, under whatever shims.
#[derive(Debug)]
pub struct HostInterpreters(Vec<Interpreter>);

impl HostInterpreters {
    pub fn find_all() -> Self {
        let mut found: Vec<Interpreter> = Vec::new();
        let python =
            "import os,platform,sys; print(os.path.realpath(sys.executable)); print(platform.python_version())";
        let node = "console.log(process.execPath); console.log(process.versions.node)";
        let mut names = vec![(Language::Python, "python3".to_owned(), "-c", python)];
        names.extend((8..16).map(|minor| (Language::Python, format!("python3.{minor}"), "-c", python)));
        names.push((Language::Node, "node".to_owned(), "-e", node));
        for (language, name, flag, code) in names {
            let Ok(output) = std::process::Command::new(&name)
                .args([flag, code])
                .stderr(Stdio::null())
                .output()
            else {
                continue;
            };
            let text = String::from_utf8_lossy(&output.stdout);
            let mut lines = text.lines();
            if let (Some(program), Some(version)) = (lines.next(), lines.next())
                && !found.iter().any(|known| known.program == program)
            {
                found.push(Interpreter {
                    language,
                    version: version.to_owned(),
                    program: program.to_owned(),
                    mounts: Vec::new(),
                    environment: Vec::new(),
                });
            }
        }
        Self(found)
    }
}

impl Interpreters for HostInterpreters {
    fn find(&self, language: Language, version: &str) -> Option<Interpreter> {
        let wanted: Vec<&str> = version.split('.').collect();
        let fits = |interpreter: &&Interpreter| {
            let parts: Vec<&str> = interpreter.version.split('.').collect();
            interpreter.language == language && parts.starts_with(&wanted)
        };
        self.0.iter().find(fits).cloned()
    }

    fn all(&self) -> Vec<Interpreter> {
        self.0.clone()
    }
}

/// One contract for the whole test process, so that the bootstraps are written once.
pub struct Host {
    pub interpreters: Arc<HostInterpreters>,
    pub contract: AwsContract,
    pub credentials: Arc<TemporaryCredentials>,
    _bootstraps: tempfile::TempDir,
}

pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let interpreters = Arc::new(HostInterpreters::find_all());
        let entropy = Arc::new(SystemEntropy::new());
        let credentials = Arc::new(TemporaryCredentials::new(entropy.as_ref()));
        let contract = AwsContract::new(
            Arc::clone(&interpreters) as Arc<dyn Interpreters>,
            Vec::new(),
            dir.path().to_owned(),
            Arc::clone(&credentials),
            Arc::new(SystemClock),
            entropy,
            RuntimeOptions::default(),
        )
        .unwrap();
        Host {
            interpreters,
            contract,
            credentials,
            _bootstraps: dir,
        }
    })
}

/// The runtime identifier of an interpreter that this host has.
pub fn runtime(language: Language) -> String {
    let all = host().interpreters.all();
    let interpreter = all.iter().find(|interpreter| interpreter.language == language);
    let version = &interpreter
        .unwrap_or_else(|| panic!("{language:?} is not on PATH: these tests need it"))
        .version;
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
    match language {
        Language::Python => format!("python{major}.{minor}"),
        Language::Node => format!("nodejs{major}.x"),
    }
}

/// A function to start.
pub struct Source {
    runtime: String,
    handler: String,
    files: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
    /// Replaces the program of the plan.
    program: Option<Vec<String>>,
    document: serde_json::Value,
}

impl Source {
    pub fn new(runtime: &str, handler: &str) -> Self {
        Self {
            runtime: runtime.to_owned(),
            handler: handler.to_owned(),
            files: Vec::new(),
            environment: BTreeMap::new(),
            program: None,
            document: serde_json::Value::Null,
        }
    }

    pub fn python(handler: &str, code: &str) -> Self {
        Self::new(&runtime(Language::Python), handler).file("app.py", code)
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn program(mut self, program: Vec<String>) -> Self {
        self.program = Some(program);
        self
    }

    pub fn document(mut self, document: serde_json::Value) -> Self {
        self.document = document;
        self
    }

    pub fn revision(&self) -> Revision {
        let digest = Digest::from_bytes([0; 32]);
        Revision {
            id: RevisionId::generate(),
            function: FunctionId::generate(),
            namespace: Namespace::parse("aws/000000000000/us-east-1").unwrap(),
            tenant: TenantId::parse("aws/000000000000").unwrap(),
            name: FunctionName::parse("hello").unwrap(),
            label: "$LATEST".to_owned(),
            artifact: ArtifactRef {
                digest,
                size: 0,
                tree: digest,
                unpacked_size: 0,
            },
            beside: None,
            spec: RevisionSpec {
                contract: CONTRACT.to_owned(),
                runtime: self.runtime.clone(),
                handler: self.handler.clone(),
                memory: Mebibytes(256),
                timeout: Duration::from_secs(3),
                scratch: Mebibytes(512),
                environment: self.environment.clone(),
                concurrency: std::num::NonZeroU32::MIN,
                outside: sonagi_model::Outside::Open,
            },
            created: Timestamp::EPOCH,
            document: Document(self.document.clone()),
        }
    }

    /// Starts it. Its code lies in a temporary folder; paths of the sandbox are replaced by those of the host.
    pub fn start(self) -> Running {
        let code = tempfile::tempdir().unwrap();
        for (path, text) in &self.files {
            let path = code.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let (revision, instance) = (Arc::new(self.revision()), InstanceId::generate());
        let contract = &host().contract;
        let plan = contract
            .plan(&Launch {
                revision: &revision,
                instance,
                tree: code.path(),
                beside: None,
                purpose: Purpose::Demand,
            })
            .unwrap();
        let listeners: Vec<TcpListener> = plan.listeners.iter().map(|_| listener()).collect();
        let (channel, theirs) = UnixStream::pair().unwrap();
        channel.set_nonblocking(true).unwrap();
        let child = spawn(&plan, &listeners, theirs, self.program.as_deref());
        let session = contract.open(Opening {
            revision,
            instance,
            listeners,
            channel: plan.channel.then_some(channel),
            scratch: None,
            purpose: Purpose::Demand,
            log: Arc::new(NoLog),
        });
        Running {
            session,
            code,
            child: Some(child),
            plan,
        }
    }
}

/// Keeps nothing.
#[derive(Debug)]
pub struct NoLog;

impl InstanceLog for NoLog {
    fn write(&self, _source: LogSource, _lines: Vec<String>) {}
}

pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A shell puts the channel where the program expects it.
fn spawn(plan: &LaunchPlan, listeners: &[TcpListener], channel: UnixStream, program: Option<&[String]>) -> Child {
    let here = |text: &str| {
        let mut text = text.replace(&plan.code.target, plan.code.source.to_str().unwrap());
        for mount in &plan.cell.mounts {
            text = text.replace(&mount.target, mount.source.to_str().unwrap());
        }
        for (port, listener) in plan.listeners.iter().zip(listeners) {
            text = text.replace(
                &format!("127.0.0.1:{port}"),
                &listener.local_addr().unwrap().to_string(),
            );
        }
        text
    };
    let program: Vec<String> = program.unwrap_or(&plan.program).iter().map(|part| here(part)).collect();
    Command::new("/bin/sh")
        .args(["-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"])
        .args(&program)
        .env_clear()
        .envs(plan.environment.iter().map(|(name, value)| (name, here(value))))
        .current_dir(&plan.code.source)
        .stdin(Stdio::from(OwnedFd::from(channel)))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A started function.
pub struct Running {
    pub session: Arc<dyn Session>,
    pub code: tempfile::TempDir,
    pub plan: LaunchPlan,
    child: Option<Child>,
}

/// What a process left behind.
#[derive(Debug)]
pub struct Gone {
    pub code: Option<i32>,
    pub stdout: String,
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {LIMIT:?}"))
}

pub fn call(payload: impl Into<Bytes>) -> Call {
    let deadline = SystemClock.now().plus(Duration::from_secs(3));
    Call {
        invocation: InvocationId::generate(),
        attempt: 1,
        payload: payload.into(),
        deadline,
        attributes: Attributes::default(),
    }
}

impl Running {
    pub async fn ready(&self) -> Result<(), InitFailure> {
        within("initialization", self.session.ready()).await
    }

    pub async fn reply(&self, call: Call) -> Result<Reply, SessionError> {
        within("the answer", self.session.invoke(call)).await
    }

    /// A whole answer.
    pub async fn invoke(&self, call: Call) -> Result<Bytes, FunctionError> {
        match self.reply(call).await.unwrap().body {
            ReplyBody::Whole(answer) => answer,
            ReplyBody::Stream(_) => panic!("a streamed answer"),
        }
    }

    /// A whole, successful answer to a JSON event, as JSON.
    pub async fn json(&self, event: &str) -> serde_json::Value {
        let bytes = self.invoke(call(event.to_owned())).await.unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
    }

    /// An error document.
    pub async fn error(&self, event: &str) -> serde_json::Value {
        let error = self.invoke(call(event.to_owned())).await.unwrap_err();
        serde_json::from_slice(&error.body).unwrap()
    }

    /// Waits until the process has ended by itself.
    pub async fn gone(&mut self) -> Gone {
        let child = self.child.take().expect("a process ends once");
        let output = within("the end of the process", child.wait_with_output())
            .await
            .unwrap();
        Gone {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// Ends the process, and returns what it had written.
    pub async fn stop(&mut self) -> Gone {
        self.child.as_mut().unwrap().start_kill().unwrap();
        self.gone().await
    }

    /// Reads standard output until it holds the text.
    pub async fn stdout_until(&mut self, text: &str) -> String {
        let pipe = self.child.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        within("output", async {
            while !String::from_utf8_lossy(&seen).contains(text) {
                let mut buffer = [0; 4096];
                let count = pipe.read(&mut buffer).await.unwrap();
                assert!(
                    count > 0,
                    "output ended without {text:?}: {}",
                    String::from_utf8_lossy(&seen)
                );
                seen.extend_from_slice(&buffer[..count]);
            }
        })
        .await;
        String::from_utf8_lossy(&seen).into_owned()
    }
}

/// The parts of a streamed answer: its bytes, and how it ended (`None`: broken off).
pub async fn collect(reply: Reply) -> (Vec<u8>, Option<Result<(), FunctionError>>) {
    let ReplyBody::Stream(mut parts) = reply.body else {
        panic!("a whole answer: {reply:?}")
    };
    let mut bytes = Vec::new();
    loop {
        match within("a part of the stream", parts.recv()).await {
            Some(StreamPart::Data(data)) => bytes.extend_from_slice(&data),
            Some(StreamPart::Failed(error)) => return (bytes, Some(Err(error))),
            Some(StreamPart::End) => return (bytes, Some(Ok(()))),
            None => return (bytes, None),
        }
    }
}
