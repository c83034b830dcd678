//! The suites of the ports, run against their fakes.

use std::sync::Arc;

use sonagi_ports::{fake, suite};

#[tokio::test]
async fn metadata_store() {
    suite::metadata::check(&fake::FakeMetadataStore::new()).await;
}

#[tokio::test]
async fn event_queue() {
    let runs = Arc::new(fake::FakeRunStore::new());
    suite::event::check(&fake::FakeEventQueue::new(runs.clone(), 20), runs.as_ref(), 20).await;
}

#[tokio::test]
async fn run_store() {
    suite::run::check(&fake::FakeRunStore::new()).await;
}

#[tokio::test]
async fn log_sink() {
    suite::log::check(&fake::FakeLogSink::new()).await;
}

#[tokio::test]
async fn artifact_store() {
    suite::artifact::check(&fake::FakeArtifactStore::new()).await;
}
