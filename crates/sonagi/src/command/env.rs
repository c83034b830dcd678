//! `sonagi env`: what a provider's own clients need, for a shell.

use clap::Args;

use super::deploy::shell;
use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// Print the variables with which a provider's own clients reach this platform
///
/// The output holds a secret key. Variables of functions are set by `sonagi deploy --env` and `sonagi config --env`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi env aws
  sonagi env ow                                  OpenWhisk: npm openwhisk, wsk, Serverless
  sonagi env aws --output json
  eval \"$(sonagi env aws)\"                        then: aws lambda list-functions
  eval \"$(sonagi env aws --account 111122223333)\"")]
pub struct Env {
    /// The provider
    provider: String,
}

impl Env {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let environment = global.client()?.environment(&self.provider, global.account()).await?;
        global.format().print(&environment, || {
            let lines = environment
                .variables
                .iter()
                .map(|pair| format!("export {}={}", pair.name, quoted(&pair.value)));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            output::next(&format!("eval \"$(sonagi env {})\"", shell(&self.provider)));
        }
        Ok(())
    }
}

/// Quotes a value for a shell, whatever is in it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
