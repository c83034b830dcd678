//! Cases that the real client drives. Those of the conformance suite that need no real runtime run here too, so that a
//! mistake in the surface shows without a sandbox.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sonagi_ports::{Adapter, EventRoute};
use tokio::process::Command;

use crate::world::World;

/// Longest time for one file of cases.
const LIMIT: Duration = Duration::from_secs(240);

fn checkout(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

/// The Python that has boto3.
pub fn python() -> PathBuf {
    let path = checkout(".cache/python/boto3/bin/python");
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}

async fn run(world: &World, case: PathBuf, more: &[(&str, String)]) {
    let output = Command::new(python())
        .args([checkout("tests/conformance/kit/kit.py"), case.clone()])
        .env_clear()
        .envs(world.environment(None))
        .envs(more.iter().map(|(name, value)| (name, value)))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .expect("the cases end")
        .expect("Python starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    println!("{text}");
    assert!(output.status.success(), "{}:\n{text}", case.display());
}

async fn shared(name: &str) {
    let world = World::start().await;
    run(
        &world,
        checkout("tests/conformance/cases").join(name).join("case.py"),
        &[],
    )
    .await;
}

pub async fn own(name: &str, more: &[(&str, String)], world: &World) {
    run(
        world,
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases").join(name),
        more,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_aliases() {
    shared("versions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_and_tags() {
    shared("policies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures() {
    shared("signatures").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues() {
    shared("sqs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control() {
    let world = World::start().await;
    own("control.py", &[], &world).await;
    assert!(
        world.engine.reserved.lock().contains(&Some(5)),
        "reservations are told to the engine"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invocations() {
    let world = World::start().await;
    own("invoke.py", &[], &world).await;
    let accepted = world.engine.accepted.lock();
    assert_eq!(accepted.len(), 3);
    let qualifiers = accepted.iter().map(|event| match &event.route {
        EventRoute::Function {
            contract, qualifier, ..
        } if contract == "aws-lambda" => qualifier.as_deref(),
        other @ (EventRoute::Function { .. } | EventRoute::Destination { .. }) => panic!("{other:?}"),
    });
    assert_eq!(qualifiers.collect::<Vec<_>>(), [None, Some("1"), None]);
    let ran = world.engine.ran.lock();
    assert!(
        ran.iter()
            .all(|request| request.attempt == 1 && request.tenant_concurrency == 1000)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_accounts() {
    let world = World::start().await;
    let other = world
        .aws
        .add_account(Some("111111111111"))
        .await
        .expect("a second account");
    let environment = world.environment(Some(&other.id));
    let find = |name: &str| {
        environment
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let more = [
        ("OTHER_KEY", find("AWS_ACCESS_KEY_ID").expect("a key")),
        ("OTHER_SECRET", find("AWS_SECRET_ACCESS_KEY").expect("a secret")),
    ];
    own("accounts.py", &more, &world).await;
}
