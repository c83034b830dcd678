//! Putting the parts together.

use std::net::SocketAddr;
use std::sync::Arc;

use sonagi_control::Catalog;
use sonagi_model::Mebibytes;
use sonagi_ports::{Clock, Entropy, MetadataStore, Record, StoreError};

use crate::accounts::{Accounts, AuthMode};
use crate::api::Api;
use crate::estate::Estate;
use crate::front::Front;
use crate::invoke::{Invoker, Runner};
use crate::limits::FnLimits;
use crate::runtime::FnContract;
use crate::source::Sources;

/// Settings of this provider.
#[derive(Debug, Clone)]
pub struct FnOptions {
    /// The address that the platform listens on.
    pub address: SocketAddr,
    /// Whether requests need tokens.
    pub mode: AuthMode,
    /// What is allowed.
    pub limits: FnLimits,
    /// Memory for all instances of the node together.
    pub node_memory: Mebibytes,
}

/// What this provider stands on.
#[derive(Debug)]
pub struct FnDeps<'a> {
    /// The functions.
    pub catalog: Arc<Catalog>,
    /// The engine.
    pub runner: Arc<dyn Runner>,
    /// The store's records, as loaded at start.
    pub records: &'a [Record],
    /// The store.
    pub store: Arc<dyn MetadataStore>,
    /// How functions are run.
    pub contract: Arc<FnContract>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Settings.
    pub options: FnOptions,
}

/// Fn on a platform.
#[derive(Debug)]
pub struct FnProject {
    pub(crate) api: Arc<Api>,
    pub(crate) invoker: Arc<Invoker>,
    front: Arc<Front>,
}

impl FnProject {
    /// Puts everything together; makes the account `default` at the first start.
    ///
    /// # Errors
    /// [`StoreError`]: a record cannot be read, or the first account cannot be stored.
    pub async fn new(deps: FnDeps<'_>) -> Result<Self, StoreError> {
        let options = deps.options;
        let limits = Arc::new(options.limits);
        let accounts = Accounts::load(deps.records, Arc::clone(&deps.store), deps.entropy, options.mode).await?;
        let sources = Sources::load(
            deps.records,
            Arc::clone(&deps.store),
            Arc::clone(&deps.catalog),
            deps.contract,
            Arc::clone(&deps.clock),
            Arc::clone(&limits),
        )?;
        let estate = Estate::load(deps.records, deps.catalog, &deps.store, deps.clock).await?;
        let api = Arc::new(Api {
            accounts: Arc::new(accounts),
            estate: Arc::new(estate),
            sources: Arc::new(sources),
            limits,
            address: options.address,
        });
        let invoker = Arc::new(Invoker {
            api: Arc::clone(&api),
            runner: deps.runner,
            node_memory: options.node_memory,
        });
        let front = Arc::new(Front::new(Arc::clone(&api), Arc::clone(&invoker)));
        Ok(Self { api, invoker, front })
    }

    /// Where requests come in.
    #[must_use]
    pub const fn front(&self) -> &Arc<Front> {
        &self.front
    }
}
