//! Putting the parts together.

use std::net::SocketAddr;
use std::sync::Arc;

use sonagi_aws_s3::S3;
use sonagi_control::Catalog;
use sonagi_objects::ObjectStore;
use sonagi_ports::{Clock, Entropy, MetadataStore, Record, StoreError};
use sonagi_queues::Queues;
use sonagi_triggers::{Broker, Clockwork};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Accounts, AuthMode, Sessions, Verifier};
use crate::control::{CodeLinks, Control, Layers, RuntimeCheck};
use crate::credentials::TemporaryCredentials;
use crate::eventing::{Bridge, BridgeParts, BusDeliveries, Reach, Scheduler, SchedulerParts};
use crate::front::{Front, FrontParts};
use crate::invoke::{Invoker, Runner};
use crate::limits::LambdaLimits;
use crate::mappings::{self, Mappings};
use crate::place::{AccountId, Place, Region};
use crate::sqs::Sqs;
use crate::storage::{self, StorageDeps};
use crate::url::{UrlAddress, UrlPlane, UrlRoutes};

/// Settings of the Lambda surface.
#[derive(Debug, Clone)]
pub struct AwsOptions {
    /// The address that the platform listens on; its port is part of function URLs. Default `127.0.0.1:4747`.
    pub address: SocketAddr,
    /// Base of function URLs' host names. Default `localhost`.
    pub base_domain: String,
    /// Region of accounts' default namespaces, and of requests that name none. Default `us-east-1`.
    pub region: Region,
    /// The account that is made at the first start. Default `000000000000`.
    pub account: AccountId,
    /// Concurrent invocations of one account. Default 1000.
    pub account_concurrency: u32,
    /// Whether requests are accepted unsigned. Default no.
    pub insecure_dev: bool,
    /// Everything else that Lambda limits; its `account_concurrency` is replaced by the one above.
    pub limits: LambdaLimits,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 4747)),
            base_domain: "localhost".to_owned(),
            region: Region::parse("us-east-1").expect("a region"),
            account: AccountId::parse("000000000000").expect("an account id"),
            account_concurrency: 1000,
            insecure_dev: false,
            limits: LambdaLimits::default(),
        }
    }
}

impl AwsOptions {
    /// The limits, with the account's concurrency.
    fn limits(&self) -> LambdaLimits {
        LambdaLimits {
            account_concurrency: self.account_concurrency,
            ..self.limits.clone()
        }
    }

    /// Where requests without a signature belong.
    fn place(&self) -> Place {
        Place {
            account: self.account.clone(),
            region: self.region.clone(),
        }
    }

    const fn mode(&self) -> AuthMode {
        if self.insecure_dev {
            AuthMode::Off
        } else {
            AuthMode::Required
        }
    }

    fn url_address(&self) -> UrlAddress {
        UrlAddress {
            scheme: "http",
            base_domain: self.base_domain.clone(),
            port: self.address.port(),
        }
    }
}

/// What the Lambda surface stands on.
#[derive(Debug)]
pub struct AwsDeps<'a> {
    /// The functions.
    pub catalog: Arc<Catalog>,
    /// The engine.
    pub runner: Arc<dyn Runner>,
    /// The message queues of all accounts.
    pub queues: Queues,
    /// Where tasks run, which the platform waits for when it stops.
    pub tasks: TaskTracker,
    /// Cancelled when the platform stops.
    pub stop: CancellationToken,
    /// The store's records, as loaded at start.
    pub records: &'a [Record],
    /// The store.
    pub store: Arc<dyn MetadataStore>,
    /// Objects in buckets.
    pub objects: ObjectStore,
    /// Keys of instances.
    pub credentials: Arc<TemporaryCredentials>,
    /// The platform's bus.
    pub broker: Arc<Broker>,
    /// What ticks.
    pub clockwork: Arc<Clockwork>,
    /// Buses as destinations, as they are registered.
    pub buses: Arc<BusDeliveries>,
    /// Which runtimes this host has: the [`AwsContract`](crate::AwsContract).
    pub contract: Arc<dyn RuntimeCheck>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Settings.
    pub options: AwsOptions,
}

impl AwsDeps<'_> {
    /// Takes up buses and schedules.
    fn eventing(&self) -> Result<(Arc<Bridge>, Arc<Scheduler>), StoreError> {
        let reach = Reach {
            catalog: Arc::clone(&self.catalog),
            runner: Arc::clone(&self.runner),
        };
        let bridge = Bridge::open(BridgeParts {
            records: self.records,
            store: Arc::clone(&self.store),
            reach: reach.clone(),
            broker: Arc::clone(&self.broker),
            clockwork: Arc::clone(&self.clockwork),
            clock: Arc::clone(&self.clock),
        })?;
        self.buses.attach(Arc::clone(&bridge));
        let scheduler = Scheduler::open(SchedulerParts {
            records: self.records,
            store: Arc::clone(&self.store),
            reach,
            clockwork: Arc::clone(&self.clockwork),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        })?;
        Ok((bridge, scheduler))
    }
}

/// What several parts stand on.
struct Shared {
    catalog: Arc<Catalog>,
    runner: Arc<dyn Runner>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Arc<LambdaLimits>,
    objects: ObjectStore,
    layers: Arc<Layers>,
    queues: Queues,
}

impl Shared {
    /// Takes up what an earlier process left: the URLs of all functions, and what they reserve.
    fn resume(&self, address: &Arc<UrlAddress>) -> Arc<UrlRoutes> {
        let routes = UrlRoutes::new(Arc::clone(address));
        routes.load(&self.catalog);
        for entry in self.catalog.all() {
            self.runner.reserve(&entry.function);
        }
        Arc::new(routes)
    }

