//! Code: archives on their way in, links to download them, `UpdateFunctionCode`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use sonagi_control::{Catalog, HeldArtifact};
use sonagi_model::{FunctionId, Revision, RevisionId};
use sonagi_ports::{ArtifactError, Clock};
use sonagi_wire::Body;
use subtle::ConstantTimeEq;

use super::constraints::check_architectures;
use super::layers::{LayerName, Layers};
use super::render::{Detail, configuration};
use super::request::CodeInput;
use super::settings::{Draft, apply_architectures};
use super::validate::Violations;
use super::versions::{Revise, check_revision_id, publish, revise};
use super::{Control, ControlCall, Query, json};
use crate::arn::Named;
use crate::auth::{Accounts, hmac};
use crate::errors::{self, Code, LambdaError};
use crate::place::{AccountId, Place, Region};
use crate::records::{RevisionRecord, read};

/// Beginning of the path of a download link.
pub(crate) const DOWNLOAD_PATH: &str = "/_lambda/code/";

/// How long a download link works. Source: "GetFunction" in the Lambda API reference.
const LINK_LIFE: Duration = Duration::from_secs(600);

/// What a link downloads.
enum Linked {
    /// The code of a revision.
    Revision(FunctionId, RevisionId),
    /// A version of a layer.
    Layer(Place, String, u64),
}

/// Makes and checks links that download the code of one revision. A link is signed with a key derived from the account's
/// secret, so it works after a restart and dies with the account.
#[derive(Debug)]
pub(crate) struct CodeLinks {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl CodeLinks {
    fn signature(&self, account: &AccountId, path: &str, expires: i64) -> Option<[u8; 32]> {
        let account = self.accounts.get(account)?;
        let key = hmac(account.secret.as_bytes(), b"sonagi code link");
        Some(hmac(&key, format!("{path}\n{expires}").as_bytes()))
    }

    /// A link for everybody who has it, for ten minutes.
    fn link(&self, address: &str, place: &Place, revision: &Revision) -> String {
        let path = format!("{DOWNLOAD_PATH}{}/{}/{}", place.account, revision.function, revision.id);
        self.signed(address, &place.account, &path)
    }

    /// The same for a version of a layer.
    pub(super) fn layer_link(&self, address: &str, place: &Place, layer: &str, number: u64) -> String {
        let path = format!(
            "{DOWNLOAD_PATH}{}/layer/{}/{layer}/{number}",
            place.account, place.region
        );
        self.signed(address, &place.account, &path)
    }

    fn signed(&self, address: &str, account: &AccountId, path: &str) -> String {
        let expires = self.clock.now().plus(LINK_LIFE).as_secs();
        let signature = self
            .signature(account, path, expires)
            .map(hex::encode)
            .unwrap_or_default();
        format!("{address}{path}?Expires={expires}&Signature={signature}")
    }

    fn check(&self, path: &str, query: &Query) -> Option<Linked> {
        let mut parts = path.strip_prefix(DOWNLOAD_PATH)?.split('/');
        let account = AccountId::parse(parts.next()?).ok()?;
        let found = match parts.next()? {
            "layer" => {
                let region = Region::parse(parts.next()?).ok()?;
                let place = Place {
                    account: account.clone(),
                    region,
                };
                Linked::Layer(place, parts.next()?.to_owned(), parts.next()?.parse().ok()?)
            }
            function => Linked::Revision(function.parse().ok()?, parts.next()?.parse().ok()?),
        };
        let expires: i64 = query.get("Expires")?.parse().ok()?;
        let mut given = [0; 32];
        hex::decode_to_slice(query.get("Signature")?, &mut given).ok()?;
        let good = self.signature(&account, path, expires)?.ct_eq(&given);
        (bool::from(good) && self.clock.now().as_secs() <= expires).then_some(found)
    }

