//! Wires ports to adapters: the one place where the parts meet.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sonagi_control::Catalog;
use sonagi_dispatch::{Asynchronous, AsynchronousOptions, DispatchOptions, Dispatcher, Routes};
use sonagi_pool::{Contracts, Pool, PoolOptions};
use sonagi_ports::{Adapter, Clock, Entropy, Interpreters, Language, Sandbox, SystemClock, SystemEntropy};
use sonagi_queues::Queues;
use sonagi_sandbox_linux::LinuxSandbox;
use sonagi_sandbox_linux::interpreter::{HostInterpreters, Search};
use sonagi_store::{KeySource, StateDir, Stores};
use sonagi_triggers::{BUS_DESTINATION, Bindings, Broker, Clockwork};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ahead::Ahead;
use crate::egress::Way;
use crate::front::Front;
use crate::health::Health;
use crate::native::{Access, Events, Limits, NativeState};
use crate::price::price_by;
use crate::providers::{Engine, Ground, PROVIDERS};
use crate::retire::RetireInstances;
use crate::run::Error;
use crate::web::{self, WebDestination};
use crate::{Options, checks, token};

/// The parts that the life of the platform is about.
pub(crate) struct Platform {
    pub(crate) front: Arc<Front>,
    catalog: Arc<Catalog>,
    dispatcher: Dispatcher,
    asynchronous: Asynchronous,
    pool: Pool,
    sandbox: Arc<dyn Sandbox>,
    stores: Stores,
    tasks: TaskTracker,
    /// Ends what has no end of its own: followed logs, cells made ahead.
    stop: CancellationToken,
}

impl Platform {
    pub(crate) fn functions(&self) -> usize {
        self.catalog.len()
    }

    /// Takes no new work; returns when everything under way is over, or at the limit.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        let deadline = Instant::now() + limit;
        self.dispatcher.stop_accepting();
        self.asynchronous.stop().await;
        self.dispatcher.drained(deadline).await;
        self.pool.drain(deadline).await;
    }

    /// Removes every instance and closes the stores.
    pub(crate) async fn shut_down(self) {
        let left = self.sandbox.shut_down().await;
        if left > 0 {
            tracing::error!(left, "instances could not be removed; the next start will");
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.stores.close().await;
    }
}

/// What is known only at start.
pub(crate) struct Told {
    /// The settings and where each comes from, for people.
    pub(crate) settings: Vec<sonagi_api::Setting>,
    /// The control groups in use, for people.
    pub(crate) groups: String,
    /// The address that is listened on.
    pub(crate) address: SocketAddr,
    /// How functions reach the outside.
    pub(crate) way: Way,
}

