//! Other function servers that run here, each serving the echo function on processors that it shares with nothing else.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::load::{Connection, Target};
use crate::pin::Pinned;
use crate::process;

/// Longest wait for a server's first answer, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A function server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Google's functions framework for Python, behind gunicorn, as its command line runs it.
    FrameworkPython,
    /// Google's functions framework for Node.js.
    FrameworkNode,
    /// serverless-offline, a Python function.
    OfflinePython,
    /// serverless-offline, a Node.js function.
    OfflineNode,
    /// miniflare.
    Miniflare,
    /// workerd by itself.
    Workerd,
}

impl Peer {
    /// Those with the same language on both sides.
    pub const PYTHON: &[Self] = &[Self::FrameworkPython, Self::OfflinePython];
    /// Those with the same language on both sides.
    pub const NODE: &[Self] = &[Self::FrameworkNode, Self::OfflineNode, Self::Miniflare, Self::Workerd];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrameworkPython => "functions-framework (Python)",
            Self::FrameworkNode => "functions-framework (Node.js)",
            Self::OfflinePython => "serverless-offline (Python)",
            Self::OfflineNode => "serverless-offline (Node.js)",
            Self::Miniflare => "miniflare",
            Self::Workerd => "workerd",
        }
    }

    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::FrameworkPython => &[("main.py", "def handler(request):\n    return request.get_data()\n")],
            Self::FrameworkNode => &[("serve.cjs", FRAMEWORK)],
            Self::OfflinePython => &[("serverless.yml", OFFLINE_PYTHON), ("app.py", OFFLINE_PYTHON_HANDLER)],
            Self::OfflineNode => &[("serverless.yml", OFFLINE_NODE), ("app.mjs", OFFLINE_NODE_HANDLER)],
            Self::Miniflare => &[("serve.cjs", MINIFLARE), ("worker.mjs", WORKER)],
            Self::Workerd => &[("config.capnp", WORKERD), ("worker.mjs", WORKER)],
        }
    }

    fn words(self, cache: &Path, node: &Path, port: u16) -> Vec<OsString> {
        let npm = |path: &str| cache.join("npm/node_modules").join(path).into_os_string();
        let port = port.to_string();
        let mut words: Vec<OsString> = match self {
            Self::FrameworkPython => vec![
                cache.join("functions-framework/bin/functions-framework").into(),
                "--target=handler".into(),
                "--source=main.py".into(),
                "--host=127.0.0.1".into(),
            ],
            Self::FrameworkNode | Self::Miniflare => vec![node.into(), "serve.cjs".into()],
            Self::OfflinePython | Self::OfflineNode => vec![
                node.into(),
                npm("serverless/bin/serverless.js"),
                "offline".into(),
                "--host=127.0.0.1".into(),
                "--noPrependStageInUrl".into(),
                "--lambdaPort=0".into(),
            ],
            Self::Workerd => vec![
                npm("@cloudflare/workerd-linux-64/bin/workerd"),
                "serve".into(),
                "config.capnp".into(),
            ],
        };
        words.push(match self {
            Self::FrameworkPython => format!("--port={port}").into(),
            Self::FrameworkNode | Self::Miniflare => port.into(),
            Self::OfflinePython | Self::OfflineNode => format!("--httpPort={port}").into(),
            Self::Workerd => format!("--socket-addr=http=127.0.0.1:{port}").into(),
        });
        words
    }

    /// Starts it on these processors and waits for its first right answer.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub async fn start(self, checkout: &Path, cores: &[usize], body: &'static [u8]) -> Result<Running> {
        let cache = checkout.join(".cache/bench").canonicalize();
        let cache = cache.context("function servers are not there: run `cargo xtask setup --bench`")?;
        let node = checkout.join(".cache/node/22/bin/node").canonicalize()?;
        let folder = tempfile::tempdir()?;
        for (name, text) in self.files() {
            fs::write(folder.path().join(name), text)?;
        }
        let port = free_port()?;
        let words = self.words(&cache, &node, port);
        let log = folder.path().join("log");
        let output = fs::File::create(&log)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder.path());
        command
            .env("NODE_PATH", cache.join("npm/node_modules"))
            .env("NODE_ENV", "production")
            .env("SLS_TELEMETRY_DISABLED", "1")
            .env("SLS_NOTIFICATIONS_MODE", "off")
            .env("HOME", folder.path())
            .env("PATH", path_with(&node))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let child = {
            let _pinned = Pinned::to(cores)?;
            command
                .spawn()
                .with_context(|| format!("cannot start {}", self.name()))?
        };
        let target = Target::at(port, "/", body);
        let mut running = Running {
            child,
            target,
            log,
            _folder: folder,
        };
        running.wait(body).await.with_context(|| self.name())?;
        Ok(running)
    }
}