    /// Answers a download link.
    ///
    /// # Errors
    /// 403 for a link that is wrong or over, 404 for code that is gone, 502 for damaged code.
    pub(crate) async fn download(
        &self,
        (catalog, layers): (&Catalog, &Layers),
        path: &str,
        query: &Query,
    ) -> Result<Response<Body>, LambdaError> {
        let denied = || {
            LambdaError::new(
                Code::AccessDenied,
                "The link is wrong or has expired. Ask GetFunction for a new one.",
            )
        };
        let artifact = match self.check(path, query).ok_or_else(denied)? {
            Linked::Revision(function, revision) => {
                let entry = catalog.get(function);
                entry.and_then(|entry| Some(entry.revisions.get(&revision)?.artifact.clone()))
            }
            Linked::Layer(place, name, number) => {
                let version = layers.version(&LayerName { place, name }, number);
                version.map(|version| version.artifact)
            }
        };
        let artifact = artifact.ok_or_else(LambdaError::resource_not_found)?;
        let archive = catalog.artifacts().archive(&artifact).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "code cannot be downloaded");
            match error {
                ArtifactError::Damaged { .. } => errors::damaged(),
                ArtifactError::Missing(_) | ArtifactError::Refused(_) | ArtifactError::Io { .. } => {
                    LambdaError::new(Code::Service, "The stored code could not be read.")
                }
            }
        })?;
        let mut response = Response::new(sonagi_wire::full(archive));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        Ok(response)
    }
}

/// The archive that a request carries.
///
/// # Errors
/// 400 for what is not base64, 413 for archives over the limit.
pub(super) fn carried(text: &str, limit: u64) -> Result<Bytes, LambdaError> {
    if text.is_empty() {
        return Err(LambdaError::invalid("Please provide a source for function code."));
    }
    // Four characters are three bytes: an archive over the limit is refused before it is decoded.
    if (text.len() as u64 / 4).saturating_mul(3) > limit.saturating_add(3) {
        return Err(too_large(limit));
    }
    let bytes = STANDARD.decode(text).map_err(|_| {
        LambdaError::invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
    })?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(Bytes::from(bytes))
}

/// What the service says when it cannot fetch code from a bucket.
fn not_fetched(code: &str, message: &str) -> LambdaError {
    LambdaError::invalid(format!(
        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    ))
}

fn too_large(limit: u64) -> LambdaError {
    LambdaError::new(
        Code::RequestEntityTooLarge,
        format!("Zipped size must be smaller than {limit} bytes"),
    )
}

impl Control {
    /// The archive that a request carries, or that it says where to find.
    ///
    /// # Errors
    /// 400 for what is not base64 or cannot be fetched, 413 for archives over the limit.
    pub(crate) async fn archive(&self, account: &AccountId, input: &CodeInput<'_>) -> Result<Bytes, LambdaError> {
        let limit = self.limits.archive.packed;
        if input.image_uri.is_some() {
            return Err(LambdaError::not_offered("Container images (ImageUri) are"));
        }
        match (&input.s3_bucket, &input.s3_key) {
            (Some(bucket), Some(key)) => {
                let version = input.s3_object_version.as_deref();
                self.fetched(account, (bucket, key, version)).await
            }
            (None, None) => {
                let text = input.zip_file.as_ref().map(|text| text.0.as_ref());
                carried(text.unwrap_or_default(), limit)
            }
            (Some(_), None) | (None, Some(_)) => {
                Err(LambdaError::invalid("S3Bucket and S3Key must be given together."))
            }
        }
    }

