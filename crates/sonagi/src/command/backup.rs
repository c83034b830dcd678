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
  sonagi backup ./copy && sonagi restore ./copy --data ./elsewhere --key-file DATA/master.key

The platform goes on working meanwhile; what was acknowledged before is in the backup. Variables and credentials
are sealed, and the key is not in it: keep the key (master.key of the state directory, unless --key-file names
another) apart from it, and safe, for a restore needs both. Code, contents of events and logs are not sealed. The
folder is on the platform's machine.")]
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
        if let Some(key) = &report.key {
            output::note(&format!("sealed with key {key}, which is not in it: keep that key too"));
        }
        output::next(&format!(
            "sonagi restore {} --data DIR --key-file FILE",
            self.folder.display()
        ));
        Ok(())
    }
}
