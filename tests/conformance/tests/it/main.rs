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
    concurrency,
    custom_runtimes,
    functions,
    invoke,
    javascript,
    limits,
    node,
    policies,
    signatures,
    streaming,
    urls,
    versions,
);

#[test]
fn every_folder_is_listed() {
    assert_eq!(sonagi_conformance::cases(), LISTED);
}
