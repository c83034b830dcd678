//! From a request's configuration to what the core runs and what is kept beside it, every limit checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use sonagi_model::{Mebibytes, RevisionSpec};

use super::request::{FunctionInput, LoggingInput, VpcInput};
use super::validate::{ROLE_PATTERN, Violations, is_arn, is_role};
use crate::errors::LambdaError;
use crate::limits::LambdaLimits;
use crate::records::{Architecture, LogFormat, Logging, Settings, SnapStart, TracingMode, Vpc};

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

/// A configuration, complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) spec: RevisionSpec,
    pub(crate) settings: Settings,
}

impl Draft {
    /// Lambda's defaults.
    pub(crate) fn new(role: String) -> Self {
        let spec = RevisionSpec {
            contract: crate::runtime::CONTRACT.to_owned(),
            runtime: String::new(),
            handler: String::new(),
            memory: Mebibytes(128),
            timeout: Duration::from_secs(3),
            scratch: Mebibytes(512),
            environment: BTreeMap::new(),
            concurrency: NonZeroU32::MIN,
        };
        Self {
            spec,
            settings: Settings::new(role),
        }
    }

    /// Changes what the request names, and nothing else.
    ///
    /// # Errors
    /// `ValidationException` for values outside the model, `InvalidParameterValueException` for the rest.
    pub(crate) fn apply(&mut self, input: &FunctionInput<'_>, limits: &LambdaLimits) -> Result<(), LambdaError> {
        check_model(input, limits)?;
        refuse_foreign(input)?;
        let (spec, settings) = (&mut self.spec, &mut self.settings);
        if let Some(runtime) = &input.runtime {
            check_runtime(runtime)?;
        }
        let texts = [
            (&mut spec.runtime, &input.runtime),
            (&mut spec.handler, &input.handler),
            (&mut settings.role, &input.role),
            (&mut settings.description, &input.description),
        ];
        for (current, given) in texts {
            if let Some(given) = given {
                current.clone_from(given);
            }
        }
        if let Some(secs) = input.timeout {
            spec.timeout = Duration::from_secs(secs.unsigned_abs());
        }
        if let Some(size) = input.memory_size {
            spec.memory = mebibytes(size);
        }
        if let Some(size) = input.ephemeral_storage.as_ref().and_then(|storage| storage.size) {
            spec.scratch = mebibytes(size);
        }
        if let Some(environment) = &input.environment {
            let variables = environment.variables.clone().unwrap_or_default();
            check_environment(&variables, limits)?;
            spec.environment = variables;
            settings.environment_given = true;
        }
        apply_extras(input, settings)?;
        apply_architectures(input.architectures.as_deref(), settings);
        Ok(())
    }
}

fn mebibytes(size: i64) -> Mebibytes {
    Mebibytes(u32::try_from(size).unwrap_or(u32::MAX))
}

/// Takes the architecture of a checked request.
pub(crate) fn apply_architectures(given: Option<&[String]>, settings: &mut Settings) {
    match given.and_then(<[String]>::first).map(String::as_str) {
        Some("arm64") => settings.architecture = Architecture::Arm,
        Some("x86_64") => settings.architecture = Architecture::X86,
        Some(_) | None => {}
    }
}

fn apply_extras(input: &FunctionInput<'_>, settings: &mut Settings) -> Result<(), LambdaError> {
    let unless_empty = |text: &String| (!text.is_empty()).then(|| text.clone());
    if let Some(vpc) = &input.vpc_config {
        settings.vpc = Some(read_vpc(vpc));
    }
    if let Some(target) = input
        .dead_letter_config
        .as_ref()
        .and_then(|config| config.target_arn.as_ref())
    {
        settings.dead_letter = unless_empty(target);
    }
    if let Some(key) = &input.kms_key_arn {
        settings.kms_key = unless_empty(key);
    }
    match input.tracing_config.as_ref().and_then(|config| config.mode.as_deref()) {
        Some("Active") => settings.tracing = TracingMode::Active,
        Some(_) => settings.tracing = TracingMode::PassThrough,
        None => {}
    }
    match input.snap_start.as_ref().and_then(|config| config.apply_on.as_deref()) {
        Some("PublishedVersions") => settings.snap_start = SnapStart::PublishedVersions,
        Some(_) => settings.snap_start = SnapStart::None,
        None => {}
    }
    if let Some(logging) = &input.logging_config {
        settings.logging = read_logging(&settings.logging, logging)?;
    }
    Ok(())
}

fn read_vpc(input: &VpcInput) -> Vpc {
    Vpc {
        subnets: input.subnet_ids.clone().unwrap_or_default(),
        security_groups: input.security_group_ids.clone().unwrap_or_default(),
        dual_stack: input.ipv6_allowed_for_dual_stack.unwrap_or_default(),
    }
}

