//! Functions as the API shows them.
//! Source: answers recorded from the real service; members that are not set are left out, never `null`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sonagi_model::{ArtifactRef, Revision};

use super::text::list_time;
use crate::errors::LambdaError;
use crate::place::Place;
use crate::records::{LogFormat, Logging, RevisionRecord, SnapStart, TracingMode, Vpc, read};

/// How much of a configuration is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Everything.
    Full,
    /// Without states and runtime version, as in listings.
    Listed,
}

/// `FunctionConfiguration`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Configuration {
    function_name: String,
    function_arn: String,
    runtime: String,
    role: String,
    handler: String,
    code_size: u64,
    description: String,
    timeout: u64,
    memory_size: u32,
    last_modified: String,
    code_sha256: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<VpcShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_config: Option<TargetShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<EnvironmentShown>,
    #[serde(rename = "KMSKeyArn", skip_serializing_if = "Option::is_none")]
    kms_key_arn: Option<String>,
    tracing_config: ModeShown,
    revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<&'static str>,
    package_type: &'static str,
    architectures: [&'static str; 1],
    ephemeral_storage: SizeShown,
    snap_start: SnapStartShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version_config: Option<RuntimeVersionShown>,
    logging_config: LoggingShown,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<LayerShown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayerShown {
    arn: String,
    code_size: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VpcShown {
    subnet_ids: Vec<String>,
    security_group_ids: Vec<String>,
    vpc_id: &'static str,
    ipv6_allowed_for_dual_stack: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetShown {
    target_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EnvironmentShown {
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeShown {
    mode: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SizeShown {
    size: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStartShown {
    apply_on: &'static str,
    optimization_status: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeVersionShown {
    runtime_version_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingShown {
    log_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_log_level: Option<String>,
    log_group: String,
}

/// `CodeSha256`: standard base64 of the digest of the archive as uploaded.
pub(crate) fn code_sha256(artifact: &ArtifactRef) -> String {
    STANDARD.encode(artifact.digest.as_bytes())
}

/// Shows a revision under the ARN that its reader used.
///
/// # Errors
/// 500 when its record cannot be read.
pub(crate) fn configuration(
    revision: &Revision,
    place: &Place,
    arn: String,
    detail: Detail,
) -> Result<Configuration, LambdaError> {
    let record: RevisionRecord = read(&revision.document)?;
    let (spec, settings) = (&revision.spec, record.settings);
    let full = detail == Detail::Full;
    Ok(Configuration {
        function_name: revision.name.to_string(),
        function_arn: arn,
        runtime: spec.runtime.clone(),
        role: settings.role,
        handler: spec.handler.clone(),
        code_size: revision.artifact.size,
        description: settings.description,
        timeout: spec.timeout.as_secs(),
        memory_size: spec.memory.0,
        last_modified: list_time(record.modified),
        code_sha256: code_sha256(&revision.artifact),
        version: revision.label.clone(),
        vpc_config: settings.vpc.map(vpc),
        dead_letter_config: settings.dead_letter.map(|target_arn| TargetShown { target_arn }),
        environment: settings.environment_given.then(|| EnvironmentShown {
            variables: spec.environment.clone(),
        }),
        kms_key_arn: settings.kms_key,
        tracing_config: ModeShown {
            mode: tracing_mode(settings.tracing),
        },
        revision_id: record.revision_id.to_string(),
        state: full.then_some("Active"),
        last_update_status: full.then_some("Successful"),
        package_type: "Zip",
        architectures: [settings.architecture.as_str()],
        ephemeral_storage: SizeShown { size: spec.scratch.0 },
        snap_start: SnapStartShown {
            apply_on: snap_start(settings.snap_start),
            optimization_status: "Off",
        },
        runtime_version_config: full.then(|| runtime_version(&spec.runtime, place)),
        logging_config: logging(settings.logging, revision),
        layers: settings
            .layers
            .into_iter()
            .map(|layer| LayerShown {
                arn: layer.arn,
                code_size: layer.size,
            })
            .collect(),
    })
}

fn vpc(vpc: Vpc) -> VpcShown {
    VpcShown {
        subnet_ids: vpc.subnets,
        security_group_ids: vpc.security_groups,
        vpc_id: "",
        ipv6_allowed_for_dual_stack: vpc.dual_stack,
    }
}

const fn tracing_mode(mode: TracingMode) -> &'static str {
    match mode {
        TracingMode::PassThrough => "PassThrough",
        TracingMode::Active => "Active",
    }
}

const fn snap_start(snap_start: SnapStart) -> &'static str {
    match snap_start {
        SnapStart::None => "None",
        SnapStart::PublishedVersions => "PublishedVersions",
    }
}

/// The hash stands for the runtime's name: which interpreter of the host runs it is shown in its log.
fn runtime_version(runtime: &str, place: &Place) -> RuntimeVersionShown {
    let hash = hex::encode(Sha256::digest(runtime.as_bytes()));
    RuntimeVersionShown {
        runtime_version_arn: format!("arn:aws:lambda:{}::runtime:{hash}", place.region),
    }
}

fn logging(logging: Logging, revision: &Revision) -> LoggingShown {
    LoggingShown {
        log_format: match logging.format {
            LogFormat::Text => "Text",
            LogFormat::Json => "JSON",
        },
        application_log_level: logging.application_level,
        system_log_level: logging.system_level,
        log_group: logging
            .group
            .unwrap_or_else(|| format!("/aws/lambda/{}", revision.name)),
    }
}
