//! The suites of the ports, run against their fakes.

use std::sync::Arc;

use sonagi_model::{Exit, InstanceId, InstanceLimits, Mebibytes};
use sonagi_ports::suite::sandbox::Program;
use sonagi_ports::{CellKind, LaunchPlan, Mount, SandboxError, fake, suite};

#[tokio::test]
async fn metadata_store() {
    suite::metadata::check(&fake::FakeMetadataStore::new()).await;
}

#[tokio::test]
async fn archive() {
    suite::archive::check(&fake::FakeArchive::default()).await;
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

/// A fake sandbox that understands the programs of the suite.
fn fake_sandbox() -> fake::FakeSandbox {
    fake::FakeSandbox::behaving(|plan| match plan.program[0].as_str() {
        "/prints" => fake::FakeStart {
            prints: "hello\n".to_owned(),
            ..Default::default()
        },
        "/exits" => fake::FakeStart {
            exits: Some(Exit::Code(7)),
            ..Default::default()
        },
        "/kills" => fake::FakeStart {
            exits: Some(Exit::Signal(9)),
            ..Default::default()
        },
        missing => fake::FakeStart {
            fails: Some(SandboxError::Program {
                program: missing.to_owned(),
                reason: "no such file".to_owned(),
            }),
            ..Default::default()
        },
    })
}

fn plan(program: Program) -> LaunchPlan {
    let path = match program {
        Program::PrintsAndSleeps => "/prints",
        Program::ExitsWith7 => "/exits",
        Program::KillsItself => "/kills",
        Program::Missing => "/missing",
    };
    LaunchPlan {
        instance: InstanceId::generate(),
        cell: CellKind {
            mounts: Vec::new(),
            stem: None,
            outside: sonagi_model::Outside::Open,
        },
        code: Mount {
            source: "/nonexistent".into(),
            target: "/code".to_owned(),
            executable: true,
        },
        program: vec![path.to_owned()],
        environment: Vec::new(),
        working_directory: "/code".to_owned(),
        listeners: vec![9001],
        sockets: Vec::new(),
        channel: true,
        meets_in_scratch: false,
        limits: InstanceLimits::for_sizes(Mebibytes(128), Mebibytes(16)),
    }
}

#[tokio::test]
async fn sandbox() {
    suite::sandbox::check(&fake_sandbox(), &plan).await;
}

#[tokio::test]
async fn message_store() {
    suite::message::check(&fake::FakeMessageStore::new(20), 20).await;
}