fn read_logging(old: &Logging, input: &LoggingInput) -> Result<Logging, LambdaError> {
    let format = match input.log_format.as_deref() {
        Some("JSON") => LogFormat::Json,
        Some(_) => LogFormat::Text,
        None => old.format,
    };
    let group = match &input.log_group {
        Some(group) => (!group.is_empty()).then(|| group.clone()),
        None => old.group.clone(),
    };
    let level = |given: &Option<String>, old: &Option<String>| {
        given
            .clone()
            .or_else(|| old.clone())
            .or_else(|| Some("INFO".to_owned()))
    };
    match format {
        LogFormat::Json => Ok(Logging {
            format,
            application_level: level(&input.application_log_level, &old.application_level),
            system_level: level(&input.system_log_level, &old.system_level),
            group,
        }),
        LogFormat::Text if input.application_log_level.is_some() || input.system_log_level.is_some() => Err(
            LambdaError::invalid("To use ApplicationLogLevel or SystemLogLevel, you must set LogFormat to JSON."),
        ),
        LogFormat::Text => Ok(Logging {
            format,
            application_level: None,
            system_level: None,
            group,
        }),
    }
}

/// What the service model constrains.
fn check_model(input: &FunctionInput<'_>, limits: &LambdaLimits) -> Result<(), LambdaError> {
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
fn refuse_foreign(input: &FunctionInput<'_>) -> Result<(), LambdaError> {
    let some = |value: &Option<serde_json::Value>| value.as_ref().is_some_and(|value| !value.is_null());
    if input.package_type.as_deref() == Some("Image")
        || input.image_config.as_ref().is_some_and(|config| !config.is_empty())
    {
        return Err(LambdaError::not_offered(
            "Container images (PackageType Image, ImageConfig) are",
        ));
    }
    if let Some(layers) = &input.layers {
        if layers.len() > 5 {
            return Err(LambdaError::invalid("Cannot reference more than 5 layers."));
        }
        if let Some(layer) = layers.first() {
            return Err(LambdaError::invalid(format!(
                "Layer version {layer} does not exist. Layers are not offered by this platform."
            )));
        }
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

fn check_runtime(runtime: &str) -> Result<(), LambdaError> {
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

fn check_environment(variables: &BTreeMap<String, String>, limits: &LambdaLimits) -> Result<(), LambdaError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::errors::Code;

    fn apply(input: serde_json::Value) -> Result<Draft, LambdaError> {
        let text = input.to_string();
        let input: FunctionInput<'_> = serde_json::from_str(&text).unwrap();
        let mut draft = Draft::new("arn:aws:iam::000000000000:role/r".to_owned());
        draft.apply(&input, &LambdaLimits::default())?;
        Ok(draft)
    }

    #[test]
    fn limits_are_checked_with_lambdas_errors() {
        let long = "x".repeat(257);
        let cases = [
            (json!({"Timeout": 0}), Code::Validation),
            (json!({"Timeout": 901}), Code::Validation),
            (json!({"MemorySize": 127}), Code::Validation),
            (json!({"MemorySize": 10241}), Code::Validation),
            (json!({"EphemeralStorage": {"Size": 511}}), Code::Validation),
            (json!({"Handler": "a b"}), Code::Validation),
            (json!({"Description": long}), Code::Validation),
            (json!({"Role": "nobody"}), Code::Validation),
            (json!({"Architectures": ["x86_64", "arm64"]}), Code::Validation),
            (json!({"Architectures": ["mips"]}), Code::Validation),
            (json!({"TracingConfig": {"Mode": "x"}}), Code::Validation),
            (json!({"Environment": {"Variables": {"1A": ""}}}), Code::Validation),
            (
                json!({"Environment": {"Variables": {"AWS_REGION": ""}}}),
                Code::InvalidParameterValue,
            ),
            (
                json!({"Environment": {"Variables": {"_HANDLER": ""}}}),
                Code::InvalidParameterValue,
            ),
            (
                json!({"Environment": {"Variables": {"KEY": "x".repeat(4096)}}}),
                Code::InvalidParameterValue,
            ),
            (json!({"Runtime": "cobol85"}), Code::InvalidParameterValue),
            (json!({"Runtime": "java21"}), Code::InvalidParameterValue),
            (
                json!({"Layers": ["arn:aws:lambda:us-east-1:1:layer:l:1"]}),
                Code::InvalidParameterValue,
            ),
            (json!({"PackageType": "Image"}), Code::InvalidParameterValue),
            (json!({"DurableConfig": {}}), Code::InvalidParameterValue),
            (
                json!({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}}),
                Code::InvalidParameterValue,
            ),
        ];
        for (input, code) in cases {
            assert_eq!(apply(input.clone()).unwrap_err().code, code, "{input}");
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let draft = apply(json!({
            "Runtime": "python3.11", "Handler": "app.handler", "MemorySize": 256, "Layers": [], "ImageConfig": {},
            "SnapStart": {"ApplyOn": "None"}, "LoggingConfig": {"LogFormat": "JSON"},
            "Environment": {}, "VpcConfig": {"SubnetIds": ["s"]}, "KMSKeyArn": "",
        }))
        .unwrap();
        assert_eq!(
            (draft.spec.memory, draft.spec.timeout),
            (Mebibytes(256), Duration::from_secs(3))
        );
        assert_eq!(draft.settings.logging.application_level.as_deref(), Some("INFO"));
        assert!(draft.settings.environment_given && draft.settings.kms_key.is_none());
        let mut next = draft.clone();
        let text = r#"{"LoggingConfig":{"LogFormat":"Text"},"Timeout":900}"#;
        next.apply(&serde_json::from_str(text).unwrap(), &LambdaLimits::default())
            .unwrap();
        assert_eq!(next.settings.logging.application_level, None);
        assert_eq!(next.spec.handler, "app.handler");
        assert_eq!(next.spec.timeout, Duration::from_secs(900));
    }
}