    /// The content of an object of an account.
    pub(super) async fn fetched(
        &self,
        account: &AccountId,
        (bucket, key, version): (&str, &str, Option<&str>),
    ) -> Result<Bytes, LambdaError> {
        let limit = self.limits.archive.packed;
        let failed = |error: sonagi_objects::Error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "code in a bucket cannot be read"
            );
            LambdaError::new(Code::Service, "The object could not be read.")
        };
        let found = self.objects.bucket(bucket).await.map_err(failed)?;
        let found = found.ok_or_else(|| not_fetched("NoSuchBucket", "The specified bucket does not exist"))?;
        if found.owner != account.as_str() {
            return Err(not_fetched("AccessDenied", "Access Denied"));
        }
        if version.is_some_and(|version| version != "null") {
            return Err(not_fetched("NoSuchVersion", "The specified version does not exist."));
        }
        let found = self.objects.get(bucket, key).await.map_err(failed)?;
        let found = found.ok_or_else(|| not_fetched("NoSuchKey", "The specified key does not exist."))?;
        let size = found.object.size;
        if size > limit {
            return Err(too_large(limit));
        }
        let mut archive = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut reading = found.read(0..size);
        while let Some(bytes) = reading.next().await.map_err(failed)? {
            archive.extend_from_slice(&bytes);
        }
        Ok(Bytes::from(archive))
    }

    /// Checks and stores an archive for a function of this place.
    ///
    /// # Errors
    /// [`LambdaError`].
    pub(crate) async fn store(&self, place: &Place, archive: Bytes) -> Result<HeldArtifact, LambdaError> {
        let used: u64 = self.code_bytes(place);
        if used.saturating_add(archive.len() as u64) > self.limits.account_code {
            return Err(LambdaError::new(
                Code::CodeStorageExceeded,
                "Code storage limit exceeded.",
            ));
        }
        let stored = self.catalog.store_artifact(archive, &self.limits.archive).await;
        stored.map_err(|error| errors::of_upload(error, &self.limits))
    }

    /// Bytes of all archives of a place, each revision for itself, as the service counts versions.
    pub(crate) fn code_bytes(&self, place: &Place) -> u64 {
        let namespace = place.namespace();
        let entries = self.catalog.list(&namespace, None, usize::MAX);
        entries
            .iter()
            .flat_map(|entry| entry.revisions.values())
            .map(|revision| revision.artifact.size)
            .sum::<u64>()
            .saturating_add(self.layers.bytes(place))
    }

    /// The link for `Code.Location`.
    pub(super) fn code_location(&self, call: &ControlCall, named: &Named, revision: &Revision) -> String {
        let address = format!("{}://{}", self.address.scheme, call.host);
        self.links.link(&address, &named.place, revision)
    }

    /// `UpdateFunctionCode`.
    pub(super) async fn update_code(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let input: CodeInput<'_> = call.input()?;
        let mut found = Violations::default();
        check_architectures(&mut found, input.architectures.as_deref());
        found.finish()?;
        if input.publish_to.is_some() {
            return Err(LambdaError::not_offered("PublishTo is"));
        }
        let entry = self.entry(&named)?;
        let current: RevisionRecord = read(&entry.latest().document)?;
        check_revision_id(input.revision_id.as_deref(), &current)?;
        let archive = self.archive(&call.caller.place.account, &input).await?;
        let held = self.store(&named.place, archive).await?;
        self.check_unpacked(held.artifact(), entry.latest().beside.as_ref())?;
        let architectures = input.architectures.as_deref();
        if input.dry_run == Some(true) {
            let mut would = (**entry.latest()).clone();
            would.artifact = held.artifact().clone();
            return Ok(json(
                StatusCode::OK,
                &configuration(&would, &named.place, named.arn(), Detail::Full)?,
            ));
        }
        let decide = |edit: &mut sonagi_control::Edit| {
            let latest = Arc::clone(edit.entry().latest());
            let record: RevisionRecord = read(&latest.document)?;
            check_revision_id(input.revision_id.as_deref(), &record)?;
            let mut draft = Draft {
                spec: latest.spec.clone(),
                settings: record.settings,
            };
            apply_architectures(architectures, &mut draft.settings);
            let change = Revise {
                artifact: Some(held.artifact().clone()),
                beside: None,
                draft,
                history: self.limits.history,
            };
            let revision = revise(edit, change)?;
            match input.publish {
                Some(true) => publish(edit, None),
                Some(false) | None => Ok(revision),
            }
        };
        let (_, revision) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        let arn = match input.publish {
            Some(true) => format!("{}:{}", named.arn(), revision.label),
            Some(false) | None => named.arn(),
        };
        Ok(json(
            StatusCode::OK,
            &configuration(&revision, &named.place, arn, Detail::Full)?,
        ))
    }
}
