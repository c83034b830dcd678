//! `sonagi rollback`: makes an earlier revision live again.

use clap::Args;
use sonagi_api::Rollback as Wish;

use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// Make an earlier revision of a function live again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi rollback hello             the one before the live one
  sonagi rollback hello 3           the code and settings of version 3
  sonagi rollback hello rev_0191e8a000007000800000000000000a")]
pub struct Rollback {
    /// The function
    function: String,

    /// Version, or id of a revision [default: the one before the live one]
    to: Option<String>,
}

impl Rollback {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let live = global
            .client()?
            .roll_back(&global.scope(), &self.function, &Wish { to: self.to })
            .await?;
        global.format().print(&live, || {
            output::pairs(&[
                ("function", self.function.clone()),
                ("live", format!("{} ({})", live.label, live.revision)),
                ("digest", format!("sha256:{}", live.digest)),
            ])
        })?;
        output::next(&format!("sonagi invoke {}", super::deploy::shell(&self.function)));
        Ok(())
    }
}
