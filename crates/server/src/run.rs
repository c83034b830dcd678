//! From options to a running platform and back to nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonagi_crash::crash_point;
use sonagi_sandbox_linux::{LinuxSandbox, Spawner};
use sonagi_store::StateDir;
use sonagi_wire::{HttpLimits, accept_loop};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assemble::{Platform, Told, assemble};
use crate::egress::{self, Way};
use crate::front::Connection;
use crate::{Options, OptionsError};

/// The platform could not start, or ended because something it cannot live without failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error("setting {0}")]
    Options(#[from] OptionsError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] sonagi_store::StateDirError),
    /// The stores cannot be opened.
    #[error("the stores in {path} cannot be opened")]
    Stores {
        /// The state directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sandbox cannot be started on this host.
    #[error("sandboxes cannot be made on this host; hint: run `sonagi doctor`")]
    Sandbox(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Functions cannot reach the outside in the way that was asked for.
    #[error("no egress {egress} on this host: {reason}; hint: `sonagi up --egress auto` takes the best there is")]
    Egress {
        /// The way.
        egress: &'static str,
        /// Why not.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; hint: another program may have it, choose one with --listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The runtime could not be made.
    #[error("the asynchronous runtime could not be started")]
    Runtime(#[source] std::io::Error),
    /// The process that makes sandboxes ended by itself.
    #[error("the spawner process ended; instances are gone")]
    SpawnerGone,
}

/// Runs the platform until it is told to stop (SIGTERM, SIGINT). The first signal stops gracefully, a second one at once.
/// Must be called while the process has one thread.
///
/// # Errors
/// [`Error`].
pub fn run(options: &Options, settings: Vec<sonagi_api::Setting>) -> Result<(), Error> {
    run_with(options, settings, |_endpoint| std::future::pending())
}

/// As [`run`], with a companion that is started once the platform is up, knows its address, and stops it by ending. When the
/// platform stops for another reason the companion is dropped.
///
/// # Errors
/// [`Error`].
pub fn run_with<F: Future<Output = ()>>(
    options: &Options,
    settings: Vec<sonagi_api::Setting>,
    companion: impl FnOnce(String) -> F,
) -> Result<(), Error> {
    options.check()?;
    let state = StateDir::open(&options.data)?;
    let spawner = sonagi_sandbox_linux::launch(&sandbox_options(options, &state));
    let spawner = spawner.map_err(|error| Error::Sandbox(error.into()))?;
    if spawner.swept > 0 {
        tracing::warn!(cells = spawner.swept, "removed what an earlier process had left behind");
    }
    take_turns();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(workers())
        .thread_name("sonagi")
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(serve(options, settings, (state, spawner), companion));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Threads that serve: half of the cores. The others are for functions, and a request's steps, which are many and short,
/// wake each other on one core instead of across two (measured on two cores: a third more calls a second at one connection,
/// the same at sixteen).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// An answer that arrives must not stop the function that is just about to wait for its next event: the server is woken once
/// for several answers, and a busy host switches less. Measured with sixteen functions on two cores: 8 % more calls a second,
/// the slowest hundredth three times as fast. The spawner, and with it functions, are started before and are as they were.
fn take_turns() {
    if let Err(error) = sonagi_sandbox_linux::wait_for_turns() {
        tracing::debug!(%error, "the scheduler's policy stays as it is");
    }
}

async fn serve<F: Future<Output = ()>>(
    options: &Options,
    settings: Vec<sonagi_api::Setting>,
    (state, spawner): (StateDir, Spawner),
    companion: impl FnOnce(String) -> F,
) -> Result<(), Error> {
    // Signals are caught before anything is up, so that one that comes early stops gracefully too.
    let mut stop = StopSignals::new().map_err(Error::Runtime)?;
    let groups = spawner.groups.clone();
    let way = way_of(options, &spawner)?;
    let sandbox = LinuxSandbox::attach(spawner).map_err(|error| Error::Sandbox(error.into()))?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| Error::Listen {
            address: options.listen,
            source,
        })?;
    let address = listener.local_addr().map_err(|source| Error::Listen {
        address: options.listen,
        source,
    })?;
    let platform = assemble(
        options,
        Told {
            settings,
            groups,
            address,
            way: way.clone(),
        },
        &state,
        Arc::clone(&sandbox),
    )
    .await?;

    crash_point!("platform/assembled");
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let front = Arc::clone(&platform.front);
    let accepting = tasks.spawn(accept_loop(
        listener,
        HttpLimits::default(),
        tasks.clone(),
        stopping.clone(),
        move |peer, count| Connection {
            front: Arc::clone(&front),
            peer,
            count,
        },
    ));
    let endpoint = format!("http://{address}");
    state.write_private("endpoint", endpoint.as_bytes())?;
    announce(options, &endpoint, &platform, &way);

    let result = tokio::select! {
        () = stop.next() => Ok(()),
        () = sandbox.spawner_exited() => Err(Error::SpawnerGone),
        () = companion(endpoint) => Ok(()),
    };
    tracing::info!(
        limit_s = options.drain.as_secs(),
        "stopping: invocations under way finish; a second signal stops at once"
    );
    stopping.cancel();
    tasks.close();
    let graceful = async {
        let _ = accepting.await;
        tokio::join!(tasks.wait(), platform.drain(options.drain));
    };
    tokio::select! {
        () = graceful => tracing::info!("stopped"),
        () = stop.next() => tracing::warn!("stopped at once"),
        () = tokio::time::sleep(options.drain) => tracing::warn!("stopped after the drain limit"),
    }
    platform.shut_down().await;
    result
}

fn way_of(options: &Options, spawner: &Spawner) -> Result<Way, Error> {
    egress::choose(options.egress, spawner.nat.clone()).map_err(|reason| Error::Egress {
        egress: options.egress.name(),
        reason,
    })
}

fn sandbox_options(options: &Options, state: &StateDir) -> sonagi_sandbox_linux::Options {
    sonagi_sandbox_linux::Options {
        uids: options.uid_base..options.uid_base.saturating_add(1_000_000_000),
        uid_count: options.uid_count,
        // Demand may raise what is kept ready.
        ready_cells_max: options.cells.saturating_mul(4),
        proc_view: options.proc,
        nat: egress::wanted(options.egress),
        ..sonagi_sandbox_linux::Options::new(state.path())
    }
}

/// Tells the person at the terminal where everything is. Nothing else of the platform writes to standard output.
fn announce(options: &Options, endpoint: &str, platform: &Platform, way: &Way) {
    let egress = way.name();
    tracing::info!(%endpoint, egress, data = %options.data.display(), functions = platform.functions(), "sonagi is up");
    match way {
        Way::Nat(told) => tracing::info!(by = %told.ways, mtu = told.mtu, "functions have addresses of their own"),
        Way::Proxy { instead: Some(reason) } => {
            tracing::warn!(%reason, "functions reach the outside by a proxy only; `sonagi doctor` says how to change that");
        }
        Way::Proxy { instead: None } | Way::Nothing => {}
    }
    if options.insecure_dev {
        tracing::warn!("--insecure-dev: requests are not authenticated");
    }
}

/// SIGTERM and SIGINT, each of which counts.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one more signal.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
