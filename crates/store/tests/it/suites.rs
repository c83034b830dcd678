//! The ports' suites.

use sonagi_ports::suite;
use sonagi_store::Options;

use crate::opened::Opened;

#[tokio::test]
async fn metadata_store() {
    let opened = Opened::new(Options::default());
    suite::metadata::check(opened.stores.metadata.as_ref()).await;
}

#[tokio::test]
async fn archive() {
    let opened = Opened::new(Options::default());
    suite::archive::check(opened.stores.archive.as_ref()).await;
}

#[tokio::test]
async fn event_queue() {
    let opened = Opened::new(Options {
        pending_events: 300,
        ..Options::default()
    });
    suite::event::check(opened.stores.events.as_ref(), opened.stores.runs.as_ref(), 300).await;
}

#[tokio::test]
async fn message_store() {
    let opened = Opened::new(Options {
        messages: 300,
        ..Options::default()
    });
    suite::message::check(opened.stores.messages.as_ref(), 300).await;
}

#[tokio::test]
async fn run_store() {
    let opened = Opened::new(Options::default());
    suite::run::check(opened.stores.runs.as_ref()).await;
}

#[tokio::test]
async fn artifact_store() {
    let opened = Opened::new(Options::default());
    suite::artifact::check(opened.stores.artifacts.as_ref()).await;
}

#[tokio::test]
async fn log_sink() {
    let opened = Opened::new(Options::default());
    suite::log::check(opened.stores.logs.as_ref()).await;
}
