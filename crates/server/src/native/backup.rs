//! Backups of the platform's state.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use sonagi_api as api;
use sonagi_store::{Backup, BackupError, BackupReport};

use super::Shared;
use super::answer::Refusal;

/// Writes backups.
#[async_trait]
pub trait Backups: Send + Sync + std::fmt::Debug {
    /// See [`Backup::write`].
    ///
    /// # Errors
    /// [`BackupError`].
    async fn write(&self, target: PathBuf) -> Result<BackupReport, BackupError>;
}

#[async_trait]
impl Backups for Backup {
    async fn write(&self, target: PathBuf) -> Result<BackupReport, BackupError> {
        Self::write(self, &target).await
    }
}

pub(super) async fn write(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<api::BackupRequest>,
) -> Result<Json<api::BackupReport>, Refusal> {
    let target = PathBuf::from(&request.to);
    if !target.is_absolute() {
        return Err(Refusal::invalid(format!("{:?} is not an absolute path", request.to)));
    }
    // One after the other: each reads and writes everything.
    let _turn = shared.backups.lock().await;
    let report = shared.backup.write(target).await.map_err(|error| match error {
        BackupError::Folder { .. } => Refusal::new(api::ErrorCode::Conflict, error.to_string())
            .hint("name a folder that is empty or not there yet"),
        BackupError::Store(error) => error.into(),
        BackupError::Damaged { .. }
        | BackupError::Io { .. }
        | BackupError::Database { .. }
        | BackupError::NoKey { .. }
        | BackupError::Key(_)
        | BackupError::StateDir(_) => {
            let chain: &dyn std::error::Error = &error;
            tracing::error!(error = chain, "a backup failed");
            Refusal::new(api::ErrorCode::Platform, error.to_string())
                .hint("the platform's process must be able to write there; its own log says more")
        }
    })?;
    Ok(Json(api::BackupReport {
        to: request.to,
        files: report.files as u64,
        bytes: report.bytes,
        key: report.key,
    }))
}
