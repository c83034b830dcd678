//! What Lambda allows a function's configuration to be: constraints of the model, limits, reserved names, and what this
//! platform does not have.

use std::collections::BTreeMap;

use super::request::FunctionInput;
use super::validate::{ROLE_PATTERN, Violations, is_arn, is_role};
use crate::errors::LambdaError;
use crate::limits::LambdaLimits;

/// Runtimes of the model that this platform has a way to run; whether this host has the interpreter is another question,
/// answered when the first instance starts.
/// Source: the service model of botocore 1.44.5.
const RUNTIMES: &[&str] = &[
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "nodejs26.x",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.15",
    "provided",
    "provided.al2",
    "provided.al2023",
];

/// Runtimes of the model that this platform cannot run.
const FOREIGN_RUNTIMES: &[&str] = &["java", "dotnet", "ruby", "go1", "custom"];

/// Variables that the platform sets and users may not.
/// Source: "Defined runtime environment variables" of the AWS documentation.
const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

const LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const SYSTEM_LEVELS: &[&str] = &["DEBUG", "INFO", "WARN"];

/// What the service model constrains.
pub(super) fn check_model(input: &FunctionInput<'_>, limits: &LambdaLimits) -> Result<(), LambdaError> {
    let mut found = Violations::default();
    found.form("role", input.role.as_deref(), ROLE_PATTERN, is_role);
    found.range("timeout", input.timeout, 1..=i64::from(limits.timeout_secs));
    found.range("memorySize", input.memory_size, 128..=i64::from(limits.memory_mib));
    let scratch = input.ephemeral_storage.as_ref().and_then(|storage| storage.size);
    found.range("ephemeralStorage.size", scratch, 512..=i64::from(limits.scratch_mib));
    found.longest("handler", input.handler.as_deref(), 128);
    found.form("handler", input.handler.as_deref(), r"[^\s]+", |text| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    found.longest("description", input.description.as_deref(), 256);
    found.one_of("packageType", input.package_type.as_deref(), &["Image", "Zip"]);
    let mode = input.tracing_config.as_ref().and_then(|config| config.mode.as_deref());
    found.one_of("tracingConfig.mode", mode, &["Active", "PassThrough"]);
    let snap = input.snap_start.as_ref().and_then(|config| config.apply_on.as_deref());
    found.one_of("snapStart.applyOn", snap, &["PublishedVersions", "None"]);
    check_architectures(&mut found, input.architectures.as_deref());
    let target = input
        .dead_letter_config
        .as_ref()
        .and_then(|config| config.target_arn.as_deref());
    found.form(
        "deadLetterConfig.targetArn",
        target,
        r"(arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-gov)?-[a-z]+-\d{1})?:(\d{12})?:(.*))|()",
        |text| text.is_empty() || is_arn(text),
    );
    found.form(
        "kMSKeyArn",
        input.kms_key_arn.as_deref(),
        r"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
        |text| text.is_empty() || is_arn(text),
    );
    check_logging(&mut found, input);
    check_names(&mut found, input);
    found.finish()
}

fn check_logging(found: &mut Violations, input: &FunctionInput<'_>) {
    if let Some(logging) = &input.logging_config {
        found.one_of(
            "loggingConfig.logFormat",
            logging.log_format.as_deref(),
            &["JSON", "Text"],
        );
        found.one_of(
            "loggingConfig.applicationLogLevel",
            logging.application_log_level.as_deref(),
            LEVELS,
        );
        found.one_of(
            "loggingConfig.systemLogLevel",
            logging.system_log_level.as_deref(),
            SYSTEM_LEVELS,
        );
        found.form(
            "loggingConfig.logGroup",
            logging.log_group.as_deref(),
            r"[\.\-_/#A-Za-z0-9]+",
            |text| {
                !text.is_empty()
                    && text.len() <= 512
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte))
            },
        );
    }
}

