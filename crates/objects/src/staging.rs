//! Writing a body: a file of its own from the first byte on, named by nobody until a change of the index does.

use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::bodies::{Bodies, sync};
use crate::error::{Error, of_file};
use crate::model::Segment;

/// A body that is being written. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Staging {
    file: File,
    staged: Staged,
}

/// A body that is written and flushed. Dropped before an object has it, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    name: String,
    size: u64,
    bodies: Arc<Bodies>,
    kept: bool,
}

impl Staging {
    pub(crate) async fn begin(bodies: Arc<Bodies>) -> Result<Self, Error> {
        let name = Bodies::name();
        let path = bodies.path(&name);
        let file = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(of_file("create", path))?;
        let staged = Staged {
            name,
            size: 0,
            bodies,
            kept: false,
        };
        Ok(Self { file, staged })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Busy`] at the store's bound, [`Error::Full`], [`Error::File`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.staged.bodies.reserve(bytes.len() as u64)?;
        self.staged.size += bytes.len() as u64;
        let written = self.file.write_all(bytes).await;
        written.map_err(of_file("write", self.staged.bodies.path(&self.staged.name)))
    }

    /// Bytes so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.staged.size
    }

    /// Flushes everything to disk.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::File`].
    pub async fn finish(mut self) -> Result<Staged, Error> {
        let path = self.staged.bodies.path(&self.staged.name);
        self.file.flush().await.map_err(of_file("write", &path))?;
        self.file.sync_all().await.map_err(of_file("flush", &path))?;
        let folder = path.parent().map(std::path::Path::to_owned).unwrap_or_default();
        let flushed = tokio::task::spawn_blocking(move || sync(&folder).map_err(of_file("flush", folder)));
        flushed.await.map_err(|_| Error::Closed)??;
        sonagi_crash::crash_point!("object/written");
        Ok(self.staged)
    }
}

impl Staged {
    /// Bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn segments(&self) -> Vec<Segment> {
        let whole = Segment {
            body: self.name.clone(),
            offset: 0,
            length: self.size,
        };
        if self.size == 0 { Vec::new() } else { vec![whole] }
    }

    /// From now on the index has it.
    pub(crate) fn keep(mut self) {
        self.kept = self.size > 0;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.bodies.release(self.size);
        let path = self.bodies.path(&self.name);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "a body that nobody needs stays until the next start");
        }
    }
}
