//! Event source mappings: made, shown, changed, deleted.
//! Source: the service model of botocore 1.44.5; answers recorded from the real service.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json as value};
use sonagi_wire::Body;
use uuid::Uuid;

use super::event_invoke::seconds;
use super::page::Paging;
use super::tags::check_tags;
use super::validate::Violations;
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{FunctionRef, Named};
use crate::errors::{Code, LambdaError};
use crate::mappings::{Live, MAPPINGS_MAX, MappingRecord, State, patterns};
use crate::place::Place;
use crate::sqs::{QueueName, QueueRecord};

/// Most messages of one batch.
const BATCH_MAX: i64 = 10_000;
/// The same for a queue with groups, and without a window.
const BATCH_SMALL: u32 = 10;
/// Most patterns of a mapping, and their longest text. Source: "Event filtering" of the developer guide.
const FILTERS_MAX: usize = 10;
const FILTER_LENGTH_MAX: usize = 4096;
/// Most mappings of one answer.
const PAGE: usize = 100;

/// `CreateEventSourceMapping` and `UpdateEventSourceMapping`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MappingInput {
    event_source_arn: Option<String>,
    function_name: Option<String>,
    enabled: Option<bool>,
    batch_size: Option<i64>,
    maximum_batching_window_in_seconds: Option<i64>,
    filter_criteria: Option<FiltersInput>,
    function_response_types: Option<Vec<String>>,
    scaling_config: Option<ScalingInput>,
    starting_position: Option<String>,
    provisioned_poller_config: Option<Value>,
    tags: Option<BTreeMap<String, String>>,
    /// Everything else: settings of other kinds of sources.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Settings that other kinds of sources have. Source: the service model's descriptions ("Kinesis and DynamoDB only" and