/// Names of variables.
fn check_names(found: &mut Violations, input: &FunctionInput<'_>) {
    let variables = input
        .environment
        .as_ref()
        .and_then(|environment| environment.variables.as_ref());
    for key in variables.into_iter().flat_map(BTreeMap::keys) {
        let mut bytes = key.bytes();
        let good = key.len() >= 2
            && bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // A reserved name is reported as such, although some begin with `_`.
        if !good && !RESERVED.contains(&key.as_str()) {
            found.add(key, "environment.variables", "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]");
        }
    }
}

/// Checks the architectures of a request.
pub(crate) fn check_architectures(found: &mut Violations, given: Option<&[String]>) {
    let Some(given) = given else { return };
    let known = |name: &String| matches!(name.as_str(), "x86_64" | "arm64");
    if given.len() != 1 || !given.iter().all(known) {
        found.add(
            &format!("[{}]", given.join(", ")),
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        );
    }
}

/// What the service has and this platform has not. Accepting it would let a function run otherwise than asked.
pub(super) fn refuse_foreign(input: &FunctionInput<'_>) -> Result<(), LambdaError> {
    let some = |value: &Option<serde_json::Value>| value.as_ref().is_some_and(|value| !value.is_null());
    if input.package_type.as_deref() == Some("Image")
        || input.image_config.as_ref().is_some_and(|config| !config.is_empty())
    {
        return Err(LambdaError::not_offered(
            "Container images (PackageType Image, ImageConfig) are",
        ));
    }
    let foreign = [
        (
            input
                .file_system_configs
                .as_ref()
                .is_some_and(|configs| !configs.is_empty()),
            "File systems (FileSystemConfigs) are",
        ),
        (
            input
                .code_signing_config_arn
                .as_ref()
                .is_some_and(|arn| !arn.is_empty()),
            "Code signing (CodeSigningConfigArn) is",
        ),
        (some(&input.tenancy_config), "Tenant isolation (TenancyConfig) is"),
        (
            some(&input.capacity_provider_config),
            "Capacity providers (CapacityProviderConfig) are",
        ),
        (some(&input.durable_config), "Durable functions (DurableConfig) are"),
        (
            some(&input.runtime_config),
            "Customer-managed runtimes (RuntimeConfig) are",
        ),
        (some(&input.accelerator_config), "Accelerators (AcceleratorConfig) are"),
        (input.publish_to.is_some(), "PublishTo is"),
    ];
    match foreign.iter().find(|(given, _)| *given) {
        Some((_, what)) => Err(LambdaError::not_offered(what)),
        None => Ok(()),
    }
}

pub(super) fn check_runtime(runtime: &str) -> Result<(), LambdaError> {
    if RUNTIMES.contains(&runtime) {
        return Ok(());
    }
    if FOREIGN_RUNTIMES.iter().any(|family| runtime.starts_with(family)) {
        let offered = RUNTIMES.join(", ");
        return Err(LambdaError::invalid(format!(
            "Runtime {runtime} is not offered by this platform, which has: {offered}."
        )));
    }
    let shown: String = runtime.chars().filter(|c| !c.is_control()).take(64).collect();
    Err(LambdaError::invalid(format!(
        "Value {shown} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
        RUNTIMES.join(", ")
    )))
}

pub(super) fn check_environment(
    variables: &BTreeMap<String, String>,
    limits: &LambdaLimits,
) -> Result<(), LambdaError> {
    let reserved: Vec<&str> = variables
        .keys()
        .map(String::as_str)
        .filter(|key| RESERVED.contains(key))
        .collect();
    if !reserved.is_empty() {
        return Err(LambdaError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    if let Some(key) = variables
        .iter()
        .find(|(_, value)| value.contains('\0'))
        .map(|(key, _)| key)
    {
        return Err(LambdaError::invalid(format!(
            "The value of environment variable {key} contains a NUL character."
        )));
    }
    let text = serde_json::to_string(variables).expect("a map of texts is JSON");
    if text.len() > limits.environment {
        return Err(LambdaError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             exceeded the {}KB limit. String measured: {text}",
            limits.environment / 1024
        )));
    }
    Ok(())
}