    fn storage(&self, sessions: Arc<Sessions>, temporary: Arc<TemporaryCredentials>, domain: &str) -> Arc<S3> {
        Arc::new(storage::endpoint(StorageDeps {
            store: self.objects.clone(),
            sessions,
            temporary,
            catalog: Arc::clone(&self.catalog),
            runner: Arc::clone(&self.runner),
            queues: self.queues.clone(),
            clock: Arc::clone(&self.clock),
            base_domain: domain.to_owned(),
        }))
    }

    fn invoker(&self) -> Invoker {
        Invoker {
            catalog: Arc::clone(&self.catalog),
            runner: Arc::clone(&self.runner),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            limits: Arc::clone(&self.limits),
        }
    }

    fn control(
        &self,
        accounts: &Arc<Accounts>,
        routes: &Arc<UrlRoutes>,
        address: &Arc<UrlAddress>,
        runtimes: Arc<dyn RuntimeCheck>,
        (mappings, sqs): (Mappings, Sqs),
    ) -> Control {
        let links = CodeLinks {
            accounts: Arc::clone(accounts),
            clock: Arc::clone(&self.clock),
        };
        Control {
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            limits: Arc::clone(&self.limits),
            routes: Arc::clone(routes),
            address: Arc::clone(address),
            links,
            runtimes,
            mappings,
            sqs,
            runner: Arc::clone(&self.runner),
            objects: self.objects.clone(),
            layers: Arc::clone(&self.layers),
            reservations: tokio::sync::Mutex::new(()),
            floors: parking_lot::Mutex::new(()),
        }
    }
}

fn verifier(
    sessions: &Arc<Sessions>,
    temporary: &Arc<TemporaryCredentials>,
    clock: &Arc<dyn Clock>,
    (mode, default): (AuthMode, &Place),
) -> Arc<Verifier> {
    Arc::new(Verifier {
        accounts: Arc::clone(&sessions.accounts),
        temporary: Arc::clone(temporary),
        sessions: Arc::clone(sessions),
        clock: Arc::clone(clock),
        mode,
        default: default.clone(),
    })
}

/// The Lambda surface of a platform.
#[derive(Debug)]
pub struct Aws {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) control: Arc<Control>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) default: Place,
    front: Arc<Front>,
    pub(crate) storage: Arc<S3>,
}

impl Aws {
    /// Puts everything together; makes the default account at the first start.
    ///
    /// # Errors
    /// [`StoreError`]: an account cannot be read, or the first one cannot be stored.
    #[expect(
        clippy::too_many_lines,
        reason = "a linear list of parts: splitting it would only pass them all around"
    )]
    pub async fn new(deps: AwsDeps<'_>) -> Result<Self, StoreError> {
        let (bridge, scheduler) = deps.eventing()?;
        let AwsDeps {
            catalog,
            runner,
            queues,
            tasks,
            stop,
            records,
            store,
            objects,
            credentials,
            contract,
            clock,
            entropy,
            options,
            ..
        } = deps;
        let limits = Arc::new(options.limits());
        let layers = Arc::new(Layers::load(records, Arc::clone(&store), Arc::clone(&catalog))?);
        let accounts = Accounts::load(records, Arc::clone(&store), &options.account, Arc::clone(&entropy)).await?;
        let (accounts, address) = (Arc::new(accounts), Arc::new(options.url_address()));
        let default = options.place();
        let sessions = Arc::new(Sessions {
            accounts: Arc::clone(&accounts),
            entropy: Arc::clone(&entropy),
        });
        let verifier = verifier(&sessions, &credentials, &clock, (options.mode(), &default));
        let shared = Shared {
            catalog,
            runner,
            clock,
            entropy,
            limits,
            objects,
            layers,
            queues: queues.clone(),
        };
        let storage = shared.storage(sessions, credentials, &options.base_domain);
        let routes = shared.resume(&address);
        let invoker = Arc::new(shared.invoker());
        let sqs = Sqs::open(queues, records, Arc::clone(&store), (tasks.clone(), stop.clone()))?;
        let engine = mappings::Engine::new(sqs.clone(), Arc::clone(&invoker), tasks, stop);
        let mappings = Mappings::load(engine, records, store);
        let control = shared.control(&accounts, &routes, &address, contract, (mappings, sqs.clone()));
        let control = Arc::new(control);
        for entry in control.catalog.all() {
            control.apply_floors(entry.function.id);
        }
        let limits = shared.limits;
        let urls = UrlPlane {
            routes,
            invoker: Arc::clone(&invoker),
            verifier: Arc::clone(&verifier),
            address,
        };
        let front = Arc::new(Front::new(FrontParts {
            verifier,
            control: Arc::clone(&control),
            invoker: Arc::clone(&invoker),
            urls,
            sqs,
            bridge,
            scheduler,
            storage: Arc::clone(&storage),
            limits,
            base_domain: options.base_domain,
        }));
        Ok(Self {
            accounts,
            control,
            invoker,
            default,
            front,
            storage,
        })
    }

    /// Passes on what buckets tell of their objects until told to stop. To be run once.
    pub async fn tell(&self, stop: tokio_util::sync::CancellationToken) {
        self.storage.pass_on(stop).await;
    }

    /// Where requests come in.
    #[must_use]
    pub const fn front(&self) -> &Arc<Front> {
        &self.front
    }
}
