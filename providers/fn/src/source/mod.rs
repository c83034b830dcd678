//! Uploaded folders: what stands for an image where there are none. The same content under the same name is the same
//! reference, `sonagi.local/NAME@sha256:DIGEST`, which functions have as their `image`.

mod cook;
pub(crate) mod file;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sonagi_control::{Catalog, HeldArtifact};
use sonagi_model::{ArchiveLimits, ArtifactRef};
use sonagi_ports::{Clock, MetadataStore, Record, StoreError};

use crate::errors::FnError;
use crate::limits::FnLimits;
use crate::names::{NAME_MAX, is_segment};
use crate::records::{FORMAT, Recipe};
use crate::runtime::FnContract;
use crate::scoped::Scoped;
use file::{AppFile, FuncFile};

/// The registry that no image comes from.
const REGISTRY: &str = "sonagi.local/";
/// The set of documents that holds uploads.
const COLLECTION: &str = "fn.sources";

/// An upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    format: u32,
    pub(crate) name: String,
    pub(crate) artifact: ArtifactRef,
    pub(crate) recipe: Recipe,
    /// When it was last uploaded, milliseconds since the epoch.
    at: i64,
}

impl Source {
    /// What functions have as their image.
    pub(crate) fn image(&self) -> String {
        format!("{REGISTRY}{}@sha256:{}", self.name, self.artifact.digest)
    }
}

/// Whether an image is one of ours.
pub(crate) fn is_reference(image: &str) -> bool {
    image.starts_with(REGISTRY)
}

/// An upload with what its file says.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) source: Arc<Source>,
    pub(crate) file: FuncFile,
    /// What it says of its app.
    pub(crate) app: Option<AppFile>,
}

/// All uploads.
#[derive(Debug)]
pub(crate) struct Sources {
    table: Scoped<Source>,
    catalog: Arc<Catalog>,
    contract: Arc<FnContract>,
    clock: Arc<dyn Clock>,
    limits: Arc<FnLimits>,
    /// By account and reference.
    held: Mutex<HashMap<(String, String), HeldArtifact>>,
}

impl Sources {
    /// The uploads among the records.
    ///
    /// # Errors
    /// [`StoreError`]: one cannot be read.
    pub(crate) fn load(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        catalog: Arc<Catalog>,
        contract: Arc<FnContract>,
        clock: Arc<dyn Clock>,
        limits: Arc<FnLimits>,
    ) -> Result<Self, StoreError> {
        let table: Scoped<Source> = Scoped::load(records, COLLECTION, store)?;
        let held = table.entries().into_iter().map(|(key, source)| {
            let artifact = catalog.hold(source.artifact.clone());
            (key, artifact)
        });
        Ok(Self {
            held: Mutex::new(held.collect()),
            table,
            catalog,
            contract,
            clock,
            limits,
        })
    }

    /// The upload that an account's image means.
    pub(crate) fn find(&self, account: &str, image: &str) -> Option<Arc<Source>> {
        self.table.get(account, image.strip_prefix(REGISTRY)?)
    }

    /// Takes a folder: checks and stores it, and works out how it is run. To be called with the account's turn.
    ///
    /// # Errors
    /// 400 for an archive or a file that cannot be used.
    pub(crate) async fn upload(&self, account: &str, name: Option<&str>, archive: Bytes) -> Result<Uploaded, FnError> {
        if let Some(name) = name
            && (name.is_empty() || name.len() > NAME_MAX || !is_segment(name))
        {
            return Err(FnError::bad(format!("{name:?} is no name of a function")));
        }
        if archive.is_empty() {
            return Err(FnError::bad(
                "the body is empty: it must be a zip archive of the function's folder",
            ));
        }
        let bounds = ArchiveLimits {
            packed: self.limits.source as u64,
            ..ArchiveLimits::default()
        };
        let held = self.catalog.store_artifact(archive, &bounds).await?;
        let artifact = held.artifact().clone();
        let tree = self.catalog.artifacts().tree(&artifact).await?.path;
        let contract = Arc::clone(&self.contract);
        let cooked = tokio::task::spawn_blocking(move || cook::cook(&tree, &contract)).await;
        let lost = |_| FnError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
        let cook::Cooked { file, app, recipe } = cooked.map_err(lost)?.map_err(FnError::bad)?;
        let name = name
            .or(file.name.as_deref())
            .ok_or_else(|| FnError::bad("Missing name"))?;
        if name.is_empty() || name.len() > NAME_MAX || !is_segment(name) {
            return Err(FnError::bad(format!("{name:?} is no name of a function")));
        }
        let source = Source {
            format: FORMAT,
            name: name.to_owned(),
            artifact,
            recipe,
            at: self.clock.now().as_millis(),
        };
        let image = source.image();
        let key = image.strip_prefix(REGISTRY).unwrap_or_default().to_owned();
        let source = self.table.put(account, &key, source).await?;
        self.held.lock().insert((account.to_owned(), key), held);
        self.forget_old(account).await?;
        Ok(Uploaded { source, file, app })
    }

    /// Forgets the oldest uploads beyond the bound. Functions that were made of them have their code all the same.
    async fn forget_old(&self, account: &str) -> Result<(), FnError> {
        let mut all = self.table.of(account);
        all.sort_by_key(|source| std::cmp::Reverse(source.at));
        for old in all.iter().skip(self.limits.sources.max(1)) {
            let image = old.image();
            let key = image.strip_prefix(REGISTRY).unwrap_or_default();
            self.table.remove(account, key).await?;
            self.held.lock().remove(&(account.to_owned(), key.to_owned()));
        }
        Ok(())
    }
}
