//! Putting the parts together.

use std::net::SocketAddr;
use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_ports::{Archive, Clock, Entropy, MetadataStore, Record, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, AuthMode};
use crate::alarms::Alarms;
use crate::api::Api;
use crate::estate::Estate;
use crate::front::Front;
use crate::invoke::{Deliveries, Invoker, Runner};
use crate::limits::WhiskLimits;
use crate::runtime::WhiskContract;
use crate::throttle::Throttle;

/// Settings of this provider.
#[derive(Debug, Clone)]
pub struct WhiskOptions {
    /// The address that the platform listens on: part of web actions' URLs.
    pub address: SocketAddr,
    /// Whether requests need keys.
    pub mode: AuthMode,
    /// What is allowed.
    pub limits: WhiskLimits,
}

/// What this provider stands on.
#[derive(Debug)]
pub struct WhiskDeps<'a> {
    /// The functions.
    pub catalog: Arc<Catalog>,
    /// The engine.
    pub runner: Arc<dyn Runner>,
    /// The store's records, as loaded at start.
    pub records: &'a [Record],
    /// The store.
    pub store: Arc<dyn MetadataStore>,
    /// Where activations are kept.
    pub archive: Arc<dyn Archive>,
    /// How actions are run.
    pub contract: Arc<WhiskContract>,
    /// What the queue hands its events to.
    pub deliveries: Arc<Deliveries>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where tasks run that the platform waits for when it stops.
    pub tasks: TaskTracker,
    /// Ends what has no end of its own.
    pub stop: CancellationToken,
    /// Settings.
    pub options: WhiskOptions,
}

/// OpenWhisk on a platform.
#[derive(Debug)]
pub struct Whisk {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) estate: Arc<Estate>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) limits: Arc<WhiskLimits>,
    pub(crate) address: SocketAddr,
    pub(crate) api: Arc<Api>,
    front: Arc<Front>,
}

impl Whisk {
    /// Puts everything together; makes the namespace `guest` at the first start.
    ///
    /// # Errors
    /// [`StoreError`]: a record cannot be read, or the first namespace cannot be stored.
    pub async fn new(deps: WhiskDeps<'_>) -> Result<Self, StoreError> {
        let options = deps.options;
        let limits = Arc::new(options.limits);
        let accounts = Accounts::load(deps.records, Arc::clone(&deps.store), deps.entropy, options.mode).await?;
        let accounts = Arc::new(accounts);
        let estate = Arc::new(Estate::load(
            deps.records,
            deps.catalog,
            &deps.store,
            Arc::clone(&deps.clock),
        )?);
        let alarms = Arc::new(Alarms::load(deps.records, &deps.store, deps.clock)?);
        let invoker = Arc::new(Invoker {
            estate: Arc::clone(&estate),
            runner: deps.runner,
            contract: Arc::clone(&deps.contract),
            archive: Arc::clone(&deps.archive),
            limits: Arc::clone(&limits),
            throttle: Throttle::default(),
            tasks: deps.tasks.clone(),
        });
        deps.deliveries.attach(Arc::clone(&invoker), Arc::clone(&accounts));
        let firing = Arc::clone(&alarms).run(Arc::clone(&invoker), Arc::clone(&accounts), deps.stop);
        deps.tasks.spawn(firing);
        let api = Arc::new(Api {
            accounts: Arc::clone(&accounts),
            estate: Arc::clone(&estate),
            invoker: Arc::clone(&invoker),
            archive: deps.archive,
            limits: Arc::clone(&limits),
            alarms,
        });
        let front = Arc::new(Front::new(Arc::clone(&api)));
        deps.contract.attach(Arc::clone(&front) as _);
        Ok(Self {
            accounts,
            estate,
            invoker,
            limits,
            address: options.address,
            api,
            front,
        })
    }

    /// Where requests come in.
    #[must_use]
    pub const fn front(&self) -> &Arc<Front> {
        &self.front
    }
}
