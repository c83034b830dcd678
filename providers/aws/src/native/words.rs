//! Lambda's words for what a native request says, and the native words for Lambda's errors.

use std::collections::BTreeMap;

use sonagi_model::Namespace;
use sonagi_ports::{AdapterError, Settings};

use crate::arn::{Named, bare_name};
use crate::control::request::{EnvironmentInput, FunctionInput, SizeInput};
use crate::errors::{Code, LambdaError};
use crate::place::{PROVIDER, Place};

impl From<LambdaError> for AdapterError {
    fn from(error: LambdaError) -> Self {
        let text = error.message.unwrap_or_else(|| error.code.name().to_owned());
        match error.code {
            Code::ResourceNotFound | Code::ProvisionedConcurrencyConfigNotFound | Code::UnknownOperation => {
                Self::Missing(text)
            }
            Code::ResourceConflict | Code::ResourceInUse | Code::PreconditionFailed => Self::Conflict(text),
            Code::TooManyRequests | Code::ServiceUnavailable => Self::Throttled(text),
            Code::Service | Code::InvalidZipFile | Code::InvalidRuntime => Self::Platform(text),
            Code::AccessDenied
            | Code::CodeStorageExceeded
            | Code::ExpiredToken
            | Code::IncompleteSignature
            | Code::InvalidParameterValue
            | Code::InvalidRequestContent
            | Code::InvalidSignature
            | Code::MissingAuthenticationToken
            | Code::PolicyLengthExceeded
            | Code::RecursiveInvocation
            | Code::RequestEntityTooLarge
            | Code::RequestTimedOut
            | Code::RequestTooLarge
            | Code::Serialization
            | Code::UnrecognizedClient
            | Code::Validation => Self::Invalid {
                message: text,
                hint: None,
            },
        }
    }
}

/// The function that a native request names.
pub(super) fn named(namespace: &Namespace, name: &str) -> Result<Named, AdapterError> {
    let place = Place::of(namespace).ok_or_else(|| AdapterError::Invalid {
        message: format!("{namespace} is not a namespace of {PROVIDER}"),
        hint: Some(format!("write it as {PROVIDER}/ACCOUNT/REGION")),
    })?;
    let name = bare_name(name).ok_or_else(|| AdapterError::Invalid {
        message: format!("function name {name:?} must be 1 to 64 letters, digits, '-' or '_'"),
        hint: None,
    })?;
    Ok(Named {
        place,
        name,
        qualifier: None,
    })
}

/// Native settings in Lambda's words. `old` holds the variables that are there already.
pub(super) fn input(settings: &Settings, old: &BTreeMap<String, String>) -> FunctionInput<'static> {
    let changes_environment = !settings.set_environment.is_empty() || !settings.unset_environment.is_empty();
    let environment = changes_environment.then(|| {
        let mut variables = old.clone();
        variables.extend(settings.set_environment.clone());
        variables.retain(|name, _| !settings.unset_environment.contains(name));
        EnvironmentInput {
            variables: Some(variables),
        }
    });
    // Lambda counts whole seconds; a part of one is a second.
    let secs = |timeout: std::time::Duration| i64::try_from(timeout.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    FunctionInput {
        runtime: settings.runtime.clone(),
        handler: settings.handler.clone(),
        description: settings.description.clone(),
        memory_size: settings.memory.map(|memory| i64::from(memory.0)),
        timeout: settings.timeout.map(secs),
        ephemeral_storage: settings.scratch.map(|scratch| SizeInput {
            size: Some(i64::from(scratch.0)),
        }),
        environment,
        ..FunctionInput::default()
    }
}
