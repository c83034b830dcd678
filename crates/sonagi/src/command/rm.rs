//! `sonagi rm`: removes functions.

use clap::Args;

use crate::context::{Format, Global};
use crate::failure::Result;
use crate::output;

/// Remove functions, with their versions, aliases and logs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi rm hello
  sonagi rm hello api tiny")]
pub struct Rm {
    /// The functions
    #[arg(required = true)]
    functions: Vec<String>,

    /// For scripts that are used to say so: nothing is asked anyway
    #[arg(short, long, hide_short_help = true)]
    yes: bool,
}

impl Rm {
    /// Does it. Stops at the first function that cannot be removed.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        for function in &self.functions {
            client.remove(&scope, function).await?;
            if global.format() == Format::Text {
                output::note(&format!("removed {function}"));
            }
        }
        match global.format() {
            Format::Text => Ok(()),
            Format::Json => output::json(&serde_json::json!({ "removed": self.functions })),
        }
    }
}
