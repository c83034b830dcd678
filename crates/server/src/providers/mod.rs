//! The providers of this platform: one list, one registration each. Nothing else here names a provider.
//!
//! A registration has two halves, because the engine stands between them: first what the engine needs (contracts, and
//! who says where events go), then, given the engine, what serves the provider's clients.

mod aws;
mod fnproject;
mod openwhisk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sonagi_control::Catalog;
use sonagi_dispatch::{Asynchronous, Dispatcher};
use sonagi_meter::Tariff;
use sonagi_ports::{
    Adapter, Archive, Clock, Contract, Destination, Entropy, EventTargets, Interpreters, MetadataStore, Mount, Record,
    RetryRules,
};
use sonagi_queues::Queues;
use sonagi_triggers::{Broker, Clockwork};
use sonagi_wire::Surface;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;

/// All providers, in the order in which they are asked whose a request is. The first one is meant where none is named.
pub(crate) const PROVIDERS: &[Register] = &[aws::register, openwhisk::register, fnproject::register];

/// Why a provider could not be set up.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sets up the first half of a provider.
pub(crate) type Register = fn(&Ground) -> Result<Registered, Failure>;

/// What every provider stands on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The platform's settings.
    pub(crate) options: Options,
    /// The address that is listened on.
    pub(crate) address: SocketAddr,
    /// The state directory; a provider may have folders of its own in it.
    pub(crate) folder: PathBuf,
    /// The store's records, as loaded at start.
    pub(crate) records: Arc<[Record]>,
    /// The functions of all providers.
    pub(crate) catalog: Arc<Catalog>,
    /// Message queues.
    pub(crate) queues: Queues,
    /// Providers' own records.
    pub(crate) archive: Arc<dyn Archive>,
    /// The store of records.
    pub(crate) store: Arc<dyn MetadataStore>,
    /// Interpreters of the host.
    pub(crate) interpreters: Arc<dyn Interpreters>,
    /// Mounts that every instance has.
    pub(crate) base_system: Vec<Mount>,
    /// The platform's bus.
    pub(crate) broker: Arc<Broker>,
    /// What ticks.
    pub(crate) clockwork: Arc<Clockwork>,
    /// The wall clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Ground {
    /// A folder with pinned packages that a provider's own runtimes bring, if they were installed.
    pub(crate) fn bundle(&self, provider: &str, runtime: &str) -> Option<PathBuf> {
        let found = |root: PathBuf| {
            let folder = root.join(provider).join(runtime);
            // It becomes a mount, which needs its whole path.
            let folder = std::fs::canonicalize(folder).ok()?;
            folder.is_dir().then_some(folder)
        };
        if let Some(root) = &self.options.bundles {
            return found(root.clone());
        }
        // Where an installation has them, and where the chores of a checkout put them.
        let program = std::env::current_exe().ok();
        let beside = |below: &str| Some(program.as_ref()?.parent()?.join(below));
        let roots = [
            Some(self.folder.join("bundles")),
            beside("../share/sonagi/bundles"),
            beside("../../.cache/bundles"),
        ];
        roots.into_iter().flatten().find_map(found)
    }

    /// The settings `PROVIDER.NAME=VALUE` of one provider, without its name.
    pub(crate) fn settings_of<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.options.provider_settings.iter();
        all.filter_map(move |(name, value)| {
            let (owner, name) = name.split_once('.')?;
            (owner == provider).then_some((name, value.as_str()))
        })
    }

    /// When events are tried again whose function says nothing else.
    pub(crate) fn retry_rules(&self) -> RetryRules {
        RetryRules {
            delays: self.options.retry_delays.clone(),
            max_age: self.options.event_max_age,
            ..RetryRules::default()
        }
    }
}

/// What runs functions.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    /// Now.
    pub(crate) dispatcher: Dispatcher,
    /// Later.
    pub(crate) asynchronous: Asynchronous,
    /// Where a provider's own tasks run; the platform waits for them when it stops.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the platform stops.
    pub(crate) stop: CancellationToken,
}

/// The first half of a provider.
pub(crate) struct Registered {
    /// The contracts that its functions speak.
    pub(crate) contracts: Vec<Arc<dyn Contract>>,
    /// Where accepted events go, by the name of the contract.
    pub(crate) targets: Vec<(String, Arc<dyn EventTargets>)>,
    /// What takes messages, by the name that routes of events carry.
    pub(crate) destinations: Vec<(String, Arc<dyn Destination>)>,
    /// Makes the second half.
    pub(crate) open: Box<dyn FnOnce(Engine) -> BoxFuture<'static, Result<Provider, Failure>> + Send>,
}

/// The second half of a provider.
#[derive(Debug)]
pub(crate) struct Provider {
    /// Serves its clients.
    pub(crate) surface: Arc<dyn Surface>,
    /// Its side of the native API.
    pub(crate) adapter: Arc<dyn Adapter>,
    /// Its list prices.
    pub(crate) tariff: Tariff,
}
