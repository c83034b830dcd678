//! The grammar of the command line, and from a parsed line to an exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command;
use crate::context::{Format, Global};
use crate::exit::{self, Exit};
use crate::failure::Result;
use crate::output;

/// Serverless functions on your own machine: source code in, a URL out.
#[derive(Debug, Parser)]
#[command(name = "sonagi", version, after_help = exit::HELP, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(command::up::Up),
    New(command::new::New),
    Deploy(command::deploy::Deploy),
    Dev(command::dev::Dev),
    #[command(visible_alias = "call")]
    Invoke(command::invoke::Invoke),
    Logs(command::logs::Logs),
    Runs(command::runs::Runs),
    Events(command::events::Events),
    Replay(command::replay::Replay),
    Dlq(command::dlq::Dlq),
    On(command::on::On),
    Show(command::show::Show),
    Ls(command::ls::Ls),
    Rm(command::rm::Rm),
    Env(command::env::Env),
    Config(command::config::Config),
    Usage(command::usage::Usage),
    Versions(command::versions::Versions),
    Alias(command::alias::Alias),
    Rollback(command::rollback::Rollback),
    Account(command::account::Account),
    Backup(command::backup::Backup),
    Key(command::key::Key),
    Restore(command::restore::Restore),
    Doctor(command::doctor::Doctor),
    Compat(command::compat::Compat),
    Completions(command::completions::Completions),
}

/// The grammar, for shells' completions.
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let format = cli.global.format();
    let result = dispatch(cli, &matches);
    match result {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            output::failure(&failure, format);
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli, matches: &clap::ArgMatches) -> Result {
    let global = &cli.global;
    match cli.command {
        // These need no runtime: the platform makes its own, the others do not wait.
        Command::Up(up) => up.run(global, matches.subcommand_matches("up")),
        Command::Dev(dev) => dev.run(global),
        Command::New(new) => new.run(global),
        Command::Completions(completions) => completions.run(),
        Command::Compat(compat) => compat.run(global),
        Command::Deploy(deploy) => wait(deploy.run(global)),
        Command::Invoke(invoke) => wait(invoke.run(global)),
        Command::Logs(logs) => wait(logs.run(global)),
        Command::Runs(runs) => wait(runs.run(global)),
        Command::Events(events) => wait(events.run(global)),
        Command::Replay(replay) => wait(replay.run(global)),
        Command::Dlq(dlq) => wait(dlq.run(global)),
        Command::On(on) => wait(on.run(global)),
        Command::Show(show) => wait(show.run(global)),
        Command::Ls(ls) => wait(ls.run(global)),
        Command::Rm(rm) => wait(rm.run(global)),
        Command::Env(env) => wait(env.run(global)),
        Command::Config(config) => wait(config.run(global)),
        Command::Usage(usage) => wait(usage.run(global)),
        Command::Versions(versions) => wait(versions.run(global)),
        Command::Alias(alias) => wait(alias.run(global)),
        Command::Rollback(rollback) => wait(rollback.run(global)),
        Command::Account(account) => wait(account.run(global)),
        Command::Restore(restore) => restore.run(global),
        Command::Key(key) => key.run(global),
        Command::Backup(backup) => wait(backup.run(global)),
        Command::Doctor(doctor) => wait(doctor.run(global)),
    }
}

/// Runs a command to its end on this thread: it does one thing at a time, and starts in no time.
fn wait(work: impl Future<Output = Result>) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        crate::failure::Failure::caused(Exit::Failure, "the asynchronous runtime cannot be started", &error)
    })?;
    runtime.block_on(work)
}

impl Format {
    /// Prints a document as JSON, or as text that is made only then.
    pub fn print<T: serde::Serialize>(self, document: &T, text: impl FnOnce() -> String) -> Result {
        match self {
            Self::Json => output::json(document),
            Self::Text => output::line(&text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound_and_every_command_has_examples() {
        let grammar = grammar();
        grammar.clone().debug_assert();
        for command in grammar.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.starts_with("Examples:\n  sonagi "),
                "{}: {help:?}",
                command.get_name()
            );
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
