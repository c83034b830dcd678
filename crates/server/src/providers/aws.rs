//! Registration of AWS Lambda.

use std::sync::Arc;

use futures_util::FutureExt as _;
use sonagi_aws::{
    Aws, AwsContract, AwsDeps, AwsOptions, BUS_ADAPTER, BusDeliveries, CONTRACT, LambdaTargets, QUEUE_ADAPTER,
    QueueDestination, RuntimeOptions, TemporaryCredentials,
};

use sonagi_objects::{ObjectStore, Options};

use super::{Engine, Failure, Ground, Provider, Registered};
use crate::CpuShare;

/// See [`super`].
pub(super) fn register(ground: &Ground) -> Result<Registered, Failure> {
    let credentials = Arc::new(TemporaryCredentials::new(ground.entropy.as_ref()));
    let contract = AwsContract::new(
        Arc::clone(&ground.interpreters),
        ground.base_system.clone(),
        ground.folder.join("bootstrap"),
        Arc::clone(&credentials),
        Arc::clone(&ground.clock),
        Arc::clone(&ground.entropy),
        RuntimeOptions {
            cap_cpu: ground.options.cpu == CpuShare::Cap,
            supervisor: Some(sonagi_sandbox_linux::SUPERVISOR),
            ..Default::default()
        },
    )?;
    let contract = Arc::new(contract);
    let targets = LambdaTargets::new(
        Arc::clone(&ground.catalog),
        Arc::clone(&ground.entropy),
        ground.options.account_concurrency,
        ground.retry_rules(),
    );
    let folder = ground.folder.join("objects");
    std::fs::create_dir_all(&folder)?;
    let objects = ObjectStore::open(&folder, Options::default())?;
    let buses = Arc::new(BusDeliveries::default());
    let queues = QueueDestination::new(ground.queues.clone());
    let destinations = vec![
        (BUS_ADAPTER.to_owned(), Arc::clone(&buses) as _),
        (QUEUE_ADAPTER.to_owned(), Arc::new(queues) as _),
    ];
    let (ground, opened) = (ground.clone(), (Arc::clone(&contract), buses));
    Ok(Registered {
        contracts: vec![contract],
        targets: vec![(CONTRACT.to_owned(), Arc::new(targets))],
        destinations,
        open: Box::new(move |engine| open(ground, opened, (credentials, objects), engine).boxed()),
    })
}

async fn open(
    ground: Ground,
    (contract, buses): (Arc<AwsContract>, Arc<BusDeliveries>),
    (credentials, objects): (Arc<TemporaryCredentials>, ObjectStore),
    engine: Engine,
) -> Result<Provider, Failure> {
    let options = AwsOptions {
        address: ground.address,
        base_domain: ground.options.base_domain.clone(),
        account_concurrency: ground.options.account_concurrency,
        insecure_dev: ground.options.insecure_dev,
        ..Default::default()
    };
    let aws = Aws::new(AwsDeps {
        catalog: ground.catalog,
        runner: Arc::new(sonagi_aws::Engine::new(engine.dispatcher, engine.asynchronous)),
        queues: ground.queues,
        tasks: engine.tasks.clone(),
        stop: engine.stop.clone(),
        records: &ground.records,
        store: ground.store,
        objects,
        credentials,
        broker: ground.broker,
        clockwork: ground.clockwork,
        buses,
        contract: Arc::clone(&contract) as _,
        clock: ground.clock,
        entropy: ground.entropy,
        options,
    });
    let aws = Arc::new(aws.await?);
    let (telling, stop) = (Arc::clone(&aws), engine.stop);
    engine.tasks.spawn(async move { telling.tell(stop).await });
    contract.attach(Arc::clone(aws.front()) as _);
    Ok(Provider {
        surface: Arc::clone(aws.front()) as _,
        adapter: aws,
        tariff: sonagi_aws::tariff(),
    })
}
