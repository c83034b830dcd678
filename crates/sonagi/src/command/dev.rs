//! `sonagi dev`: a project that is live while it is being written. Watches its files, deploys every save, shows what the
//! function prints and where each call's time goes; on a platform of its own that leaves nothing, or on one that runs.

mod ignore;
mod say;
mod watch;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use sonagi_api::{Client, Deployed, Interpreter, LogFilter, LogSource, RunFilter, Scope};
use sonagi_server::Options;
use tokio::sync::watch as latest;
use tokio::time::Instant;

use self::say::{Event, say};
use self::watch::Tree;
use super::deploy::{Wanted, shell};
use super::{invoke, up};
use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result, chain};
use crate::output;

/// Calls that are remembered as shown; far more than can end between two lines of a log.
const SHOWN: usize = 1024;

/// Keep a project live while it is written: every save is deployed, its output and its calls are shown
///
/// Starts a platform of its own on a temporary directory, which Ctrl-C removes with everything in it; with --server, or
/// with --data of a platform that runs, that one is used instead. A save that cannot be deployed is explained, and what was
/// live before stays. What `.gitignore` names is not watched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi dev                                   the current folder
  sonagi dev app --invoke-on-save '{\"n\":1}'    call it after every save
  sonagi dev hello.py --invoke-on-save @event.json
  sonagi dev app --server http://127.0.0.1:4747
  sonagi dev app --output json                 one JSON document a line")]
pub struct Dev {
    #[command(flatten)]
    deploy: Wanted,

    /// Call the function with this event after every save: text, or @FILE
    #[arg(long, value_name = "EVENT")]
    invoke_on_save: Option<String>,

    /// Address of the platform that is started
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,

    /// What of the platform's own log is shown, as in `RUST_LOG`
    #[arg(
        long,
        env = "SONAGI_LOG",
        value_name = "FILTER",
        default_value = "warn",
        hide_env_values = true
    )]
    log: String,
}

impl Dev {
    /// Runs until it is interrupted. Must be called while the process has one thread.
    pub fn run(self, global: &Global) -> Result {
        // What is no project is said before anything is started.
        self.deploy.read()?;
        if let Some(client) = global.running()? {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| {
                Failure::caused(Exit::Failure, "the asynchronous runtime cannot be started", &error)
            })?;
            return runtime.block_on(self.attached(global, client));
        }
        self.alone(global)
    }

    /// On a platform that runs already; it keeps the function.
    async fn attached(&self, global: &Global, client: Client) -> Result {
        let session = Session::new(self, global, client, None);
        tokio::select! {
            result = session.run() => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }

    /// On a platform of its own, in this process.
    fn alone(&self, global: &Global) -> Result {
        up::start_log(up::LogFormat::Text, &self.log)?;
        let given = global.given_data();
        let temporary = match given {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("sonagi-dev-")
                    .tempdir()
                    .map_err(|error| Failure::caused(Exit::Failure, "no temporary directory can be made", &error))?,
            ),
        };
        let data = given.map_or_else(
            || {
                temporary
                    .as_ref()
                    .map_or_else(PathBuf::new, |folder| folder.path().to_owned())
            },
            Path::to_owned,
        );
        let options = Options {
            listen: self.listen,
            // Whoever stops it does not wait for calls that hang.
            drain: std::time::Duration::from_secs(2),
            ..Options::new(data.clone())
        };
        let ended = RefCell::new(Ok(()));
        let companion = async |endpoint: String| {
            let result = match global.client_of(&endpoint, &data) {
                Ok(client) => Session::new(self, global, client, Some(&data)).run().await,
                Err(failure) => Err(failure),
            };
            *ended.borrow_mut() = result;
        };
        let ran = sonagi_server::run_with(&options, Vec::new(), companion);
        let removed = temporary.map_or(Ok(()), tempfile::TempDir::close);
        ran.map_err(|error| up::with_hint(&chain(&error)))?;
        removed.map_err(|error| Failure::caused(Exit::Failure, "the temporary directory cannot be removed", &error))?;
        ended.into_inner()
    }
}

/// One project on one platform.
struct Session<'a> {
    dev: &'a Dev,
    global: &'a Global,
    client: Client,
    /// The platform's state directory, if it is this command's own.
    own: Option<&'a Path>,
    scope: Scope,
    format: Format,
}

/// What became of a save.
enum Saved {
    Live,
    Same,
}

impl<'a> Session<'a> {
    fn new(dev: &'a Dev, global: &'a Global, client: Client, own: Option<&'a Path>) -> Self {
        Self {
            dev,
            global,
            client,
            own,
            scope: global.scope(),
            format: global.format(),
        }
    }

    async fn run(&self) -> Result {
        let event = Event::Up {
            endpoint: self.client.endpoint(),
            data: self.own.map(|data| data.display().to_string()),
        };
        say(self.format, &event)?;
        let (name, live) = latest::channel(None);
        tokio::select! {
            result = self.deploy_saves(&name) => result,
            result = self.show_output(live) => result,
        }
    }

    /// Deploys what is there, and then every save.
    async fn deploy_saves(&self, name: &latest::Sender<Option<String>>) -> Result {
        let failed = |error| Failure::new(Exit::Build, chain(&error));
        let mut tree = Tree::new(self.dev.deploy.path()).map_err(failed)?;
        let interpreters = self.client.status().await?.interpreters;
        let mut sent = Vec::new();
        loop {
            let begun = Instant::now();
            match self.deploy(&interpreters, &mut sent, begun, name).await {
                Ok(Saved::Live) => self.call(name).await?,
                Ok(Saved::Same) => say(self.format, &Event::Same)?,
                Err(failure) if is_fatal(&failure) => return Err(failure),
                Err(failure) => {
                    // The next save is tried even if it is what was sent last.
                    let (message, hint) = (&*failure.message, failure.hint.as_deref());
                    say(self.format, &Event::Broken { message, hint })?;
                }
            }
            if name.borrow().is_none() && sent.is_empty() && self.format == Format::Text {
                output::note("waiting for a save that can be deployed");
            }
            tree.changed().await.map_err(failed)?;
        }
    }

