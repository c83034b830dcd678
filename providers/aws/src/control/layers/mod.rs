//! Layers: what several functions share, by versions that never change. All layers of a function are one tree beside its
//! code, stored, checked and verified as code is.
//! Source: "Managing Lambda dependencies with layers" of the Lambda developer guide; the service model of botocore 1.44.5.

mod access;
mod merge;
mod operations;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use sonagi_control::{Catalog, Documents, HeldArtifact};
use sonagi_model::{ArtifactRef, Document};
use sonagi_ports::{MetadataStore, Record, StoreError};

use record::LayerRecord;
pub(crate) use record::{LayerName, LayerUse, VersionRecord};

use super::Control;
use crate::errors::{Code, LambdaError, of_upload};
use crate::place::{AccountId, Place};

/// The set of documents that holds layers, one for each, by `ACCOUNT/REGION/NAME`.
const COLLECTION: &str = "aws.layers";
/// Layers of one function.
const LAYERS_MAX: usize = 5;

/// All layers of this platform. What is published stays stored while it is listed here or a function has it.
#[derive(Debug)]
pub(crate) struct Layers {
    documents: Documents,
    catalog: Arc<Catalog>,
    /// Holds on the archives of listed versions, by the layer's key and the version.
    held: parking_lot::Mutex<BTreeMap<(String, u64), HeldArtifact>>,
    /// Changes one after the other: numbers of versions are never used twice.
    turn: tokio::sync::Mutex<()>,
}

impl Layers {
    /// The layers among the records.
    ///
    /// # Errors
    /// [`StoreError`]: one cannot be read.
    pub(crate) fn load(
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        catalog: Arc<Catalog>,
    ) -> Result<Self, StoreError> {
        let layers = Self {
            documents: Documents::load(records, COLLECTION, store),
            catalog,
            held: parking_lot::Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        for (key, document) in layers.documents.all().iter() {
            let record: LayerRecord =
                serde_json::from_value(document.0.clone()).map_err(|error| StoreError::Unreadable {
                    what: format!("layer {key}"),
                    why: error.to_string(),
                })?;
            let mut held = layers.held.lock();
            for (number, version) in &record.versions {
                held.insert((key.clone(), *number), layers.catalog.hold(version.artifact.clone()));
            }
        }
        Ok(layers)
    }

    fn get(&self, name: &LayerName) -> Option<LayerRecord> {
        let document = self.documents.get(&name.key())?;
        // It was read when the platform started, and written by it since.
        serde_json::from_value(document.0).ok()
    }

    /// A version that is listed.
    pub(crate) fn version(&self, name: &LayerName, number: u64) -> Option<VersionRecord> {
        self.get(name)?.versions.remove(&number)
    }

    /// The layers of a place, by name.
    fn of(&self, place: &Place) -> Vec<(LayerName, LayerRecord)> {
        let prefix = format!("{}/{}/", place.account, place.region);
        let all = self.documents.all();
        let own = all
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        own.filter_map(|(key, document)| {
            let name = LayerName {
                place: place.clone(),
                name: key[prefix.len()..].to_owned(),
            };
            Some((name, serde_json::from_value(document.0.clone()).ok()?))
        })
        .collect()
    }

    /// Bytes of all archives of a place.
    pub(crate) fn bytes(&self, place: &Place) -> u64 {
        let all = self.of(place);
        let versions = all.iter().flat_map(|(_, record)| record.versions.values());
        versions.map(|version| version.artifact.size).sum()
    }

    async fn put(&self, name: &LayerName, record: &LayerRecord) -> Result<(), LambdaError> {
        let document = Document(serde_json::to_value(record).unwrap_or_default());
        self.documents
            .put(&name.key(), document)
            .await
            .map_err(LambdaError::from)
    }
}

/// The layers that a function is to have, found and joined.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) uses: Vec<LayerUse>,
    /// Holds the tree until a revision has it.
    pub(crate) held: Option<HeldArtifact>,
}

impl Joined {
    /// The tree.
    pub(crate) fn artifact(&self) -> Option<ArtifactRef> {
        self.held.as_ref().map(|held| held.artifact().clone())
    }
}

