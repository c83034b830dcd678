//! The operations on layers.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use sonagi_model::ArtifactRef;
use sonagi_wire::Body;
use uuid::Uuid;

use super::record::{LayerName, LayerRecord, VersionRecord};
use crate::control::page::Paging;
use crate::control::render::code_sha256;
use crate::control::request::CodeInput;
use crate::control::text::list_time;
use crate::control::validate::Violations;
use crate::control::{Control, ControlCall, json, no_content};
use crate::errors::{Code, LambdaError};
use crate::json::Text;

/// `PublishLayerVersion`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PublishInput<'a> {
    description: Option<String>,
    #[serde(borrow)]
    content: Option<ContentInput<'a>>,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
    license_info: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContentInput<'a> {
    #[serde(borrow)]
    zip_file: Option<Text<'a>>,
    #[serde(rename = "S3Bucket")]
    s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    s3_object_version: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContentShown {
    location: String,
    code_sha256: String,
    code_size: u64,
}

/// A version as it is shown: whole, or as a line of a listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<ContentShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_arn: Option<String>,
    layer_version_arn: String,
    version: u64,
    description: String,
    created_date: String,
    compatible_runtimes: Vec<String>,
    compatible_architectures: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionsShown {
    layer_versions: Vec<VersionShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayerShown {
    layer_name: String,
    layer_arn: String,
    latest_matching_version: VersionShown,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayersShown {
    layers: Vec<LayerShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// The number of a version in a path.
pub(super) fn number(text: &str) -> Result<u64, LambdaError> {
    let number: i64 = text.parse().unwrap_or(0);
    if number < 1 {
        return Err(LambdaError::invalid("Layer Version Cannot be less than 1."));
    }
    Ok(number.unsigned_abs())
}

pub(super) fn missing(name: &LayerName, number: u64) -> LambdaError {
    LambdaError::new(
        Code::ResourceNotFound,
        format!(
            "The resource you requested does not exist. Layer version {} does not exist.",
            name.version_arn(number)
        ),
    )
}

fn shown(name: &LayerName, number: u64, version: &VersionRecord) -> VersionShown {
    VersionShown {
        content: None,
        layer_arn: None,
        layer_version_arn: name.version_arn(number),
        version: number,
        description: version.description.clone(),
        created_date: list_time(version.created),
        compatible_runtimes: version.runtimes.clone(),
        compatible_architectures: version.architectures.clone(),
        license_info: version.license.clone(),
    }
}

/// What a listing is narrowed to.
fn fits(call: &ControlCall, version: &VersionRecord) -> bool {
    let wanted =
        |asked: Option<&str>, named: &[String]| asked.is_none_or(|asked| named.iter().any(|name| name == asked));
    wanted(call.query.get("CompatibleRuntime"), &version.runtimes)
        && wanted(call.query.get("CompatibleArchitecture"), &version.architectures)
}

impl Control {
    fn whole(&self, call: &ControlCall, name: &LayerName, number: u64, version: &VersionRecord) -> VersionShown {
        let address = format!("{}://{}", self.address.scheme, call.host);
        let artifact: &ArtifactRef = &version.artifact;
        VersionShown {
            content: Some(ContentShown {
                location: self.links.layer_link(&address, &name.place, &name.name, number),
                code_sha256: code_sha256(artifact),
                code_size: artifact.size,
            }),
            layer_arn: Some(name.arn()),
            ..shown(name, number, version)
        }
    }

    /// `PublishLayerVersion`.
    pub(in crate::control) async fn publish_layer(
        &self,
        call: &ControlCall,
        layer: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let name = LayerName::parse(layer, call.place())?;
        if name.place != *call.place() {
            return Err(LambdaError::access_denied());
        }
        let input: PublishInput<'_> = call.input()?;
        let mut found = Violations::default();
        found.required("content", input.content.is_some());
        found.longest("description", input.description.as_deref(), 256);
        found.longest("licenseInfo", input.license_info.as_deref(), 512);
        found.finish()?;
        let runtimes = input.compatible_runtimes.unwrap_or_default();
        let architectures = input.compatible_architectures.unwrap_or_default();
        if runtimes.len() > 15 || architectures.len() > 2 {
            return Err(LambdaError::invalid(
                "A layer may name 15 runtimes and 2 architectures.",
            ));
        }
        let content = input.content.unwrap_or_default();
        let code = CodeInput {
            zip_file: content.zip_file,
            s3_bucket: content.s3_bucket,
            s3_key: content.s3_key,
            s3_object_version: content.s3_object_version,
            ..CodeInput::default()
        };
        let archive = self.archive(&call.place().account, &code).await?;
        let held = self.store(&name.place, archive).await?;
        let _turn = self.layers.turn.lock().await;
        let mut record: LayerRecord = self.layers.get(&name).unwrap_or_default();
        record.last += 1;
        let version = VersionRecord {
            artifact: held.artifact().clone(),
            description: input.description.unwrap_or_default(),
            runtimes,
            architectures,
            license: input.license_info,
            created: self.clock.now(),
            policy: Vec::new(),
            policy_revision: Uuid::new_v4().to_string(),
        };
        let number = record.last;
        record.versions.insert(number, version.clone());
        self.layers.put(&name, &record).await?;
        self.layers.held.lock().insert((name.key(), number), held);
        Ok(json(StatusCode::CREATED, &self.whole(call, &name, number, &version)))
    }

    /// A version that the caller may see.
    fn visible(&self, call: &ControlCall, name: &LayerName, number: u64) -> Result<VersionRecord, LambdaError> {
        let version = self.layers.version(name, number).ok_or_else(|| missing(name, number))?;
        self.may_use(&call.place().account, name, &version, &name.version_arn(number))?;
        Ok(version)
    }

    /// `GetLayerVersion`.
    pub(in crate::control) fn get_layer(
        &self,
        call: &ControlCall,
        layer: &str,
        version: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (name, number) = (LayerName::parse(layer, call.place())?, number(version)?);
        let version = self.visible(call, &name, number)?;
        Ok(json(StatusCode::OK, &self.whole(call, &name, number, &version)))
    }

    /// `GetLayerVersionByArn`.
    pub(in crate::control) fn get_layer_by_arn(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let (name, number) = LayerName::of_version(call.query.get("Arn").unwrap_or_default())?;
        let version = self.visible(call, &name, number)?;
        Ok(json(StatusCode::OK, &self.whole(call, &name, number, &version)))
    }

    /// `ListLayers`.
    pub(in crate::control) fn list_layers(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let paging = Paging::read(&call.query, self.limits.page)?;
        let all = self.layers.of(call.place());
        let after = |name: &str| paging.after().is_none_or(|after| name > after);
        let lines = all
            .iter()
            .filter(|(name, _)| after(&name.name))
            .filter_map(|(name, record)| {
                let newest = record.versions.iter().rev().find(|(_, version)| fits(call, version));
                newest.map(|(number, version)| LayerShown {
                    layer_name: name.name.clone(),
                    layer_arn: name.arn(),
                    latest_matching_version: shown(name, *number, version),
                })
            });
        let lines: Vec<LayerShown> = lines.take(paging.wanted()).collect();
        let page = paging.cut(lines, |layer| layer.layer_name.clone());
        let shown = LayersShown {
            layers: page.items,
            next_marker: page.next,
        };
        Ok(json(StatusCode::OK, &shown))
    }

    /// `ListLayerVersions`, newest first.
    pub(in crate::control) fn list_layer_versions(
        &self,
        call: &ControlCall,
        layer: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let name = LayerName::parse(layer, call.place())?;
        if name.place != *call.place() {
            return Err(LambdaError::access_denied());
        }
        let paging = Paging::read(&call.query, self.limits.page)?;
        let record = self.layers.get(&name).unwrap_or_default();
        let before: u64 = paging.after().and_then(|after| after.parse().ok()).unwrap_or(u64::MAX);
        let lines = record
            .versions
            .iter()
            .rev()
            .filter(|(number, version)| **number < before && fits(call, version));
        let lines: Vec<VersionShown> = lines
            .take(paging.wanted())
            .map(|(number, version)| shown(&name, *number, version))
            .collect();
        let page = paging.cut(lines, |version| version.version.to_string());
        let shown = VersionsShown {
            layer_versions: page.items,
            next_marker: page.next,
        };
        Ok(json(StatusCode::OK, &shown))
    }

    /// `DeleteLayerVersion`: functions that have it keep it. Deleting what is not there is no error.
    pub(in crate::control) async fn delete_layer(
        &self,
        call: &ControlCall,
        layer: &str,
        version: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (name, number) = (LayerName::parse(layer, call.place())?, number(version)?);
        if name.place != *call.place() {
            return Err(LambdaError::access_denied());
        }
        let _turn = self.layers.turn.lock().await;
        if let Some(mut record) = self.layers.get(&name)
            && record.versions.remove(&number).is_some()
        {
            self.layers.put(&name, &record).await?;
            self.layers.held.lock().remove(&(name.key(), number));
        }
        Ok(no_content())
    }
}