    /// Deploys the project as it is now, unless that is what was sent last.
    async fn deploy(
        &self,
        interpreters: &[Interpreter],
        sent: &mut Vec<u8>,
        begun: Instant,
        name: &latest::Sender<Option<String>>,
    ) -> Result<Saved> {
        let deploy = &self.dev.deploy;
        let reading = deploy.read()?;
        let runtime = reading.project.runtime_name(interpreters)?;
        let handler = reading.project.handler.clone();
        let cache = deploy.cache(|| match self.own {
            Some(data) => Ok(data.join("build-cache")),
            None => Ok(self.global.data()?.join("build-cache")),
        })?;
        let prepared = deploy
            .prepare(reading, self.global, interpreters, &runtime, cache)
            .await?;
        let fingerprint = prepared.fingerprint()?;
        if *sent == fingerprint {
            return Ok(Saved::Same);
        }
        let deployed = self.client.deploy(&prepared.request, prepared.archive.into()).await?;
        *sent = fingerprint;
        let event = Event::Live {
            deployed: &deployed,
            runtime: &runtime,
            handler: &handler,
            took_ms: begun.elapsed().as_secs_f64() * 1000.0,
        };
        say(self.format, &event)?;
        let first = name.borrow().as_deref() != Some(&*deployed.name);
        if first {
            self.say_next(&deployed);
            name.send_replace(Some(deployed.name.clone()));
        }
        Ok(Saved::Live)
    }

    /// How to reach the function from another terminal.
    fn say_next(&self, deployed: &Deployed) {
        if self.format != Format::Text {
            return;
        }
        if let Some(url) = &deployed.url {
            output::note(&format!("url       {url}"));
            output::next(&format!("curl {}", shell(url)));
        }
        let place = self
            .own
            .map(|data| format!(" --data {}", shell(&data.display().to_string())));
        output::next(&format!(
            "sonagi invoke {} '{{}}'{}",
            shell(&deployed.name),
            place.unwrap_or_default()
        ));
    }

    /// Calls the function if every save is to be called.
    async fn call(&self, name: &latest::Sender<Option<String>>) -> Result {
        let (Some(event), Some(function)) = (&self.dev.invoke_on_save, name.borrow().clone()) else {
            return Ok(());
        };
        let answered = match invoke::event(&function, event) {
            Ok(event) => {
                let call = self.client.invoke(&self.scope, &function, None, event).await;
                call.map_err(Failure::from)
            }
            Err(failure) => Err(failure),
        };
        match answered {
            Ok(invoked) => {
                let text = || Value::String(String::from_utf8_lossy(&invoked.body).into_owned());
                let event = Event::Answer {
                    failed: invoked.failed,
                    answer: serde_json::from_slice(&invoked.body).unwrap_or_else(|_| text()),
                };
                say(self.format, &event)
            }
            Err(failure) if is_fatal(&failure) => Err(failure),
            Err(failure) => {
                let (message, hint) = (&*failure.message, failure.hint.as_deref());
                say(self.format, &Event::Broken { message, hint })
            }
        }
    }

    /// Shows what the function prints and what became of its calls, whatever its name is.
    async fn show_output(&self, mut name: latest::Receiver<Option<String>>) -> Result {
        loop {
            let function = name.borrow_and_update().clone();
            let Some(function) = function else {
                // The sender lives as long as the other half of the session.
                if name.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            tokio::select! {
                result = self.follow(&function) => result?,
                _ = name.changed() => {}
            }
        }
    }

    async fn follow(&self, function: &str) -> Result {
        let filter = LogFilter {
            // A platform of its own has no earlier lines; what was printed before this was asked for is shown too.
            limit: Some(if self.own.is_some() { 1000 } else { 0 }),
            follow: true,
            ..LogFilter::default()
        };
        let mut lines = self.client.logs(&self.scope, function, &filter).await?;
        let mut shown = VecDeque::new();
        while let Some(line) = lines.next().await? {
            say(self.format, &Event::Log(&line))?;
            // The platform writes its last line about a call when the call's record is there.
            if line.source == LogSource::Platform {
                self.show_calls(function, &mut shown).await?;
            }
        }
        // The platform stops.
        std::future::pending().await
    }

    async fn show_calls(&self, function: &str, shown: &mut VecDeque<(String, u32)>) -> Result {
        let filter = RunFilter {
            function: Some(function.to_owned()),
            limit: Some(50),
            ..RunFilter::default()
        };
        let runs = self.client.runs(&self.scope, &filter).await?;
        for run in runs.runs.iter().rev() {
            let key = (run.invocation.clone(), run.attempt);
            if shown.contains(&key) {
                continue;
            }
            if shown.len() == SHOWN {
                shown.pop_front();
            }
            shown.push_back(key);
            say(self.format, &Event::Call(run))?;
        }
        Ok(())
    }
}

/// Whether there is no use in waiting for the next save.
fn is_fatal(failure: &Failure) -> bool {
    // Nobody reads, or the platform is gone.
    failure.message.is_empty() || failure.exit == Exit::Unreachable
}
