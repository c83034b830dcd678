//! Registration of Fn Project.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sonagi_dispatch::{Answer, Asynchronous, Dispatcher, Refused, Request};
use sonagi_fn::{
    AuthMode, Bundles, CONTRACT, FnContract, FnDeps, FnLimits, FnOptions, FnProject, FnTargets, PROVIDER, Runner,
};
use sonagi_pool::PoolOptions;
use sonagi_ports::{AcceptError, Accepted, Language, NewEvent};

use super::{Engine, Failure, Ground, Provider, Registered};

/// See [`super`].
pub(super) fn register(ground: &Ground) -> Result<Registered, Failure> {
    let mut limits = FnLimits {
        concurrent: ground.options.account_concurrency,
        ..FnLimits::default()
    };
    for (name, value) in ground.settings_of(PROVIDER) {
        limits.set(name, value)?;
    }
    let contract = FnContract::new(
        Arc::clone(&ground.interpreters),
        ground.base_system.clone(),
        ground.folder.join("bootstrap").join(PROVIDER),
        bundles(ground),
        limits.clone(),
    )?;
    let contract = Arc::new(contract);
    let targets = FnTargets::new(Arc::clone(&ground.catalog), limits.concurrent, ground.retry_rules());
    let (ground, opened) = (ground.clone(), Arc::clone(&contract));
    Ok(Registered {
        contracts: vec![contract],
        targets: vec![(CONTRACT.to_owned(), Arc::new(targets))],
        destinations: Vec::new(),
        open: Box::new(move |engine| open(ground, opened, limits, engine).boxed()),
    })
}

/// The FDKs that were installed for interpreters of this host.
fn bundles(ground: &Ground) -> Bundles {
    let all = ground.interpreters.all();
    let versions = all
        .iter()
        .filter(|found| found.language == Language::Python)
        .map(|found| {
            let parts: Vec<&str> = found.version.split('.').take(2).collect();
            parts.join(".")
        });
    let python = versions.filter_map(|version| {
        let folder = ground.bundle(PROVIDER, &format!("python{version}"))?;
        Some((version, folder))
    });
    Bundles {
        python: python.collect(),
        node: ground
            .bundle(PROVIDER, "node")
            .map(|folder| folder.join("node_modules")),
    }
}

async fn open(
    ground: Ground,
    contract: Arc<FnContract>,
    limits: FnLimits,
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
    let project = FnProject::new(FnDeps {
        catalog: ground.catalog,
        runner: Arc::new(runner),
        records: &ground.records,
        store: ground.store,
        contract,
        clock: ground.clock,
        entropy: ground.entropy,
        options: FnOptions {
            address: ground.address,
            mode,
            limits,
            node_memory: ground.options.node_memory.unwrap_or(PoolOptions::default().node_memory),
        },
    });
    let project = Arc::new(project.await?);
    Ok(Provider {
        surface: Arc::clone(project.front()) as _,
        adapter: project,
        tariff: sonagi_fn::tariff(),
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
