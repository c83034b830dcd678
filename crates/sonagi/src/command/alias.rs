//! `sonagi alias`: movable names for versions.

use clap::Args;
use sonagi_api::{self as api, AliasTarget, ClientError, Split};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, values};

/// List, make, move and remove aliases of a function
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi alias hello                          list
  sonagi alias hello prod 3                   prod is version 3 from now on
  sonagi alias hello prod 3 --split 4=0.1     one call in ten goes to version 4
  sonagi alias hello --rm prod")]
pub struct Alias {
    /// The function
    function: String,

    /// The alias to make or move
    #[arg(requires = "version")]
    alias: Option<String>,

    /// The version that it names
    version: Option<String>,

    /// A second version and its share of calls
    #[arg(long, value_name = "VERSION=SHARE", value_parser = values::split, requires = "version")]
    split: Option<(String, f64)>,

    /// Remove this alias
    #[arg(long, value_name = "ALIAS", conflicts_with_all = ["alias", "version", "split"])]
    rm: Option<String>,
}

impl Alias {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        if let Some(alias) = self.rm.clone() {
            let removed = client.remove_alias(&scope, &self.function, &alias).await;
            removed.map_err(|error| self.explain(error))?;
            match global.format() {
                Format::Text => output::note(&format!("removed alias {alias} of {}", self.function)),
                Format::Json => output::json(&serde_json::json!({ "removed": alias }))?,
            }
            return Ok(());
        }
        match (self.alias.clone(), self.version.clone()) {
            (Some(alias), Some(version)) => {
                let split = self.split.clone().map(|(version, share)| Split { version, share });
                let made = client
                    .put_alias(&scope, &self.function, &alias, &AliasTarget { version, split })
                    .await
                    .map_err(|error| self.explain(error))?;
                global.format().print(&made, || table(std::slice::from_ref(&made)))?;
                output::next(&format!("sonagi invoke {} --qualifier {alias}", self.function));
                Ok(())
            }
            (None, None) => {
                let aliases = client.aliases(&scope, &self.function).await?;
                global.format().print(&aliases, || table(&aliases.aliases))?;
                if aliases.aliases.is_empty() {
                    output::next(&format!("sonagi alias {} prod VERSION", self.function));
                }
                Ok(())
            }
            (Some(_), None) | (None, Some(_)) => Err(Failure::usage("an alias needs a version").hint(format!(
                "`sonagi versions {}` lists versions, `--publish` makes one",
                self.function
            ))),
        }
    }

    /// What is not there can be listed.
    fn explain(&self, error: ClientError) -> Failure {
        let function = &self.function;
        Failure::from(error).hint_if(
            Exit::NotFound,
            format!(
                "`sonagi alias {function}` lists aliases, `sonagi versions {function}` versions, `--publish` makes one"
            ),
        )
    }
}

/// Aliases, one a line.
pub fn table(aliases: &[api::Alias]) -> String {
    output::table(
        ["ALIAS", "VERSION", "SPLIT"],
        aliases.iter().map(|alias| {
            let split = alias
                .split
                .as_ref()
                .map(|split| format!("{}={}", split.version, split.share));
            [alias.name.clone(), alias.version.clone(), split.unwrap_or_default()]
        }),
    )
}
