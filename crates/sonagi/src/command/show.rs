//! `sonagi show`: everything about one function.

use clap::Args;
use sonagi_api::Function;

use super::{alias, config, versions};
use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// Show everything about a function
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi show hello
  sonagi show hello --values            with the values of its variables
  sonagi show hello --output json | jq .digest")]
pub struct Show {
    /// The function
    function: String,

    /// Show the values of variables
    #[arg(long)]
    values: bool,
}

impl Show {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        let view = if self.values {
            client.function_with_values(&scope, &self.function).await?
        } else {
            client.function(&scope, &self.function).await?
        };
        global.format().print(&view, || text(&view))
    }
}

fn text(view: &Function) -> String {
    let mut lines = vec![
        ("function", view.name.clone()),
        ("namespace", view.namespace.clone()),
        ("provider", view.provider_name.clone()),
        ("url", view.url.clone().unwrap_or_else(|| "none".to_owned())),
        ("revision", view.revision.clone()),
        (
            "digest",
            format!("sha256:{} ({})", view.digest, output::bytes(view.size)),
        ),
        ("modified", view.modified.clone()),
        ("contract", view.contract.clone()),
    ];
    lines.extend(config::lines(view));
    let mut text = output::pairs(&lines);
    text.push_str(&format!("\n\n{}", versions::table(&view.versions)));
    if !view.aliases.is_empty() {
        text.push_str(&format!("\n\n{}", alias::table(&view.aliases)));
    }
    text
}
