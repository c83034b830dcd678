//! `sonagi versions`: frozen revisions of a function.

use clap::Args;
use sonagi_api::{Version, Versions as Answer};

use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// List the versions of a function, or freeze the live revision as a new one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi versions hello
  sonagi versions hello --publish       the live code and settings get a number")]
pub struct Versions {
    /// The function
    function: String,

    /// Freeze the live revision under a new label
    #[arg(long)]
    publish: bool,
}

impl Versions {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        if self.publish {
            let version = client.publish(&scope, &self.function).await?;
            global
                .format()
                .print(&version, || table(std::slice::from_ref(&version)))?;
            output::next(&format!(
                "sonagi alias {} prod {}",
                super::deploy::shell(&self.function),
                version.label
            ));
            return Ok(());
        }
        let versions: Answer = client.versions(&scope, &self.function).await?;
        global.format().print(&versions, || table(&versions.versions))
    }
}

/// Versions, one a line.
pub fn table(versions: &[Version]) -> String {
    output::table(
        ["VERSION", "REVISION", "CREATED", "DIGEST", ""],
        versions.iter().map(|version| {
            let digest = version.digest.to_string();
            let live = if version.live { "live" } else { "" };
            [
                version.label.clone(),
                version.revision.clone(),
                version.created.clone(),
                digest.chars().take(12).collect(),
                live.to_owned(),
            ]
        }),
    )
}
