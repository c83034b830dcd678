//! `sonagi backup`: everything that cannot be made again, of one moment, into a folder.

use std::path::PathBuf;

use clap::Args;
use sonagi_api::BackupRequest;

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Write a backup of the running platform into a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi backup /var/backups/sonagi-monday
  sonagi backup ./copy && sonagi restore ./copy --data ./elsewhere

The platform goes on working meanwhile; what was acknowledged before is in the backup. Secrets are in it as they
are in the state directory: keep it as safe. The folder is on the platform's machine.")]
pub struct Backup {
    /// A folder that is empty or not there yet
    folder: PathBuf,
}

impl Backup {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let absolute = std::path::absolute(&self.folder)
            .map_err(|error| Failure::caused(Exit::Failure, "the folder has no absolute path", &error))?;
        let to = absolute.to_string_lossy().into_owned();
        let report = global.client()?.backup(&BackupRequest { to }).await?;
        global.format().print(&report, || {
            format!("{}: {} files, {} bytes", report.to, report.files, report.bytes)
        })?;
        output::next(&format!("sonagi restore {} --data DIR", self.folder.display()));
        Ok(())
    }
}
