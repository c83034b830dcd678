//! `sonagi ls`: what is deployed.

use clap::Args;
use sonagi_api::Functions;

use crate::context::Global;
use crate::failure::Result;
use crate::{output, values};

/// List functions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi ls
  sonagi ls --all                       of every account
  sonagi ls --output json | jq -r '.functions[].name'")]
pub struct Ls {
    /// Of every account
    #[arg(short, long)]
    all: bool,
}

impl Ls {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let client = global.client()?;
        let functions = if self.all {
            client.all_functions().await?
        } else {
            client.functions(&global.scope()).await?
        };
        global.format().print(
            &functions,
            || if self.all { all(&functions) } else { table(&functions) },
        )?;
        if functions.functions.is_empty() {
            output::next("sonagi new hello --template python && sonagi deploy hello");
        }
        Ok(())
    }
}

fn cells(function: &sonagi_api::Function) -> [String; 5] {
    [
        function.name.clone(),
        function.runtime.clone(),
        format!("{} MiB", function.memory_mib),
        values::duration_text(std::time::Duration::from_millis(function.timeout_ms)),
        function.url.clone().unwrap_or_default(),
    ]
}

fn table(functions: &Functions) -> String {
    output::table(
        ["FUNCTION", "RUNTIME", "MEMORY", "TIMEOUT", "URL"],
        functions.functions.iter().map(cells),
    )
}

fn all(functions: &Functions) -> String {
    let rows = functions.functions.iter().map(|function| {
        let [name, runtime, memory, timeout, url] = cells(function);
        [function.namespace.clone(), name, runtime, memory, timeout, url]
    });
    output::table(["NAMESPACE", "FUNCTION", "RUNTIME", "MEMORY", "TIMEOUT", "URL"], rows)
}
