//! Wires ports to adapters: the one place where the parts meet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sonagi_aws::{Aws, AwsContract, AwsDeps, CONTRACT, Engine, LambdaTargets, TemporaryCredentials};
use sonagi_control::Catalog;
use sonagi_dispatch::{Asynchronous, AsynchronousOptions, DispatchOptions, Dispatcher, RetryPolicy, Targets};
use sonagi_pool::{Contracts, Pool, PoolOptions};
use sonagi_ports::{
    Adapter, Clock, Contract, Entropy, Interpreters, Language, Sandbox, SystemClock, SystemEntropy, UsageRow,
};
use sonagi_sandbox_linux::LinuxSandbox;
use sonagi_sandbox_linux::interpreter::{HostInterpreters, Search};
use sonagi_store::{StateDir, Stores};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ahead::Ahead;
use crate::front::Front;
use crate::health::Health;
use crate::native::{Access, Limits, NativeState, Priced};
use crate::retire::RetireInstances;
use crate::run::Error;
use crate::{CpuShare, Options, checks, token};

/// The parts that the life of the platform is about.
pub(crate) struct Platform {
    pub(crate) front: Arc<Front>,
    catalog: Arc<Catalog>,
    dispatcher: Dispatcher,
    asynchronous: Asynchronous,
    pool: Pool,
    sandbox: Arc<LinuxSandbox>,
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
    } = told;
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let stores = sonagi_store::open(state, sonagi_store::Options::default()).map_err(|error| broken(state, error))?;
    let records = stores.metadata.load().await.map_err(|error| broken(state, error))?;
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
    let credentials = Arc::new(TemporaryCredentials::new(entropy.as_ref()));
    let contract = Arc::new(
        AwsContract::new(
            Arc::clone(&interpreters) as _,
            interpreters.base_system().to_vec(),
            state.path().join("bootstrap"),
            Arc::clone(&credentials),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            sonagi_aws::RuntimeOptions {
                cap_cpu: options.cpu == CpuShare::Cap,
                ..Default::default()
            },
        )
        .map_err(|error| broken(state, error))?,
    );
    let contracts: Contracts = [Arc::clone(&contract) as Arc<dyn Contract>].into_iter().collect();
    let preparing = Arc::clone(&ahead).run(contracts.clone(), Arc::clone(&sandbox) as _, options.cells);
    let stop = CancellationToken::new();
    tasks.spawn(stop.clone().run_until_cancelled_owned(preparing));
    let pool = Pool::new(
        pool_options(options),
        Arc::clone(&sandbox) as _,
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
    let targets = LambdaTargets::new(Arc::clone(&catalog), Arc::clone(&entropy), options.account_concurrency);
    let targets: Targets = [(CONTRACT.to_owned(), Arc::new(targets) as _)].into_iter().collect();
    let asynchronous = Asynchronous::start(
        asynchronous_options(options),
        Arc::clone(&stores.events),
        Arc::clone(&stores.runs),
        targets,
        dispatcher.clone(),
        Arc::clone(&clock),
    );
    let aws = Aws::new(AwsDeps {
        catalog: Arc::clone(&catalog),
        runner: Arc::new(Engine::new(dispatcher.clone(), asynchronous.clone())),
        records: &records,
        store: Arc::clone(&stores.metadata),
        credentials,
        contract: Arc::clone(&contract) as _,
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        options: aws_options(options, address),
    });
    let aws = Arc::new(aws.await.map_err(|error| broken(state, error))?);
    contract.attach(Arc::clone(aws.front()) as _);

    let bearer = bearer_token(state, entropy.as_ref())?;
    let native = NativeState {
        adapters: vec![Arc::clone(&aws) as Arc<dyn Adapter>],
        catalog: Arc::clone(&catalog),
        runs: Arc::clone(&stores.runs),
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
        checks: checks::of_host(Arc::clone(&interpreters) as Arc<dyn Interpreters>, groups),
        price: Arc::new(price),
        limits: Limits::default(),
        stop: stop.clone(),
    };
    let empty = state.path().join("canary");
    std::fs::create_dir_all(&empty).map_err(|error| broken(state, error))?;
    let health = Health {
        sandbox: Arc::clone(&sandbox) as Arc<dyn Sandbox>,
        pool: pool.clone(),
        canary_mounts: interpreters.base_system().to_vec(),
        canary_code: empty,
        token: token::digest(&bearer),
        last_good: tokio::sync::Mutex::default(),
    };
    let front = Front {
        aws: Arc::clone(aws.front()),
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

fn asynchronous_options(options: &Options) -> AsynchronousOptions {
    let retry = RetryPolicy {
        delays: options.retry_delays.clone(),
        max_age: options.event_max_age,
        ..RetryPolicy::default()
    };
    AsynchronousOptions {
        retry,
        ..Default::default()
    }
}

fn aws_options(options: &Options, address: SocketAddr) -> sonagi_aws::AwsOptions {
    sonagi_aws::AwsOptions {
        address,
        base_domain: options.base_domain.clone(),
        account_concurrency: options.account_concurrency,
        insecure_dev: options.insecure_dev,
        ..Default::default()
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

/// Prices rows at their provider's list price; the provider is the first part of the namespace.
fn price(rows: &[UsageRow]) -> Priced {
    let aws = sonagi_aws::tariff();
    let mut totals: BTreeMap<&str, sonagi_meter::Amount> = BTreeMap::new();
    let amount = |currency: &str, value: sonagi_meter::Amount| sonagi_api::Amount {
        currency: currency.to_owned(),
        value: value.to_string(),
    };
    let priced = rows.iter().map(|row| {
        let tariff = match row.namespace.as_str().split('/').next() {
            Some("aws") => &aws,
            _ => return None,
        };
        let usage = sonagi_meter::Usage {
            attempts: row.attempts,
            billed_ms: row.billed_ms,
            memory: row.memory,
            scratch: row.scratch,
        };
        let total = sonagi_meter::price(&[usage], tariff).first()?.total();
        let sum = totals
            .entry(tariff.currency.as_str())
            .or_insert(sonagi_meter::Amount::ZERO);
        *sum = *sum + total;
        Some(amount(&tariff.currency, total))
    });
    let rows = priced.collect();
    Priced {
        rows,
        totals: totals
            .into_iter()
            .map(|(currency, value)| amount(currency, value))
            .collect(),
    }
}