/// A server that runs; it ends, with all its processes, when this goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it is.
    pub target: Target,
    log: PathBuf,
    _folder: TempDir,
}

impl Running {
    async fn wait(&mut self, body: &[u8]) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let last = match self.ask().await {
                Ok(answer) if answer == body => return Ok(()),
                Ok(answer) => bail!("it is no echo: {:?}", String::from_utf8_lossy(&answer)),
                Err(error) => error,
            };
            let gone = self.child.try_wait()?;
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            ensure!(gone.is_none(), "it has ended: {}", log());
            ensure!(Instant::now() < end, "no answer in {PATIENCE:?} ({last:#}): {}", log());
            sleep(LOOK).await;
        }
    }

    async fn ask(&self) -> Result<bytes::Bytes> {
        let mut connection = Connection::open(&self.target.address).await?;
        Ok(connection.call(&self.target).await?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(root) = self.child.id() else { return };
        for id in process::family(root) {
            // A process of the list that has ended since is nobody to end.
            if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }
}

/// A port that was free a moment ago, for servers that cannot be told to choose one.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `PATH` with the folder of our Node.js in front: servers start further processes by name.
fn path_with(node: &Path) -> OsString {
    let mut path = node.parent().map(OsString::from).unwrap_or_default();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// The framework's own server, on the loopback address: its command line listens on all of them.
const FRAMEWORK: &str = "\
const functions = require('@google-cloud/functions-framework');
const { getTestServer } = require('@google-cloud/functions-framework/testing');
functions.http('handler', (request, response) => response.send(request.rawBody));
getTestServer('handler').listen(Number(process.argv[2]), '127.0.0.1');
";

const OFFLINE_NODE: &str = "\
service: bench
frameworkVersion: '3'
plugins: [serverless-offline]
provider: { name: aws, runtime: nodejs20.x }
functions: { echo: { handler: app.handler, events: [{ httpApi: { path: /, method: post } }] } }
";
const OFFLINE_NODE_HANDLER: &str =
    "export const handler = async (event) => ({ statusCode: 200, body: event.body ?? '' });\n";
const OFFLINE_PYTHON: &str = "\
service: bench
frameworkVersion: '3'
plugins: [serverless-offline]
provider: { name: aws, runtime: python3.11 }
functions: { echo: { handler: app.handler, events: [{ httpApi: { path: /, method: post } }] } }
";
const OFFLINE_PYTHON_HANDLER: &str =
    "def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body', '')}\n";

const WORKER: &str = "export default { async fetch(request) { return new Response(await request.arrayBuffer()); } };\n";

const MINIFLARE: &str = "\
const fs = require('node:fs');
const { Miniflare } = require('miniflare');
const worker = new Miniflare({
  modules: true, script: fs.readFileSync('worker.mjs', 'utf8'), compatibilityDate: '2026-01-01',
  host: '127.0.0.1', port: Number(process.argv[2]),
});
worker.ready.catch((error) => { console.error(error); process.exit(1); });
";

const WORKERD: &str = "\
using Workerd = import \"/workerd/workerd.capnp\";
const config :Workerd.Config = (
  services = [(name = \"main\", worker = .echo)],
  sockets = [(name = \"http\", address = \"127.0.0.1:0\", http = (), service = \"main\")]
);
const echo :Workerd.Worker = (
  modules = [(name = \"worker\", esModule = embed \"worker.mjs\")],
  compatibilityDate = \"2026-01-01\"
);
";
