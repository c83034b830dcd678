//! Every case of `cases/` as a test of its own.

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            sonagi_conformance::run(stringify!($name)).await;
        })*
    };
}

cases!(
    asynchronous,
    awscli,
    awscli_s3,
    concurrency,
    custom_runtimes,
    event_sources,
    eventbridge,
    eventbridge_cli,
    extensions,
    fn_api,
    fn_invoke,
    fn_isolation,
    fn_runtime,
    functions,
    invoke,
    javascript,
    layers,
    limits,
    node,
    object_events,
    objects,
    openwhisk_aio,
    openwhisk_api,
    openwhisk_compositions,
    openwhisk_concurrency,
    openwhisk_invoke,
    openwhisk_isolation,
    openwhisk_routes,
    openwhisk_runtime,
    openwhisk_serverless,
    openwhisk_triggers,
    openwhisk_web,
    openwhisk_wskdebug,
    policies,
    provisioned,
    queue_targets,
    scheduler,
    signatures,
    sqs,
    sqs_awscli,
    streaming,
    urls,
    versions,
);

#[test]
fn every_folder_is_listed() {
    assert_eq!(sonagi_conformance::cases(), LISTED);
}
