//! `sonagi restore`: a state directory from a backup.

use std::path::PathBuf;

use clap::Args;

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Fill an empty state directory from a backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi restore /var/backups/sonagi-monday --data /var/lib/sonagi --key-file /etc/sonagi/master.key
  sonagi up --data /var/lib/sonagi                  afterwards

Every file's digest is checked. Events that were pending run after the next start: one that was under way when the
backup was made runs again. The key is the one that the backup was sealed with; it is put into the state directory
as master.key.")]
pub struct Restore {
    /// The backup
    backup: PathBuf,

    /// File with the key that the backup is sealed with
    #[arg(long, env = "SONAGI_KEY_FILE", value_name = "FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,
}

impl Restore {
    /// Does it.
    pub fn run(self, global: &Global) -> Result {
        let target = global.data()?;
        let restored = sonagi_server::restore(&self.backup, &target, self.key_file.as_deref()).map_err(|error| {
            Failure::caused(
                Exit::Refused,
                format!("{} cannot be restored", self.backup.display()),
                &error,
            )
        })?;
        match global.format() {
            Format::Text => output::line(&format!(
                "{}: {} files, {} bytes",
                target.display(),
                restored.files,
                restored.bytes
            ))?,
            Format::Json => output::json(&serde_json::json!({
                "data": target, "files": restored.files, "bytes": restored.bytes
            }))?,
        }
        output::next(&format!("sonagi up --data {}", target.display()));
        Ok(())
    }
}