/// so on).
const FOREIGN: &[&str] = &[
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "DocumentDBEventSourceConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "Queues",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPositionTimestamp",
    "Topics",
    "TumblingWindowInSeconds",
];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FiltersInput {
    filters: Vec<FilterInput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FilterInput {
    pattern: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ScalingInput {
    maximum_concurrency: Option<i64>,
}

fn arn_of(record: &MappingRecord) -> Option<String> {
    let Place { account, region } = QueueName::of_arn(&record.source)?.place;
    Some(format!(
        "arn:aws:lambda:{region}:{account}:event-source-mapping:{}",
        record.id
    ))
}

fn shown(mapping: &Live, state: State) -> Value {
    let record = &mapping.record;
    let types = if record.partial {
        &["ReportBatchItemFailures"][..]
    } else {
        &[]
    };
    let mut shown = value!({
        "UUID": record.id,
        "EventSourceMappingArn": arn_of(record),
        "EventSourceArn": record.source,
        "FunctionArn": record.function,
        "BatchSize": record.batch,
        "MaximumBatchingWindowInSeconds": record.window,
        "FunctionResponseTypes": types,
        "LastModified": seconds(record.modified),
        "LastProcessingResult": mapping.result(),
        "State": state.as_str(),
        "StateTransitionReason": "USER_INITIATED",
    });
    if let Some(number) = record.concurrency {
        shown["ScalingConfig"] = value!({ "MaximumConcurrency": number });
    }
    if !record.filters.is_empty() {
        let filters: Vec<Value> = record
            .filters
            .iter()
            .map(|pattern| value!({ "Pattern": pattern }))
            .collect();
        shown["FilterCriteria"] = value!({ "Filters": filters });
    }
    shown
}

fn check(input: &MappingInput) -> Result<(), LambdaError> {
    let mut found = Violations::default();
    found.range("batchSize", input.batch_size, 1..=BATCH_MAX);
    found.range(
        "maximumBatchingWindowInSeconds",
        input.maximum_batching_window_in_seconds,
        0..=300,
    );
    let scaling = input
        .scaling_config
        .as_ref()
        .and_then(|scaling| scaling.maximum_concurrency);
    found.range("scalingConfig.maximumConcurrency", scaling, 2..=1000);
    for kind in input.function_response_types.iter().flatten() {
        found.one_of("functionResponseTypes", Some(kind), &["ReportBatchItemFailures"]);
    }
    found.finish()?;
    if input.starting_position.is_some() {
        return Err(LambdaError::invalid(
            "StartingPosition is not valid for SQS event sources.",
        ));
    }
    let foreign = input
        .others
        .iter()
        .find(|(name, value)| FOREIGN.contains(&name.as_str()) && !value.is_null());
    if let Some((name, _)) = foreign {
        return Err(LambdaError::invalid(format!(
            "{name} is not valid for SQS event sources."
        )));
    }
    if input.provisioned_poller_config.is_some() {
        return Err(LambdaError::not_offered("Provisioned pollers are"));
    }
    let filters = input
        .filter_criteria
        .as_ref()
        .map(|criteria| criteria.filters.as_slice())
        .unwrap_or_default();
    let long = |filter: &FilterInput| {
        filter
            .pattern
            .as_ref()
            .is_some_and(|text| text.len() > FILTER_LENGTH_MAX)
    };
    if filters.len() > FILTERS_MAX || filters.iter().any(long) {
        let text = format!("A mapping has at most {FILTERS_MAX} filters, each of at most {FILTER_LENGTH_MAX} bytes.");
        return Err(LambdaError::invalid(text));
    }
    Ok(())
}

/// What a request says, on top of what is there.
fn merge(mut record: MappingRecord, input: &MappingInput) -> Result<MappingRecord, LambdaError> {
    let number = |given: Option<i64>, old: u32| given.and_then(|given| u32::try_from(given).ok()).unwrap_or(old);
    record.enabled = input.enabled.unwrap_or(record.enabled);
    record.batch = number(input.batch_size, record.batch);
    record.window = number(input.maximum_batching_window_in_seconds, record.window);
    if let Some(types) = &input.function_response_types {
        record.partial = !types.is_empty();
    }
    if let Some(scaling) = &input.scaling_config {
        record.concurrency = scaling
            .maximum_concurrency
            .and_then(|number| u32::try_from(number).ok());
    }
    if let Some(criteria) = &input.filter_criteria {
        let given = criteria.filters.iter().filter_map(|filter| filter.pattern.clone());
        record.filters = given.collect();
        if let Err(error) = patterns(&record.filters) {
            return Err(LambdaError::invalid(format!(
                "Invalid filter pattern definition. {error}"
            )));
        }
    }
    let fifo = record.source.ends_with(".fifo");
    if fifo && record.batch > BATCH_SMALL {
        return Err(LambdaError::invalid("Batch size of a FIFO queue must be at most 10."));
    }
    if fifo && record.window > 0 {
        return Err(LambdaError::invalid(
            "Batching window is not supported for FIFO queues.",
        ));
    }
    if record.batch > BATCH_SMALL && record.window == 0 {
        let text = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
        return Err(LambdaError::invalid(text));
    }
    Ok(record)
}

impl Control {
    /// `CreateEventSourceMapping`.
    pub(super) async fn create_mapping(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let made = self.make_mapping(&call.caller.place, call.input()?).await?;
        Ok(json(StatusCode::ACCEPTED, &shown(&made, State::Creating)))
    }

    /// The same for the native API; `input` is as `CreateEventSourceMapping` has it.
    pub(crate) async fn map(&self, place: &Place, input: Value) -> Result<Arc<Live>, LambdaError> {
        let read = MappingInput::deserialize(input).map_err(|error| LambdaError::invalid(error.to_string()))?;
        self.make_mapping(place, read).await
    }

    async fn make_mapping(&self, place: &Place, input: MappingInput) -> Result<Arc<Live>, LambdaError> {
        let source = input.event_source_arn.clone();
        let name = source.as_deref().map(QueueName::of_arn);
        if name.as_ref().is_some_and(Option::is_none) {
            return Err(LambdaError::not_offered("Event sources other than SQS queues are"));
        }
        check(&input)?;
        let unknown = || LambdaError::invalid("Unrecognized event source.");
        let (source, name) = source.zip(name.flatten()).ok_or_else(unknown)?;
        let named = self.mapped_function(place, input.function_name.as_deref())?;
        self.check_queue(place, &name, &named)?;
        let mut record = merge(
            MappingRecord::new(source, named.qualified_arn(), self.clock.now()),
            &input,
        )?;
        if let Some(tags) = input.tags {
            check_tags(&tags, tags.len(), &self.limits)?;
            record.tags = tags;
        }
        let _turn = self.mappings.turn.lock().await;
        let all = self.mappings.all();
        let same = |mapping: &&Arc<Live>| {
            (&mapping.record.source, &mapping.record.function) == (&record.source, &record.function)
                && mapping.state() != State::Deleting
        };
        if let Some(known) = all.iter().find(same) {
            let text = format!(
                "An event source mapping with SQS arn (\" {} \") and function (\" {} \") already exists. Please update or \
                 delete the existing mapping with UUID {}",
                record.source, named.name, known.record.id
            );
            return Err(LambdaError::new(Code::ResourceConflict, text));
        }
        if all.len() >= MAPPINGS_MAX {
            let text = format!("The platform has {MAPPINGS_MAX} event source mappings, as many as it may.");
            return Err(LambdaError::invalid(text));
        }
        let id = record.id;
        self.mappings.put(record, State::Creating).await?;
        self.mappings.get(id).ok_or_else(LambdaError::resource_not_found)
    }

    /// The function of a mapping, which must exist in the caller's account.
    fn mapped_function(&self, place: &Place, name: Option<&str>) -> Result<Named, LambdaError> {
        let name = name.ok_or_else(|| LambdaError::invalid("FunctionName is required."))?;
        let missing = || LambdaError::invalid("Function does not exist");
        let named = FunctionRef::parse(name)?.resolve(place, None).map_err(|_| missing())?;
        if named.place.account != place.account {
            return Err(LambdaError::access_denied());
        }
        let entry = self.entry(&named).map_err(|_| missing())?;
        revision_of(&entry, &named).map_err(|_| missing())?;
        Ok(named)
    }

    fn check_queue(&self, place: &Place, name: &QueueName, named: &Named) -> Result<(), LambdaError> {
        let found = (name.place == *place).then(|| name.find(&self.sqs.queues)).flatten();
        let queue = found.ok_or_else(|| {
            LambdaError::invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error \
                 Message: The specified queue does not exist.",
            )
        })?;
        let record = QueueRecord::of(&queue).map_err(|error| LambdaError::new(Code::Service, error.to_string()))?;
        let entry = self.entry(named)?;
        let timeout = revision_of(&entry, named)?.spec.timeout.as_secs();
        if u64::from(record.visibility) < timeout {
            let text = format!(
                "Queue visibility timeout: {} seconds is less than Function timeout: {timeout} seconds",
                record.visibility
            );
            return Err(LambdaError::invalid(text));
        }
        Ok(())
    }

    /// The mapping of a request. Those of other accounts and regions do not exist.
    fn mapping(&self, call: &ControlCall, id: &str) -> Result<Arc<Live>, LambdaError> {
        let found = Uuid::try_parse(id).ok().and_then(|id| self.mappings.get(id));
        found
            .filter(|mapping| is_own(call, mapping))
            .ok_or_else(LambdaError::resource_not_found)
    }

    /// `GetEventSourceMapping`.
    pub(super) fn get_mapping(&self, call: &ControlCall, id: &str) -> Result<Response<Body>, LambdaError> {
        let mapping = self.mapping(call, id)?;
        Ok(json(StatusCode::OK, &shown(&mapping, mapping.state())))
    }

    /// `ListEventSourceMappings`.
    pub(super) fn list_mappings(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let paging = Paging::read(&call.query, PAGE)?;
        let source = call.query.get("EventSourceArn");
        let function = match call.query.get("FunctionName") {
            Some(name) => Some(
                FunctionRef::parse(name)?
                    .resolve(&call.caller.place, None)?
                    .qualified_arn(),
            ),
            None => None,
        };
        let wanted = |mapping: &Arc<Live>| {
            let record = &mapping.record;
            is_own(call, mapping)
                && source.is_none_or(|source| record.source == source)
                && function.as_ref().is_none_or(|function| record.function == *function)
                && paging.after().is_none_or(|after| *record.id.to_string() > *after)
        };
        let found = self.mappings.all().into_iter().filter(wanted).take(paging.wanted());
        let page = paging.cut(found.collect(), |mapping| mapping.record.id.to_string());
        let items: Vec<Value> = page
            .items
            .iter()
            .map(|mapping| shown(mapping, mapping.state()))
            .collect();
        let mut answer = value!({ "EventSourceMappings": items });
        if let Some(next) = page.next {
            answer["NextMarker"] = value!(next);
        }
        Ok(json(StatusCode::OK, &answer))
    }

    /// `UpdateEventSourceMapping`.
    pub(super) async fn update_mapping(&self, call: &ControlCall, id: &str) -> Result<Response<Body>, LambdaError> {
        let input: MappingInput = call.input()?;
        check(&input)?;
        let _turn = self.mappings.turn.lock().await;
        let old = self.mapping(call, id)?;
        refuse_deleting(&old)?;
        let mut record = merge(old.record.clone(), &input)?;
        if let Some(name) = &input.function_name {
            record.function = self.mapped_function(&call.caller.place, Some(name))?.qualified_arn();
        }
        record.modified = self.clock.now();
        let state = match (old.record.enabled, record.enabled) {
            (true, false) => State::Disabling,
            (false, true) => State::Enabling,
            (true, true) | (false, false) => State::Updating,
        };
        let id = record.id;
        self.mappings.put(record, state).await?;
        let made = self.mappings.get(id).ok_or_else(LambdaError::resource_not_found)?;
        Ok(json(StatusCode::ACCEPTED, &shown(&made, state)))
    }

    /// `DeleteEventSourceMapping`.
    pub(super) async fn delete_mapping(&self, call: &ControlCall, id: &str) -> Result<Response<Body>, LambdaError> {
        let _turn = self.mappings.turn.lock().await;
        let mapping = self.mapping(call, id)?;
        refuse_deleting(&mapping)?;
        self.mappings.remove(&mapping).await?;
        Ok(json(StatusCode::ACCEPTED, &shown(&mapping, State::Deleting)))
    }
}

impl Control {
    /// The mapping of an ARN.
    fn tagged_mapping(&self, call: &ControlCall, resource: &str) -> Result<Arc<Live>, LambdaError> {
        let id = resource.rsplit(':').next().unwrap_or_default();
        let mapping = self.mapping(call, id)?;
        if arn_of(&mapping.record).as_deref() != Some(resource) {
            return Err(LambdaError::resource_not_found());
        }
        Ok(mapping)
    }

    /// `ListTags` of a mapping.
    pub(super) fn mapping_tags(&self, call: &ControlCall, resource: &str) -> Result<Response<Body>, LambdaError> {
        let mapping = self.tagged_mapping(call, resource)?;
        Ok(json(StatusCode::OK, &value!({ "Tags": mapping.record.tags })))
    }

    /// `TagResource` and `UntagResource` of a mapping. Its poller begins anew, as after every change.
    pub(super) async fn change_mapping_tags(
        &self,
        call: &ControlCall,
        resource: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<Response<Body>, LambdaError> {
        let _turn = self.mappings.turn.lock().await;
        let mapping = self.tagged_mapping(call, resource)?;
        refuse_deleting(&mapping)?;
        let mut record = mapping.record.clone();
        change(&mut record.tags);
        check_tags(&record.tags, record.tags.len(), &self.limits)?;
        self.mappings.put(record, State::Updating).await?;
        Ok(no_content())
    }
}

fn is_own(call: &ControlCall, mapping: &Live) -> bool {
    QueueName::of_arn(&mapping.record.source).is_some_and(|name| name.place == call.caller.place)
}

fn refuse_deleting(mapping: &Live) -> Result<(), LambdaError> {
    if mapping.state() == State::Deleting {
        let text = "Cannot update the event source mapping because it is in use.";
        return Err(LambdaError::new(Code::ResourceInUse, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_in_the_models_words() {
        let merged = |source: &str, text: &str| {
            let input: MappingInput = serde_json::from_str(text).unwrap();
            check(&input)?;
            let now = sonagi_model::Timestamp::from_millis(0);
            let record = MappingRecord::new(source.to_owned(), "f".to_owned(), now);
            merge(record, &input)
        };
        let good = merged(
            "q",
            r#"{"BatchSize":100,"MaximumBatchingWindowInSeconds":1,"FunctionResponseTypes":["ReportBatchItemFailures"],
                "ScalingConfig":{"MaximumConcurrency":2},"FilterCriteria":{"Filters":[{"Pattern":"{\"body\":[\"x\"]}"}]}}"#,
        )
        .unwrap();
        assert_eq!(
            (good.batch, good.window, good.partial, good.concurrency),
            (100, 1, true, Some(2))
        );
        for (source, text, code) in [
            ("q", r#"{"BatchSize":0}"#, Code::Validation),
            ("q", r#"{"BatchSize":10001}"#, Code::Validation),
            ("q", r#"{"BatchSize":11}"#, Code::InvalidParameterValue),
            (
                "q.fifo",
                r#"{"BatchSize":11,"MaximumBatchingWindowInSeconds":1}"#,
                Code::InvalidParameterValue,
            ),
            ("q", r#"{"MaximumBatchingWindowInSeconds":301}"#, Code::Validation),
            ("q", r#"{"ScalingConfig":{"MaximumConcurrency":1}}"#, Code::Validation),
            ("q", r#"{"FunctionResponseTypes":["x"]}"#, Code::Validation),
            (
                "q",
                r#"{"FilterCriteria":{"Filters":[{"Pattern":"nonsense"}]}}"#,
                Code::InvalidParameterValue,
            ),
            ("q", r#"{"StartingPosition":"LATEST"}"#, Code::InvalidParameterValue),
        ] {
            assert_eq!(merged(source, text).unwrap_err().code, code, "{source} {text}");
        }
    }
}
