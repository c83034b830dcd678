//! The `sonagi` command: the platform itself (`sonagi up`) and the command line that talks to it.

mod build;
mod cli;
mod command;
mod context;
mod exit;
mod failure;
mod output;
mod progress;
mod project;
mod values;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Processes that are not the command line at all begin here, while there is one thread: the platform's spawner, and
    // the cells in which dependencies are installed.
    sonagi_server::before_threads();
    build::cell::maybe_run();
    cli::run()
}