/// Builds everything from the options and the opened state.
#[expect(
    clippy::too_many_lines,
    reason = "a linear list of parts: splitting it would only pass them all around"
)]
pub(crate) async fn assemble(
    options: &Options,
    told: Told,
    state: &StateDir,
    sandbox: Arc<LinuxSandbox>,
) -> Result<Platform, Error> {
    let Told {
        settings,
        groups,
        address,
        way,
    } = told;
    let sandbox = way.around(sandbox);
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let kept = sonagi_store::Options {
        key: options.key_file.clone().map_or(KeySource::StateDir, KeySource::File),
        ..sonagi_store::Options::default()
    };
    let stores = sonagi_store::open(state, kept).map_err(|error| broken(state, error))?;
    let records = stores.metadata.load().await.map_err(|error| broken(state, error))?;
    let orphans = stores.remove_orphans(&records).await;
    let (archives, bytes) = orphans.map_err(|error| broken(state, error))?;
    if archives > 0 {
        tracing::info!(archives, bytes, "removed archives of code that no function has");
    }
    let tasks = TaskTracker::new();
    let ahead = Arc::new(Ahead::default());
    let retire = Arc::new(RetireInstances {
        ahead: Arc::clone(&ahead),
        dispatcher: OnceLock::new(),
        logs: Arc::clone(&stores.logs),
        tasks: tasks.clone(),
    });
    let catalog = Catalog::load(
        records.clone(),
        Arc::clone(&stores.metadata),
        Arc::clone(&stores.artifacts),
        Arc::clone(&clock),
        Arc::clone(&retire) as _,
    );
    let catalog = Arc::new(catalog.map_err(|error| broken(state, error))?);
    let interpreters = open_interpreters(options, state).await?;
    make_interpreters_ready(&interpreters, &tasks);
    let broker = Arc::new(Broker::new());
    let clockwork = Clockwork::new(&records, Arc::clone(&stores.metadata), Arc::clone(&clock));
    let clockwork = Arc::new(clockwork);
    let bindings = Bindings::open(
        &records,
        Arc::clone(&stores.metadata),
        Arc::clone(&clockwork),
        &broker,
        Arc::clone(&clock),
    );
    let bindings = bindings.map_err(|error| broken(state, error))?;
    let stop = CancellationToken::new();
    let queues = Queues::open(
        Arc::clone(&stores.messages),
        Arc::clone(&clock),
        tasks.clone(),
        stop.clone(),
    );
    let queues = queues.await.map_err(|error| broken(state, error))?;
    let ground = Ground {
        broker: Arc::clone(&broker),
        clockwork: Arc::clone(&clockwork),
        options: options.clone(),
        address,
        folder: state.path().to_owned(),
        records: records.into(),
        catalog: Arc::clone(&catalog),
        queues,
        archive: Arc::clone(&stores.archive),
        store: Arc::clone(&stores.metadata),
        interpreters: Arc::clone(&interpreters) as _,
        base_system: interpreters.base_system().to_vec(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    };
    let mut registered = Vec::with_capacity(PROVIDERS.len());
    for register in PROVIDERS {
        registered.push(register(&ground).map_err(|error| broken(state, error))?);
    }
    let contracts = registered
        .iter()
        .flat_map(|provider| provider.contracts.iter().cloned());
    let contracts: Contracts = contracts.collect();
    let preparing = Arc::clone(&ahead).run(contracts.clone(), Arc::clone(&sandbox), options.cells);
    tasks.spawn(stop.clone().run_until_cancelled_owned(preparing));
    let pool = Pool::new(
        pool_options(options),
        Arc::clone(&sandbox),
        contracts.clone(),
        Arc::clone(&stores.artifacts),
        Arc::clone(&stores.logs),
        Arc::clone(&clock),
    );
    let dispatcher = Dispatcher::new(
        DispatchOptions::default(),
        pool.clone(),
        contracts,
        Arc::clone(&stores.runs),
        Arc::clone(&stores.logs),
        Arc::clone(&clock),
    );
    let _ = retire.dispatcher.set(dispatcher.clone());
    let mut routes = Routes::new()
        .destination(web::ADAPTER, Arc::new(WebDestination::new()))
        .destination(BUS_DESTINATION, Arc::clone(&broker) as _);
    for provider in &registered {
        for (contract, targets) in &provider.targets {
            routes = routes.functions(contract, Arc::clone(targets));
        }
        for (adapter, destination) in &provider.destinations {
            routes = routes.destination(adapter, Arc::clone(destination));
        }
    }
    let asynchronous = Asynchronous::start(
        AsynchronousOptions::default(),
        Arc::clone(&stores.events),
        Arc::clone(&stores.runs),
        routes,
        dispatcher.clone(),
        clock.as_ref(),
    );
    let asynchronous = asynchronous.await.map_err(|error| broken(state, error))?;
    let engine = Engine {
        dispatcher: dispatcher.clone(),
        asynchronous: asynchronous.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    let mut providers = Vec::with_capacity(registered.len());
    for provider in registered {
        let opened = (provider.open)(engine.clone()).await;
        providers.push(opened.map_err(|error| broken(state, error))?);
    }
    let adapters: Vec<Arc<dyn Adapter>> = providers.iter().map(|provider| Arc::clone(&provider.adapter)).collect();
    bindings.attach(adapters.clone());
    // Everybody has said what is to tick, and which events are wanted.
    broker.attach(Arc::new(asynchronous.clone()));
    tasks.spawn(clockwork.run(stop.clone()));

    let bearer = bearer_token(state, entropy.as_ref())?;
    let native = NativeState {
        adapters,
        bindings,
        broker,
        catalog: Arc::clone(&catalog),
        runs: Arc::clone(&stores.runs),
        backup: Arc::new(stores.backup()),
        events: Events {
            queue: Arc::clone(&stores.events),
            desk: Arc::new(asynchronous.clone()),
        },
        logs: Arc::clone(&stores.logs),
        clock,
        interpreters: Arc::clone(&interpreters) as _,
        access: if options.insecure_dev {
            Access::Open
        } else {
            Access::Token(token::digest(&bearer))
        },
        endpoint: format!("http://{address}"),
        settings,
        checks: checks::of_host(
            Arc::clone(&interpreters) as Arc<dyn Interpreters>,
            groups,
            way,
            checks::secrets(stores.key(), options.key_file.as_deref()),
        ),
        price: price_by(&providers),
        limits: Limits::default(),
        stop: stop.clone(),
    };
    let empty = state.path().join("canary");
    std::fs::create_dir_all(&empty).map_err(|error| broken(state, error))?;
    let health = Health {
        sandbox: Arc::clone(&sandbox),
        pool: pool.clone(),
        canary_mounts: interpreters.base_system().to_vec(),
        canary_code: empty,
        token: token::digest(&bearer),
        last_good: tokio::sync::Mutex::default(),
    };
    let front = Front {
        surfaces: providers.into_iter().map(|provider| provider.surface).collect(),
        native: crate::native::router(native),
        health: Arc::new(health),
    };
    Ok(Platform {
        front: Arc::new(front),
        catalog,
        dispatcher,
        asynchronous,
        pool,
        sandbox,
        stores,
        tasks,
        stop,
    })
}

fn broken(state: &StateDir, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Stores {
        path: state.path().to_owned(),
        source: source.into(),
    }
}

async fn open_interpreters(options: &Options, state: &StateDir) -> Result<Arc<HostInterpreters>, Error> {
    let folder = state.path().join("runtimes");
    let search = Search::of_environment(options.interpreters.clone());
    let opened = tokio::task::spawn_blocking(move || HostInterpreters::open(&folder, &search)).await;
    let opened = opened.map_err(|error| broken(state, error))?;
    Ok(Arc::new(opened.map_err(|error| broken(state, error))?))
}

/// Makes the best interpreter of each language ready in the background, so that the first deployment does not wait for
/// copies of files. Kept in the state directory: a later start finds them.
fn make_interpreters_ready(interpreters: &Arc<HostInterpreters>, tasks: &TaskTracker) {
    let interpreters = Arc::clone(interpreters);
    tasks.spawn_blocking(move || {
        for language in [Language::Python, Language::Node] {
            let best = interpreters.all().into_iter().find(|found| found.language == language);
            best.and_then(|best| interpreters.find(language, &best.version));
        }
    });
}

fn pool_options(options: &Options) -> PoolOptions {
    let defaults = PoolOptions::default();
    PoolOptions {
        freeze_after: options.freeze_after,
        keep_alive: options.keep_alive,
        node_memory: options.node_memory.unwrap_or(defaults.node_memory),
        ..defaults
    }
}

/// The token of the native API, made at the first start.
fn bearer_token(state: &StateDir, entropy: &dyn Entropy) -> Result<String, Error> {
    if let Some(kept) = state.read_private("token")?
        && let Ok(kept) = String::from_utf8(kept)
        && !kept.trim().is_empty()
    {
        return Ok(kept.trim().to_owned());
    }
    let token = token::generate(entropy);
    state.write_private("token", token.as_bytes())?;
    Ok(token)
}
