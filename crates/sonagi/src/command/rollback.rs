//! `sonagi rollback`: makes an earlier revision live again.

use clap::Args;
use sonagi_api::Rollback as Wish;

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, values};

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
        let (function, qualifier) = values::qualified(self.function.clone(), None)?;
        if let Some(qualifier) = qualifier {
            return Err(Failure::usage("a version or alias of a function cannot be rolled back")
                .hint(format!("`sonagi rollback {function} VERSION` makes VERSION live; `sonagi alias {function} {qualifier} VERSION` moves an alias")));
        }
        let live = global
            .client()?
            .roll_back(&global.scope(), &self.function, &Wish { to: self.to })
            .await
            .map_err(|error| {
                Failure::from(error).hint_if(
                    Exit::NotFound,
                    format!(
                        "`sonagi versions {function}` lists what there is to go back to, `sonagi ls` the functions"
                    ),
                )
            })?;
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
