//! The least that can be at the other end of a function's contract: no sandbox, no routing, no records. What a call takes
//! through the platform beyond what it takes here is the platform's own.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::direct::{Direct, Route};

/// Longest wait for a process to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A language's interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript under Node.js.
    Node,
}

/// A function's process with somebody who speaks its contract.
#[derive(Debug)]
pub enum Stub {
    /// OpenWhisk: the platform's own bootstrap, by its channel.
    Whisk(Box<Whisk>),
    /// Fn: the provider's FDK, by its socket file.
    Fn(Box<Fn>),
    /// Lambda: the provider's runtime client, by the Runtime API.
    Lambda(Box<Lambda>),
}

impl Stub {
    /// One call, to the whole answer.
    ///
    /// # Errors
    /// The process answered otherwise, or is gone.
    pub async fn call(&mut self) -> Result<()> {
        match self {
            Self::Whisk(whisk) => whisk.call().await,
            Self::Fn(called) => called.connection.call(&called.route).await.map(drop),
            Self::Lambda(lambda) => lambda.call().await,
        }
    }
}

/// A command with nothing to say.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/tmp");
    command
}

// === OpenWhisk

/// See [`Stub::Whisk`].
#[derive(Debug)]
pub struct Whisk {
    _child: Child,
    _folder: TempDir,
    channel: UnixStream,
    run: Vec<u8>,
}

impl Whisk {
    /// Starts the bootstrap of a language and initializes an action. `sources` is the folder of bootstraps.
    ///
    /// # Errors
    /// It cannot be started, or does not initialize.
    pub async fn start(program: &Path, sources: &Path, language: Language, source: &str, body: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().to_str().context("a path in UTF-8")?;
        let (from, start) = match language {
            Language::Python => ("python", "bootstrap.py"),
            Language::Node => ("node", "bootstrap.cjs"),
        };
        for entry in fs::read_dir(sources.join(from))? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            // Inside of a sandbox both are at the root.
            let text = fs::read_to_string(entry.path())?;
            let text = text
                .replace("\"/action\"", &format!("\"{root}\""))
                .replace("'/action'", &format!("'{root}'"));
            fs::write(
                folder.path().join(entry.file_name()),
                text.replace("/var/runtime", root),
            )?;
        }
        fs::write(folder.path().join("exec"), source)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        // The shell puts the channel where the bootstrap looks for it.
        let mut command = quiet(Path::new("/bin/sh"));
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"]).arg(program);
        if language == Language::Python {
            command.arg("-S");
        }
        command
            .arg(folder.path().join(start))
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn().context("cannot start the bootstrap")?;
        drop(command);
        ours.set_nonblocking(true)?;
        let value: serde_json::Value = serde_json::from_str(body)?;
        let run = json!({
            "value": value, "namespace": "guest", "action_name": "/guest/echo", "action_version": "0.0.1",
            "activation_id": "0".repeat(32), "transaction_id": "0".repeat(32), "deadline": "4102444800000",
        });
        let mut whisk = Self {
            _child: child,
            _folder: folder,
            channel: UnixStream::from_std(ours)?,
            run: frame(b'R', run.to_string().as_bytes()),
        };
        let work = async {
            whisk.read().await?;
            let init = json!({ "name": "echo", "main": "main", "form": "source", "overlap": false, "env": {} });
            whisk
                .channel
                .write_all(&frame(b'I', init.to_string().as_bytes()))
                .await?;
            whisk.answer().await
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .context("the bootstrap is not ready in time")??;
        Ok(whisk)
    }

