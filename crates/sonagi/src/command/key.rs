//! `sonagi key`: the key that seals what is secret in the state directory, while the platform is stopped.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sonagi_server::{KeyError, KeyReport, KeySource, StateDir, StateDirError};

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Show or exchange the key that seals variables and credentials in the state directory
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi key show
  sonagi key rotate                                  a new key in place of DATA/master.key
  sonagi key rotate --to /etc/sonagi/master.key      from the state directory into a file elsewhere
  sonagi key rotate --key-file OLD --to NEW

The platform must be stopped. Keep the key apart from backups: they are sealed with it and do not have it.")]
pub struct Key {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell which key it is and where
    Show {
        /// File with the key [default: `master.key` in the state directory]
        #[arg(long, env = "SONAGI_KEY_FILE", value_name = "FILE", hide_env_values = true)]
        key_file: Option<PathBuf>,
    },
    /// Exchange it; everything sealed stays readable
    Rotate {
        /// File with the present key [default: `master.key` in the state directory]
        #[arg(long, env = "SONAGI_KEY_FILE", value_name = "FILE", hide_env_values = true)]
        key_file: Option<PathBuf>,
        /// File with the new key, made if it is not there [default: it takes the present one's place]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

impl Key {
    /// Does it.
    pub fn run(self, global: &Global) -> Result {
        let data = global.data()?;
        let dir = StateDir::open(&data).map_err(|error| {
            let busy = matches!(error, StateDirError::InUse { .. });
            let failure = Failure::caused(Exit::Refused, "the key cannot be looked at", &error);
            if busy {
                failure.hint("stop the platform first; `sonagi doctor` tells the key of a running one")
            } else {
                failure
            }
        })?;
        let source = |file: Option<PathBuf>| file.map_or(KeySource::StateDir, KeySource::File);
        let report = match self.what {
            What::Show { key_file } => sonagi_server::inspect_key(&dir, &source(key_file)),
            What::Rotate {
                key_file: Some(_),
                to: None,
            } => {
                return Err(
                    Failure::usage("a key in a file of its own is exchanged into another file")
                        .hint("name it with --to FILE; the old file stays until you remove it"),
                );
            }
            What::Rotate { key_file, to } => sonagi_server::rotate_key(&dir, &source(key_file), to.as_deref()),
        };
        print(global, &report.map_err(|error| refused(&error))?)
    }
}

fn refused(error: &KeyError) -> Failure {
    Failure::caused(Exit::Refused, "the key cannot be used", error)
}

fn print(global: &Global, report: &KeyReport) -> Result {
    let file = report.file.display().to_string();
    let document = serde_json::json!({ "key": report.id, "file": file, "data_keys": report.data_keys });
    global.format().print(&document, || {
        output::pairs(&[
            ("key", report.id.clone()),
            ("file", file.clone()),
            ("data keys", report.data_keys.to_string()),
        ])
    })?;
    output::next("sonagi up");
    Ok(())
}
