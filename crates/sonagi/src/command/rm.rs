//! `sonagi rm`: removes functions.

use clap::Args;
use serde::Serialize;

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Remove functions, with their versions, aliases and logs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi rm hello
  sonagi rm hello api tiny     all that can be removed; exit code of the first that cannot")]
pub struct Rm {
    /// The functions
    #[arg(required = true)]
    functions: Vec<String>,

    /// For scripts that are used to say so: nothing is asked anyway
    #[arg(short, long, hide_short_help = true)]
    yes: bool,
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    removed: Vec<&'a str>,
    failed: Vec<Failed<'a>>,
}

#[derive(Debug, Serialize)]
struct Failed<'a> {
    function: &'a str,
    message: String,
}

impl Rm {
    /// Does it: every function that can be removed is; the exit code is that of the first one that could not.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        let text = global.format() == Format::Text;
        let mut report = Report {
            removed: Vec::new(),
            failed: Vec::new(),
        };
        let mut first = None;
        for function in &self.functions {
            match client.remove(&scope, function).await.map_err(Failure::from) {
                Ok(()) => {
                    report.removed.push(function);
                    if text {
                        output::note(&format!("removed {function}"));
                    }
                }
                // The others would fail the same way.
                Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                Err(failure) => {
                    report.failed.push(Failed {
                        function,
                        message: failure.message.clone(),
                    });
                    if first.is_some() {
                        output::failure(&failure, global.format());
                    } else {
                        first = Some(failure);
                    }
                }
            }
        }
        if !text {
            output::json(&report)?;
        }
        first.map_or(Ok(()), Err)
    }
}
