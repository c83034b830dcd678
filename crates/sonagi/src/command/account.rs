//! `sonagi account`: accounts with keys of their own.

use clap::{Args, Subcommand};
use sonagi_api::{Accounts, NewAccount};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// List, make and remove accounts
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi account ls
  sonagi account add                  an account with a made-up id
  sonagi account add 111122223333     this id
  sonagi account add team --provider openwhisk
  sonagi account rm 111122223333      it must have no functions
  eval \"$(sonagi env aws --account 111122223333)\"")]
pub struct Account {
    #[command(subcommand)]
    action: Action,

    /// Provider whose accounts are meant [default: the first one; `ls`: all]
    #[arg(long, global = true, value_name = "PROVIDER")]
    provider: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an account
    Add {
        /// Its id, in the provider's form
        id: Option<String>,
    },
    /// List accounts
    Ls,
    /// Remove an account that has no functions
    Rm {
        /// Its id
        id: String,
    },
}

impl Account {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, provider) = (global.client()?, self.provider.as_deref());
        match self.action {
            Action::Add { id } => {
                let account = client.add_account(provider, &NewAccount { id }).await?;
                global.format().print(&account, || {
                    output::pairs(&[
                        ("account", account.id.clone()),
                        ("key", account.key.clone()),
                        ("namespace", account.namespace.clone()),
                    ])
                })?;
                output::next(&format!(
                    "eval \"$(sonagi env {} --account {})\"",
                    account.provider, account.id
                ));
                Ok(())
            }
            Action::Ls => {
                let accounts = client.accounts(provider).await?;
                global.format().print(&accounts, || table(&accounts))?;
                if let Some(account) = accounts.accounts.first() {
                    output::next(&format!(
                        "eval \"$(sonagi env {} --account {})\"",
                        account.provider, account.id
                    ));
                }
                Ok(())
            }
            Action::Rm { id } => {
                client.remove_account(provider, &id).await.map_err(|error| {
                    Failure::from(error)
                        .hint_if(Exit::NotFound, "`sonagi account ls` lists accounts")
                        .hint_if(
                            Exit::Refused,
                            format!("`sonagi ls --account {id}` lists what is in its way, `sonagi rm` removes it"),
                        )
                })?;
                match global.format() {
                    Format::Text => output::note(&format!("removed account {id}")),
                    Format::Json => output::json(&serde_json::json!({ "removed": id }))?,
                }
                Ok(())
            }
        }
    }
}

fn table(accounts: &Accounts) -> String {
    let rows = accounts
        .accounts
        .iter()
        .cloned()
        .map(|account| [account.provider, account.id, account.key, account.namespace]);
    output::table(["PROVIDER", "ACCOUNT", "KEY", "NAMESPACE"], rows)
}
