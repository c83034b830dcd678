//! Instances on the kernel of this host, seen from inside and from outside. Needs root.
//!
//! An executable with a `main` of its own: the sandbox starts the executable that it is in again, as its spawner, and
//! that must run before a test harness does. Arguments are names of tests, or parts of them; none means all.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod confinement;
mod ending;
mod leftovers;
mod lifecycle;
mod limits;
mod node;
mod speed;
mod stems;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test and its name.
type Test = (&'static str, fn());

/// Lists functions as tests.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// Tests of this module.
        pub const TESTS: &[$crate::Test] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

fn main() -> ExitCode {
    sonagi_sandbox_linux::spawner::maybe_run();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|argument| argument == leftovers::SERVER_ARGUMENT)
    {
        leftovers::serve(&arguments[1]);
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let sets = [
        lifecycle::TESTS,
        confinement::TESTS,
        limits::TESTS,
        ending::TESTS,
        leftovers::TESTS,
        speed::TESTS,
        stems::TESTS,
    ];
    let chosen = sets
        .into_iter()
        .flatten()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "sandboxes need root: run these tests as root"
    );
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, test) in chosen {
        println!("test {name} ...");
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
        } else {
            failed.push(*name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed", failed.len());
    failed.iter().for_each(|name| println!("    {name}"));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