impl Control {
    /// Finds the layers that a request names, and joins them into one tree; later ones win.
    ///
    /// # Errors
    /// 400 for layers that do not exist, may not be used, are too many or too large together.
    pub(crate) async fn join_layers(&self, place: &Place, arns: &[String]) -> Result<Joined, LambdaError> {
        if arns.len() > LAYERS_MAX {
            return Err(LambdaError::invalid("Cannot reference more than 5 layers."));
        }
        let mut found: Vec<(LayerUse, ArtifactRef)> = Vec::with_capacity(arns.len());
        let mut names: Vec<LayerName> = Vec::new();
        for arn in arns {
            let (name, number) = LayerName::of_version(arn)?;
            if name.place.region != place.region {
                return Err(LambdaError::invalid(format!(
                    "Layer version {arn} is not in this region ({}).",
                    place.region
                )));
            }
            let missing = || LambdaError::invalid(format!("Layer version {arn} does not exist."));
            let version = self.layers.version(&name, number).ok_or_else(missing)?;
            self.may_use(&place.account, &name, &version, arn)?;
            if names.contains(&name) {
                return Err(LambdaError::invalid(format!(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. {} \
                     and {arn}",
                    name.version_arn(number)
                )));
            }
            names.push(name);
            let used = LayerUse {
                arn: arn.clone(),
                size: version.artifact.size,
            };
            found.push((used, version.artifact));
        }
        let held = self.join(&found).await?;
        Ok(Joined {
            uses: found.into_iter().map(|(used, _)| used).collect(),
            held,
        })
    }

    async fn join(&self, found: &[(LayerUse, ArtifactRef)]) -> Result<Option<HeldArtifact>, LambdaError> {
        let artifacts: Vec<&ArtifactRef> = found.iter().map(|(_, artifact)| artifact).collect();
        match artifacts.as_slice() {
            [] => return Ok(None),
            [one] => return Ok(Some(self.catalog.hold((*one).clone()))),
            _ => {}
        }
        let mut archives = Vec::with_capacity(artifacts.len());
        for artifact in artifacts {
            let archive = self.catalog.artifacts().archive(artifact).await.map_err(|error| {
                tracing::error!(error = &error as &dyn std::error::Error, "a layer cannot be read");
                LambdaError::new(Code::Service, "The stored layer could not be read.")
            })?;
            archives.push(archive);
        }
        let joined = tokio::task::spawn_blocking(move || merge::merge(&archives)).await;
        let joined = joined.map_err(|_| LambdaError::new(Code::Service, "The layers could not be joined."))?;
        let joined = joined.map_err(|error| LambdaError::invalid(format!("The layers cannot be joined: {error}")))?;
        let mut limits = self.limits.archive.clone();
        // It is as large as its parts are together, each of which was small enough.
        limits.packed = limits.unpacked;
        limits.entries = limits.entries.saturating_mul(LAYERS_MAX);
        let stored = self.catalog.store_artifact(joined, &limits).await;
        stored.map(Some).map_err(|error| of_upload(error, &self.limits))
    }

    /// Checks that code and layers together are not too large.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn check_unpacked(&self, code: &ArtifactRef, layers: Option<&ArtifactRef>) -> Result<(), LambdaError> {
        let limit = self.limits.archive.unpacked;
        let all = code
            .unpacked_size
            .saturating_add(layers.map_or(0, |layers| layers.unpacked_size));
        if all > limit {
            return Err(LambdaError::invalid(format!(
                "Function code combined with layers exceeds the maximum allowed size of {limit} bytes. The actual size is \
                 {all} bytes."
            )));
        }
        Ok(())
    }

    fn may_use(
        &self,
        account: &AccountId,
        name: &LayerName,
        version: &VersionRecord,
        arn: &str,
    ) -> Result<(), LambdaError> {
        if name.place.account == *account || version.allows(account) {
            return Ok(());
        }
        Err(LambdaError::new(
            Code::AccessDenied,
            format!(
                "User: {} is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no \
                 resource-based policy allows the lambda:GetLayerVersion action",
                account.root_arn()
            ),
        ))
    }
}
