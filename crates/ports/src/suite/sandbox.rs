//! What every [`Sandbox`] does. The adapter says how its programs are named; the checks say what must come of them.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use std::os::fd::OwnedFd;
use std::time::Duration;

use sonagi_model::{Exit, Mebibytes};
use tokio::time::{sleep, timeout};

use crate::{LaunchPlan, Sandbox, SandboxError, Started};

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the program of a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Prints the line `hello` and then sleeps for longer than any check.
    PrintsAndSleeps,
    /// Ends with status 7.
    ExitsWith7,
    /// Kills itself with signal 9.
    KillsItself,
    /// Is not there.
    Missing,
}

/// All checks, on a sandbox without instances. `plan` makes a plan, each for a new instance, whose program does as
/// told, with one listener. Ends with the sandbox shut down.
///
/// # Panics
/// When one fails.
pub async fn check(sandbox: &dyn Sandbox, plan: &dyn Fn(Program) -> LaunchPlan) {
    assert_eq!(sandbox.alive(), 0, "the checks need a sandbox without instances");
    output_arrives_and_destroying_leaves_nothing(sandbox, plan(Program::PrintsAndSleeps)).await;
    freezing_is_idempotent_and_frozen_instances_can_be_destroyed(sandbox, plan(Program::PrintsAndSleeps)).await;
    everybody_hears_how_it_ended(sandbox, plan(Program::ExitsWith7), Exit::Code(7)).await;
    everybody_hears_how_it_ended(sandbox, plan(Program::KillsItself), Exit::Signal(9)).await;
    a_missing_program_is_the_owners_fault(sandbox, plan(Program::Missing)).await;
    a_dropped_start_leaves_nothing(sandbox, plan(Program::PrintsAndSleeps)).await;
    the_end_ends_everything(sandbox, plan).await;
}

async fn until_alive(sandbox: &dyn Sandbox, wanted: usize) {
    let reached = timeout(PATIENCE, async {
        while sandbox.alive() != wanted {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(
        reached.await.is_ok(),
        "{} instances alive instead of {wanted}",
        sandbox.alive()
    );
}

/// Reads until the line is there.
async fn until_printed(output: OwnedFd, wanted: &str) {
    let mut file = std::fs::File::from(output);
    let mut seen = Vec::new();
    let read = timeout(PATIENCE, async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let mut buffer = [0; 256];
            match std::io::Read::read(&mut file, &mut buffer) {
                Ok(0) => panic!("the output ended after {:?}", String::from_utf8_lossy(&seen)),
                Ok(read) => seen.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("the output cannot be read: {error}"),
            }
        }
    });
    assert!(read.await.is_ok(), "{wanted:?} was not printed");
}

async fn started(sandbox: &dyn Sandbox, plan: LaunchPlan) -> Started {
    let (listeners, channel) = (plan.listeners.len(), plan.channel);
    let started = timeout(PATIENCE, sandbox.start(plan)).await.unwrap().unwrap();
    assert_eq!(
        started.listeners.len(),
        listeners,
        "one listener for each port of the plan"
    );
    assert_eq!(started.channel.is_some(), channel, "a channel if the plan asks for one");
    started
}

async fn output_arrives_and_destroying_leaves_nothing(sandbox: &dyn Sandbox, plan: LaunchPlan) {
    let started = started(sandbox, plan).await;
    assert_eq!(sandbox.alive(), 1);
    until_printed(started.output, "hello\n").await;
    started.sandbox.initialized();
    let peak = started.sandbox.memory_peak();
    assert!(peak > Mebibytes(0), "a program has run and peak is {peak}");
    timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
    assert_eq!(sandbox.alive(), 0, "destroy returns when nothing is left");
    timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, started.sandbox.exited()).await.unwrap(),
        Exit::Reclaimed
    );
}

async fn freezing_is_idempotent_and_frozen_instances_can_be_destroyed(sandbox: &dyn Sandbox, plan: LaunchPlan) {
    let started = started(sandbox, plan).await;
    for _ in 0..2 {
        started.sandbox.freeze().unwrap();
        started.sandbox.freeze().unwrap();
        started.sandbox.thaw().unwrap();
        started.sandbox.thaw().unwrap();
    }
    started.sandbox.freeze().unwrap();
    timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
    assert_eq!(sandbox.alive(), 0);
}

async fn everybody_hears_how_it_ended(sandbox: &dyn Sandbox, plan: LaunchPlan, expected: Exit) {
    let started = started(sandbox, plan).await;
    let listeners = (0..3).map(|_| started.sandbox.exited());
    let heard = timeout(PATIENCE, super::at_once(listeners)).await.unwrap();
    assert_eq!(heard, [expected; 3]);
    timeout(PATIENCE, started.sandbox.destroy()).await.unwrap();
    assert_eq!(
        started.sandbox.exited().await,
        expected,
        "destroying does not change how it ended"
    );
    assert_eq!(sandbox.alive(), 0);
}

async fn a_missing_program_is_the_owners_fault(sandbox: &dyn Sandbox, plan: LaunchPlan) {
    let refused = timeout(PATIENCE, sandbox.start(plan)).await.unwrap();
    assert!(
        matches!(refused, Err(SandboxError::Program { .. })),
        "a missing program gave {refused:?}"
    );
    until_alive(sandbox, 0).await;
}

async fn a_dropped_start_leaves_nothing(sandbox: &dyn Sandbox, plan: LaunchPlan) {
    let start = sandbox.start(plan);
    match timeout(Duration::from_micros(100), start).await {
        Ok(started) => started.unwrap().sandbox.destroy().await,
        Err(_dropped) => (),
    }
    until_alive(sandbox, 0).await;
}

async fn the_end_ends_everything(sandbox: &dyn Sandbox, plan: &dyn Fn(Program) -> LaunchPlan) {
    let one = started(sandbox, plan(Program::PrintsAndSleeps)).await;
    let two = started(sandbox, plan(Program::PrintsAndSleeps)).await;
    two.sandbox.freeze().unwrap();
    assert_eq!(sandbox.alive(), 2);
    assert_eq!(timeout(PATIENCE, sandbox.shut_down()).await.unwrap(), 0);
    assert_eq!(sandbox.alive(), 0);
    assert_eq!(one.sandbox.exited().await, Exit::Reclaimed);
    let refused = sandbox.start(plan(Program::PrintsAndSleeps)).await;
    assert!(matches!(refused, Err(SandboxError::Stopping)), "{refused:?}");
}
