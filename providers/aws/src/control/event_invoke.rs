//! Configuration of asynchronous invocation: retries, age, destinations, for each qualifier on its own.
//! Source: the service model of botocore 1.44.5; answers recorded from the real service.

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json as value};
use sonagi_control::Edit;
use sonagi_model::Timestamp;
use sonagi_wire::Body;

use super::page::Paging;
use super::policy::key_of;
use super::request::{DestinationInput, EventInvokeInput};
use super::validate::Violations;
use super::versions::alter_record;
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{FunctionRef, Named};
use crate::errors::{Code, LambdaError};
use crate::events::{DestinationPlace, place_of};
use crate::records::{AsyncRecord, FunctionRecord, read};

/// Longest address of a destination, characters. Source: the service model.
const DESTINATION_MAX: usize = 350;

/// What becomes of settings that a request leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// They are removed.
    Replace,
    /// They stay.
    Update,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    /// Seconds since 1970, with milliseconds.
    last_modified: f64,
    function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_retry_attempts: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownList {
    function_event_invoke_configs: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

pub(super) fn seconds(moment: Timestamp) -> f64 {
    moment.as_micros().div_euclid(1000) as f64 / 1000.0
}

fn arn_of(named: &Named, key: &str) -> String {
    format!("{}:{key}", named.arn())
}

fn shown(named: &Named, key: &str, record: &AsyncRecord) -> Shown {
    let side = |address: &Option<String>| match address {
        Some(address) => value!({ "Destination": address }),
        None => value!({}),
    };
    Shown {
        last_modified: seconds(record.modified),
        function_arn: arn_of(named, key),
        maximum_retry_attempts: record.retries,
        maximum_event_age_in_seconds: record.max_age,
        destination_config: value!({
            "OnSuccess": side(&record.on_success),
            "OnFailure": side(&record.on_failure),
        }),
    }
}

fn not_configured(named: &Named, key: &str) -> LambdaError {
    let text = format!("The function {} doesn't have an EventInvokeConfig", arn_of(named, key));
    LambdaError::new(Code::ResourceNotFound, text)
}

fn check(input: &EventInvokeInput) -> Result<(), LambdaError> {
    let mut found = Violations::default();
    found.range("maximumRetryAttempts", input.maximum_retry_attempts, 0..=2);
    found.range(
        "maximumEventAgeInSeconds",
        input.maximum_event_age_in_seconds,
        60..=21_600,
    );
    if let Some(destinations) = &input.destination_config {
        for (member, side) in [
            ("destinationConfig.onSuccess.destination", &destinations.on_success),
            ("destinationConfig.onFailure.destination", &destinations.on_failure),
        ] {
            found.longest(member, address(side.as_ref()), DESTINATION_MAX);
        }
    }
    found.finish()
}

fn address(side: Option<&DestinationInput>) -> Option<&str> {
    side.and_then(|side| side.destination.as_deref())
}

impl Control {
    /// What a configuration belongs to, which must exist.
    fn invoked(&self, call: &ControlCall, name: &str) -> Result<(Named, String), LambdaError> {
        let named = call.named(name)?;
        revision_of(&*self.entry(&named)?, &named)?;
        let key = key_of(named.qualifier.as_ref());
        Ok((named, key))
    }

    /// Whether something can be sent to an address.
    fn check_destination(&self, named: &Named, address: &str) -> Result<(), LambdaError> {
        let invalid = |why: &str| {
            LambdaError::invalid(format!(
                "The destination ARN {address} is invalid: {why}. Destinations are functions, SQS queues, event buses, and \
                 http:// addresses."
            ))
        };
        match place_of(address) {
            None => Err(invalid("this platform has no such destination")),
            Some(DestinationPlace::Queue(_) | DestinationPlace::Bus(_) | DestinationPlace::Web(_)) => Ok(()),
            Some(DestinationPlace::Function(arn)) => {
                let target = FunctionRef::parse(arn)?.resolve(&named.place, None)?;
                if target.place == named.place && target.name == named.name {
                    return Err(LambdaError::invalid(
                        "You can't specify the function as a destination for itself.",
                    ));
                }
                let entry = self.catalog.find(&target.place.namespace(), &target.name);
                match entry {
                    Some(entry) => revision_of(&entry, &target).map(drop),
                    None => Err(invalid("the function does not exist")),
                }
            }
        }
    }

    fn merged(&self, named: &Named, old: AsyncRecord, input: &EventInvokeInput) -> Result<AsyncRecord, LambdaError> {
        let mut record = AsyncRecord {
            modified: self.clock.now(),
            ..old
        };
        if let Some(retries) = input.maximum_retry_attempts {
            record.retries = u8::try_from(retries).ok();
        }
        if let Some(age) = input.maximum_event_age_in_seconds {
            record.max_age = u32::try_from(age).ok();
        }
        if let Some(destinations) = &input.destination_config {
            let sides = [
                (&destinations.on_success, &mut record.on_success),
                (&destinations.on_failure, &mut record.on_failure),
            ];
            for (given, kept) in sides {
                let Some(given) = given else { continue };
                *kept = given.destination.clone().filter(|address| !address.is_empty());
                if let Some(address) = kept {
                    self.check_destination(named, address)?;
                }
            }
        }
        Ok(record)
    }

    /// `PutFunctionEventInvokeConfig`, `UpdateFunctionEventInvokeConfig`.
    pub(super) async fn put_event_invoke(
        &self,
        call: &ControlCall,
        name: &str,
        merge: Merge,
    ) -> Result<Response<Body>, LambdaError> {
        let input: EventInvokeInput = call.input()?;
        check(&input)?;
        let (named, key) = self.invoked(call, name)?;
        let says_nothing = input.maximum_retry_attempts.is_none()
            && input.maximum_event_age_in_seconds.is_none()
            && input.destination_config.is_none();
        if says_nothing {
            return Err(LambdaError::invalid(
                "You must specify at least one of error handling or destination setting.",
            ));
        }
        let decide = |edit: &mut Edit| {
            alter_record(edit, |function| {
                let old = function.asynchronous.get(&key).cloned();
                let old = match merge {
                    Merge::Replace => AsyncRecord::new(self.clock.now()),
                    Merge::Update => old.ok_or_else(|| not_configured(&named, &key))?,
                };
                let record = self.merged(&named, old, &input)?;
                function.asynchronous.insert(key.clone(), record.clone());
                Ok(record)
            })
        };
        let (_, record) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(json(StatusCode::OK, &shown(&named, &key, &record)))
    }

    /// `GetFunctionEventInvokeConfig`.
    pub(super) fn get_event_invoke(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let (named, key) = self.invoked(call, name)?;
        let function: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        let record = function.asynchronous.get(&key);
        let record = record.ok_or_else(|| not_configured(&named, &key))?;
        Ok(json(StatusCode::OK, &shown(&named, &key, record)))
    }

    /// `DeleteFunctionEventInvokeConfig`.
    pub(super) async fn delete_event_invoke(
        &self,
        call: &ControlCall,
        name: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (named, key) = self.invoked(call, name)?;
        let decide = |edit: &mut Edit| {
            alter_record(edit, |function| {
                let removed = function.asynchronous.remove(&key);
                removed.map(drop).ok_or_else(|| not_configured(&named, &key))
            })
        };
        self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(no_content())
    }

    /// `ListFunctionEventInvokeConfigs`.
    pub(super) fn list_event_invoke(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let paging = Paging::read(&call.query, self.limits.page)?;
        let function: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        let all = function.asynchronous.iter();
        let rest = all.filter(|(key, _)| paging.after().is_none_or(|after| key.as_str() > after));
        let page = paging.cut(rest.take(paging.wanted()).collect(), |(key, _)| (*key).clone());
        let configs = page.items.into_iter().map(|(key, record)| shown(&named, key, record));
        Ok(json(
            StatusCode::OK,
            &ShownList {
                function_event_invoke_configs: configs.collect(),
                next_marker: page.next,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::{LATEST, Qualifier};

    #[test]
    fn keys_are_qualifiers() {
        assert_eq!(key_of(None), LATEST);
        assert_eq!(key_of(Some(&Qualifier::Version(3))), "3");
        assert!((seconds(Timestamp::from_millis(1_767_225_600_123)) - 1_767_225_600.123).abs() < 1e-6);
    }

    #[test]
    fn numbers_and_addresses_are_checked_in_the_models_words() {
        let check = |text: &str| check(&serde_json::from_str(text).unwrap());
        assert!(check(r#"{"MaximumRetryAttempts":2,"MaximumEventAgeInSeconds":21600}"#).is_ok());
        for bad in [
            r#"{"MaximumRetryAttempts":3}"#.to_owned(),
            r#"{"MaximumEventAgeInSeconds":59}"#.to_owned(),
            r#"{"MaximumEventAgeInSeconds":21601}"#.to_owned(),
            format!(
                r#"{{"DestinationConfig":{{"OnFailure":{{"Destination":"arn:aws:sqs:us-east-1:0:{}"}}}}}}"#,
                "q".repeat(350)
            ),
        ] {
            assert_eq!(check(&bad).unwrap_err().code, Code::Validation, "{bad}");
        }
    }
}
