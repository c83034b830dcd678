//! From a request's configuration to what the core runs and what is kept beside it, every limit checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use sonagi_model::{Mebibytes, RevisionSpec};

use super::constraints::{check_environment, check_model, check_runtime, refuse_foreign};
use super::request::{FunctionInput, LoggingInput, VpcInput};
use crate::errors::LambdaError;
use crate::limits::LambdaLimits;
use crate::records::{Architecture, LogFormat, Logging, Settings, SnapStart, TracingMode, Vpc};

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
            outside: sonagi_model::Outside::Open,
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
