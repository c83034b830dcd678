//! Registration of OpenWhisk.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sonagi_dispatch::{Answer, Asynchronous, Dispatcher, Refused, Request};
use sonagi_openwhisk::{
    ADAPTER, AuthMode, Bundles, Deliveries, PROVIDER, Runner, Whisk, WhiskContract, WhiskDeps, WhiskLimits,
    WhiskOptions,
};
use sonagi_ports::{AcceptError, Accepted, NewEvent};

use super::{Engine, Failure, Ground, Provider, Registered};

/// See [`super`].
pub(super) fn register(ground: &Ground) -> Result<Registered, Failure> {
    let bundle = ground
        .bundle(PROVIDER, "node")
        .map(|folder| folder.join("node_modules"));
    let contract = WhiskContract::new(
        Arc::clone(&ground.interpreters),
        ground.base_system.clone(),
        ground.folder.join("bootstrap").join(PROVIDER),
        Bundles { node: bundle },
        Arc::clone(&ground.clock),
    )?;
    let (contract, deliveries) = (Arc::new(contract), Arc::new(Deliveries::default()));
    let mut limits = WhiskLimits {
        concurrent: ground.options.account_concurrency,
        ..WhiskLimits::default()
    };
    for (name, value) in ground.settings_of(PROVIDER) {
        limits.set(name, value)?;
    }
    let (ground, opened) = (ground.clone(), (Arc::clone(&contract), Arc::clone(&deliveries)));
    Ok(Registered {
        contracts: vec![contract],
        targets: Vec::new(),
        destinations: vec![(ADAPTER.to_owned(), deliveries)],
        open: Box::new(move |engine| open(ground, opened, limits, engine).boxed()),
    })
}

async fn open(
    ground: Ground,
    (contract, deliveries): (Arc<WhiskContract>, Arc<Deliveries>),
    limits: WhiskLimits,
    engine: Engine,
) -> Result<Provider, Failure> {
    let mode = if ground.options.insecure_dev {
        AuthMode::Off
    } else {
        AuthMode::Required
    };
    let runner = Both {
        dispatcher: engine.dispatcher,
        asynchronous: engine.asynchronous,
    };
    let whisk = Whisk::new(WhiskDeps {
        catalog: ground.catalog,
        runner: Arc::new(runner),
        records: &ground.records,
        store: ground.store,
        archive: ground.archive,
        contract,
        deliveries,
        clock: ground.clock,
        entropy: ground.entropy,
        tasks: engine.tasks,
        stop: engine.stop,
        options: WhiskOptions {
            address: ground.address,
            mode,
            limits,
        },
    });
    let whisk = Arc::new(whisk.await?);
    Ok(Provider {
        surface: Arc::clone(whisk.front()) as _,
        adapter: whisk,
        tariff: sonagi_openwhisk::tariff(),
    })
}

/// The engine, as this provider sees it.
#[derive(Debug)]
struct Both {
    dispatcher: Dispatcher,
    asynchronous: Asynchronous,
}

#[async_trait]
impl Runner for Both {
    async fn run(&self, request: Request) -> Result<Answer, Refused> {
        self.dispatcher.invoke(request).await
    }

    async fn accept(&self, event: NewEvent) -> Result<Accepted, AcceptError> {
        self.asynchronous.accept(event).await
    }
}