    async fn call(&mut self) -> Result<()> {
        self.channel.write_all(&self.run).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<()> {
        let frame = self.read().await?;
        let status = frame.get(5..7).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        ensure!(status == Some(200), "{}", String::from_utf8_lossy(&frame));
        Ok(())
    }

    async fn read(&mut self) -> Result<Vec<u8>> {
        let length = self.channel.read_u32_le().await?;
        let mut frame = vec![0; length as usize];
        self.channel.read_exact(&mut frame).await?;
        Ok(frame)
    }
}

/// Length, type, number, JSON.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(5 + body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend(1_u32.to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

// === Fn

/// See [`Stub::Fn`].
#[derive(Debug)]
pub struct Fn {
    _child: Child,
    _folder: TempDir,
    connection: Direct,
    route: Route,
}

impl Fn {
    /// Starts a function with the FDK in a bundle.
    ///
    /// # Errors
    /// It cannot be started, or does not listen.
    pub async fn start(program: &Path, bundle: &Path, language: Language, source: &str, body: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = folder.path().join("lsnr.sock");
        let mut command = quiet(program);
        match language {
            Language::Python => {
                let file = folder.path().join("func.py");
                fs::write(&file, source)?;
                let start = "import sys; from fdk.scripts.fdk import main; sys.exit(main())";
                command
                    .args(["-c", start])
                    .arg(file)
                    .arg("handler")
                    .env("PYTHONPATH", bundle);
            }
            Language::Node => {
                let file = folder.path().join("func.js");
                fs::write(&file, source)?;
                command.arg(file).env("NODE_PATH", bundle);
            }
        }
        command
            .env("FN_LISTENER", format!("unix:{}", listener.display()))
            .env("FN_FORMAT", "http-stream")
            .env("FN_MEMORY", "1769");
        let child = command.spawn().context("cannot start the function")?;
        let connection = sonagi_testkit::until("the function's socket", PATIENCE, async || {
            Direct::unix(&listener).await.ok()
        })
        .await;
        let route = Route {
            address: String::new(),
            host: "localhost".to_owned(),
            path: "/call".to_owned(),
            headers: vec![
                ("fn-call-id", "0".repeat(26)),
                ("fn-deadline", "2100-01-01T00:00:00Z".to_owned()),
            ],
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let mut called = Self {
            _child: child,
            _folder: folder,
            connection,
            route,
        };
        called.connection.call(&called.route).await?;
        Ok(called)
    }
}

// === Lambda

/// See [`Stub::Lambda`].
#[derive(Debug)]
pub struct Lambda {
    _child: Child,
    _folder: TempDir,
    _server: JoinSet<Result<()>>,
    events: mpsc::Sender<Bytes>,
    answered: mpsc::Receiver<()>,
    event: Bytes,
}

impl Lambda {
    /// Starts the provider's Python client, installed in `client`, against a Runtime API of one function.
    ///
    /// # Errors
    /// It cannot be started, or does not answer.
    pub async fn start(program: &Path, client: &Path, source: &str, event: Bytes) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("app.py"), source)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (events, waiting) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let mut server = JoinSet::new();
        server.spawn(runtime_api(listener, waiting, answers));
        let mut command = quiet(program);
        command
            .args(["-m", "awslambdaric", "app.handler"])
            .current_dir(folder.path())
            .env("PYTHONPATH", client)
            .env("LAMBDA_TASK_ROOT", folder.path())
            .env("AWS_LAMBDA_RUNTIME_API", address);
        let child = command.spawn().context("cannot start the runtime client")?;
        let mut lambda = Self {
            _child: child,
            _folder: folder,
            _server: server,
            events,
            answered,
            event,
        };
        tokio::time::timeout(PATIENCE, lambda.call())
            .await
            .context("the client is not ready in time")??;
        Ok(lambda)
    }

    async fn call(&mut self) -> Result<()> {
        self.events
            .send(self.event.clone())
            .await
            .context("the server is gone")?;
        self.answered.recv().await.context("no answer")
    }
}

/// Serves `next` and `response`.
async fn runtime_api(listener: TcpListener, waiting: mpsc::Receiver<Bytes>, answers: mpsc::Sender<()>) -> Result<()> {
    let waiting = Arc::new(Mutex::new(waiting));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (waiting, answers) = (Arc::clone(&waiting), answers.clone());
        let serve = service_fn(move |request| respond(request, Arc::clone(&waiting), answers.clone()));
        connections.spawn(async move {
            // A client that goes away has another connection, or is gone.
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
            let _ = serving.await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    waiting: Arc<Mutex<mpsc::Receiver<Bytes>>>,
    answers: mpsc::Sender<()>,
) -> Result<Response<Full<Bytes>>> {
    if request.uri().path().ends_with("/next") {
        let event = waiting.lock().await.recv().await.context("nobody calls")?;
        let function = "arn:aws:lambda:us-east-1:000000000000:function:echo";
        let response = Response::builder()
            .header("lambda-runtime-aws-request-id", "00000000-0000-0000-0000-000000000000")
            .header("lambda-runtime-deadline-ms", "4102444800000")
            .header("lambda-runtime-invoked-function-arn", function)
            .header("content-type", "application/json");
        return Ok(response.body(Full::new(event))?);
    }
    request.into_body().collect().await?;
    answers.send(()).await.context("nobody waits")?;
    Ok(Response::builder().status(202).body(Full::new(Bytes::new()))?)
}
