//! Input of operations as it comes over the wire. Keys that are not listed are ignored, as the API's clients expect.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::json::Text;

/// `CreateFunction` and `UpdateFunctionConfiguration`. Whatever is `None` was not given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct FunctionInput<'a> {
    pub(crate) function_name: Option<String>,
    #[serde(borrow)]
    pub(crate) code: Option<CodeInput<'a>>,
    pub(crate) publish: Option<bool>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) revision_id: Option<String>,
    pub(crate) runtime: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) timeout: Option<i64>,
    pub(crate) memory_size: Option<i64>,
    pub(crate) package_type: Option<String>,
    pub(crate) environment: Option<EnvironmentInput>,
    pub(crate) vpc_config: Option<VpcInput>,
    pub(crate) dead_letter_config: Option<TargetInput>,
    #[serde(rename = "KMSKeyArn")]
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) tracing_config: Option<ModeInput>,
    pub(crate) layers: Option<Vec<String>>,
    pub(crate) architectures: Option<Vec<String>>,
    pub(crate) ephemeral_storage: Option<SizeInput>,
    pub(crate) snap_start: Option<SnapStartInput>,
    pub(crate) logging_config: Option<LoggingInput>,
    pub(crate) publish_to: Option<String>,
    pub(crate) file_system_configs: Option<Vec<Value>>,
    pub(crate) code_signing_config_arn: Option<String>,
    pub(crate) image_config: Option<BTreeMap<String, Value>>,
    pub(crate) tenancy_config: Option<Value>,
    pub(crate) capacity_provider_config: Option<Value>,
    pub(crate) durable_config: Option<Value>,
    pub(crate) runtime_config: Option<Value>,
    pub(crate) accelerator_config: Option<Value>,
}

/// Where code comes from; also the input of `UpdateFunctionCode`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CodeInput<'a> {
    /// Base64 of the archive. Borrowed, because it may be 70 MB.
    #[serde(borrow)]
    pub(crate) zip_file: Option<Text<'a>>,
    #[serde(rename = "S3Bucket")]
    pub(crate) s3_bucket: Option<String>,
    #[serde(rename = "S3Key")]
    pub(crate) s3_key: Option<String>,
    #[serde(rename = "S3ObjectVersion")]
    pub(crate) s3_object_version: Option<String>,
    pub(crate) image_uri: Option<String>,
    pub(crate) publish: Option<bool>,
    pub(crate) publish_to: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) revision_id: Option<String>,
    pub(crate) architectures: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EnvironmentInput {
    pub(crate) variables: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VpcInput {
    pub(crate) subnet_ids: Option<Vec<String>>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) ipv6_allowed_for_dual_stack: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TargetInput {
    pub(crate) target_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ModeInput {
    pub(crate) mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SizeInput {
    pub(crate) size: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SnapStartInput {
    pub(crate) apply_on: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct LoggingInput {
    pub(crate) log_format: Option<String>,
    pub(crate) application_log_level: Option<String>,
    pub(crate) system_log_level: Option<String>,
    pub(crate) log_group: Option<String>,
}

/// `PublishVersion`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PublishInput {
    pub(crate) code_sha256: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) revision_id: Option<String>,
}

/// `CreateAlias` and `UpdateAlias`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AliasInput {
    pub(crate) name: Option<String>,
    pub(crate) function_version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) routing_config: Option<RoutingInput>,
    pub(crate) revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RoutingInput {
    pub(crate) additional_version_weights: Option<BTreeMap<String, f64>>,
}

/// `AddPermission`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PermissionInput {
    pub(crate) statement_id: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) source_arn: Option<String>,
    pub(crate) source_account: Option<String>,
    pub(crate) event_source_token: Option<String>,
    pub(crate) revision_id: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    pub(crate) principal_org_id: Option<String>,
    pub(crate) function_url_auth_type: Option<String>,
    pub(crate) invoked_via_function_url: Option<bool>,
}

/// `CreateFunctionUrlConfig` and `UpdateFunctionUrlConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct UrlInput {
    pub(crate) auth_type: Option<String>,
    pub(crate) cors: Option<crate::records::Cors>,
    pub(crate) invoke_mode: Option<String>,
}

/// `PutFunctionConcurrency`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ConcurrencyInput {
    pub(crate) reserved_concurrent_executions: Option<i64>,
}

/// `PutProvisionedConcurrencyConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ProvisionedInput {
    pub(crate) provisioned_concurrent_executions: Option<i64>,
}

/// `TagResource`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TagsInput {
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// `PutFunctionRecursionConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RecursionInput {
    pub(crate) recursive_loop: Option<String>,
}

/// `PutFunctionEventInvokeConfig`, `UpdateFunctionEventInvokeConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EventInvokeInput {
    pub(crate) maximum_retry_attempts: Option<i64>,
    pub(crate) maximum_event_age_in_seconds: Option<i64>,
    pub(crate) destination_config: Option<DestinationsInput>,
}

/// `DestinationConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DestinationsInput {
    pub(crate) on_success: Option<DestinationInput>,
    pub(crate) on_failure: Option<DestinationInput>,
}

/// `OnSuccess`, `OnFailure`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DestinationInput {
    pub(crate) destination: Option<String>,
}

/// `PutRuntimeManagementConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RuntimeManagementInput {
    pub(crate) update_runtime_on: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_known_ones_have_the_models_names() {
        let text = r#"{"FunctionName":"f","KMSKeyArn":"k","Code":{"ZipFile":"UEs=","S3Bucket":"b","ImageUri":"i"},
            "SnapStart":{"ApplyOn":"None"},"FutureThing":{"x":[1]},"VpcConfig":{"Ipv6AllowedForDualStack":true}}"#;
        let input: FunctionInput<'_> = serde_json::from_str(text).unwrap();
        let code = input.code.unwrap();
        assert!(matches!(code.zip_file, Some(Text(Cow::Borrowed("UEs=")))));
        assert_eq!(
            (code.s3_bucket.as_deref(), input.kms_key_arn.as_deref()),
            (Some("b"), Some("k"))
        );
        assert_eq!(input.vpc_config.unwrap().ipv6_allowed_for_dual_stack, Some(true));
        let publish: PublishInput = serde_json::from_str(r#"{"CodeSha256":"x"}"#).unwrap();
        assert_eq!(publish.code_sha256.as_deref(), Some("x"));
        let permission: PermissionInput = serde_json::from_str(r#"{"PrincipalOrgID":"o"}"#).unwrap();
        assert_eq!(permission.principal_org_id.as_deref(), Some("o"));
    }
}
