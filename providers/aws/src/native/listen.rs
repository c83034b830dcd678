//! Functions that are run by queues and buckets, natively: event source mappings, and notifications of buckets with the
//! permission that they need. Those that clients of Lambda and S3 made are shown beside them.

use std::sync::Arc;

use serde_json::{Value, json};
use sonagi_aws_s3::{ConnectError, Connection};
use sonagi_control::Edit;
use sonagi_model::Namespace;
use sonagi_ports::{AdapterError, Listen, ListenTo, ListenView};
use uuid::Uuid;

use super::words::named;
use crate::arn::{FunctionRef, Named, Qualifier};
use crate::assembly::Aws;
use crate::control::policy_key;
use crate::control::versions::alter_record;
use crate::errors::LambdaError;
use crate::mappings::{Live, State};
use crate::place::Place;
use crate::records::{Conditions, PrincipalRule, Statement};
use crate::sqs::{QueueName, SqsError};

/// The tag of a mapping with the name that it was given here.
const NAME_TAG: &str = "sonagi:name";
/// Longest such name, characters.
const NAME_MAX: usize = 64;
/// A queue that is made hides messages for so many times the function's timeout. Source: "Configuring a queue to use with
/// Lambda" of the Lambda developer guide.
const VISIBILITY_FACTOR: u64 = 6;
/// What a bucket tells of unless something else is asked for.
const CREATED: &str = "s3:ObjectCreated:*";

impl From<SqsError> for AdapterError {
    fn from(error: SqsError) -> Self {
        let message = error.to_string();
        if error.is_senders_fault() {
            Self::Invalid { message, hint: None }
        } else {
            Self::Throttled(message)
        }
    }
}

fn of_bucket(error: ConnectError) -> AdapterError {
    let message = error.to_string();
    match error {
        ConnectError::Invalid(_) => AdapterError::Invalid { message, hint: None },
        ConnectError::Foreign(_) => AdapterError::Conflict(message),
        ConnectError::Store(_) => AdapterError::Platform(message),
    }
}

fn invalid(message: String) -> AdapterError {
    AdapterError::Invalid { message, hint: None }
}

/// Name and qualifier of a function's ARN.
fn of_arn(arn: &str) -> (String, Option<String>) {
    match FunctionRef::parse(arn) {
        Ok(named) => (
            named.name.to_string(),
            named.qualifier.as_ref().map(Qualifier::to_string),
        ),
        Err(_) => (arn.to_owned(), None),
    }
}

fn name_of(mapping: &Live) -> String {
    let given = mapping.record.tags.get(NAME_TAG).cloned();
    given.unwrap_or_else(|| mapping.record.id.to_string())
}

fn view_of(mapping: &Live) -> ListenView {
    let record = &mapping.record;
    let (function, qualifier) = of_arn(&record.function);
    ListenView {
        name: name_of(mapping),
        function,
        qualifier,
        to: ListenTo::Queue {
            queue: QueueName::of_arn(&record.source).map_or_else(|| record.source.clone(), |name| name.name),
            batch: Some(record.batch),
            window: Some(record.window),
            concurrency: record.concurrency,
            filter: record.filters.first().cloned(),
            partial: record.partial,
        },
        state: if mapping.state() == State::Enabled {
            State::Enabled.as_str().to_owned()
        } else {
            format!("{}, {}", mapping.state().as_str(), mapping.result())
        },
    }
}

fn view_of_connection(connection: Connection) -> ListenView {
    let (function, qualifier) = of_arn(&connection.target);
    ListenView {
        name: connection.id,
        function,
        qualifier,
        to: ListenTo::Objects {
            bucket: connection.bucket,
            events: connection.events,
            prefix: connection.prefix,
            suffix: connection.suffix,
        },
        state: State::Enabled.as_str().to_owned(),
    }
}

impl Aws {
    pub(super) async fn listen_natively(&self, listen: Listen) -> Result<ListenView, AdapterError> {
        let own = named(&listen.namespace, &listen.function)?;
        let wanted = match &listen.qualifier {
            Some(qualifier) => FunctionRef::parse(&format!("{}:{qualifier}", own.name))?.resolve(&own.place, None)?,
            None => own,
        };
        if let Some(name) = &listen.name {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(allowed) {
                let text = format!("{name:?} is no name: 1 to {NAME_MAX} letters, digits, '-', '_', '.'");
                return Err(invalid(text));
            }
            let known = self.listening_natively(&listen.namespace).await?;
            if known.iter().any(|other| other.name == *name) {
                return Err(AdapterError::Conflict(format!("binding {name} exists already")));
            }
        }
        match listen.to {
            ListenTo::Queue { .. } => self.listen_to_queue(&wanted, listen.name, &listen.to).await,
            ListenTo::Objects {
                bucket,
                events,
                prefix,
                suffix,
            } => {
                let events = events.into_iter().map(|event| match event.strip_prefix("s3:") {
                    Some(_) => event,
                    None => format!("s3:{event}"),
                });
                let mut events: Vec<String> = events.collect();
                if events.is_empty() {
                    events.push(CREATED.to_owned());
                }
                let short = || format!("{}-{:08x}", wanted.name, Uuid::new_v4().as_fields().0);
                let connection = Connection {
                    bucket,
                    id: listen.name.unwrap_or_else(short),
                    target: wanted.qualified_arn(),
                    events,
                    prefix,
                    suffix,
                };
                self.listen_to_bucket(&wanted, connection).await
            }
        }
    }

    async fn listen_to_queue(
        &self,
        wanted: &Named,
        name: Option<String>,
        to: &ListenTo,
    ) -> Result<ListenView, AdapterError> {
        let ListenTo::Queue {
            queue,
            batch,
            window,
            concurrency,
            filter,
            partial,
        } = to
        else {
            return Err(AdapterError::Platform("not a queue".to_owned()));
        };
        let own = QueueName::of_place(&wanted.place, queue).ok_or_else(|| {
            invalid(format!(
                "{queue:?} is no name of a queue: 1 to 80 letters, digits, '-', '_', and .fifo"
            ))
        })?;
        let timeout = self.entry(wanted)?.latest().spec.timeout.as_secs();
        self.control
            .sqs
            .ensure(&own, timeout.saturating_mul(VISIBILITY_FACTOR))
            .await?;
        // A batch of more than ten needs a window.
        let window = window.or_else(|| batch.is_some_and(|batch| batch > 10).then_some(1));
        let mut input = json!({
            "EventSourceArn": own.arn(),
            "FunctionName": wanted.qualified_arn(),
            "BatchSize": batch,
            "MaximumBatchingWindowInSeconds": window,
        });
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                input[key] = value;
            }
        };
        set(
            "ScalingConfig",
            concurrency.map(|number| json!({ "MaximumConcurrency": number })),
        );
        let filters = filter
            .as_ref()
            .map(|pattern| json!({ "Filters": [{ "Pattern": pattern }] }));
        set("FilterCriteria", filters);
        set(
            "FunctionResponseTypes",
            partial.then(|| json!(["ReportBatchItemFailures"])),
        );
        set("Tags", name.map(|name| json!({ NAME_TAG: name })));
        let made = self.control.map(&wanted.place, input).await?;
        Ok(view_of(&made))
    }

    async fn listen_to_bucket(&self, wanted: &Named, connection: Connection) -> Result<ListenView, AdapterError> {
        let Place { account, region } = &wanted.place;
        let made = self
            .storage
            .ensure(&connection.bucket, account.as_str(), region.as_str());
        made.await.map_err(of_bucket)?;
        let statement = Statement {
            sid: sid_of(&connection),
            principal: PrincipalRule::Service("s3.amazonaws.com".to_owned()),
            action: "lambda:InvokeFunction".to_owned(),
            conditions: Conditions {
                source_arn: Some(format!("arn:aws:s3:::{}", connection.bucket)),
                source_account: Some(account.to_string()),
                ..Conditions::default()
            },
        };
        self.change_statements(wanted, |statements| statements.push(statement))
            .await?;
        let sid = sid_of(&connection);
        match self.storage.connect(connection.clone()).await {
            Ok(()) => Ok(view_of_connection(connection)),
            Err(error) => {
                self.change_statements(wanted, |statements| statements.retain(|other| other.sid != sid))
                    .await?;
                Err(of_bucket(error))
            }
        }
    }

    async fn change_statements(
        &self,
        wanted: &Named,
        change: impl FnOnce(&mut Vec<Statement>) + Send,
    ) -> Result<(), AdapterError> {
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                change(
                    record
                        .policies
                        .entry(policy_key(wanted.qualifier.as_ref()))
                        .or_default(),
                );
                Ok(())
            })
        };
        let namespace = wanted.place.namespace();
        let edited = self.control.catalog.edit(&namespace, &wanted.name, decide);
        edited.await.map_err(LambdaError::from)?;
        Ok(())
    }

    fn mappings_of(&self, place: &Place) -> Vec<Arc<Live>> {
        let all = self.control.mappings.all().into_iter();
        all.filter(|mapping| QueueName::of_arn(&mapping.record.source).is_some_and(|name| name.place == *place))
            .collect()
    }

    async fn connections_of(&self, place: &Place) -> Result<Vec<Connection>, AdapterError> {
        let all = self.storage.connections(place.account.as_str());
        let mut all = all.await.map_err(of_bucket)?;
        all.retain(|connection| {
            let target = FunctionRef::parse(&connection.target).ok();
            target.is_some_and(|named| named.region.as_ref() == Some(&place.region))
        });
        Ok(all)
    }

    pub(super) async fn listening_natively(&self, namespace: &Namespace) -> Result<Vec<ListenView>, AdapterError> {
        let Some(place) = Place::of(namespace) else {
            return Ok(Vec::new());
        };
        let mut all: Vec<ListenView> = self
            .mappings_of(&place)
            .iter()
            .map(|mapping| view_of(mapping))
            .collect();
        all.extend(self.connections_of(&place).await?.into_iter().map(view_of_connection));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    pub(super) async fn unlisten_natively(&self, namespace: &Namespace, name: &str) -> Result<bool, AdapterError> {
        let Some(place) = Place::of(namespace) else {
            return Ok(false);
        };
        let _turn = self.control.mappings.turn.lock().await;
        let mapping = self
            .mappings_of(&place)
            .into_iter()
            .find(|mapping| name_of(mapping) == name);
        if let Some(mapping) = mapping {
            self.control
                .mappings
                .remove(&mapping)
                .await
                .map_err(LambdaError::from)?;
            return Ok(true);
        }
        let found = self
            .connections_of(&place)
            .await?
            .into_iter()
            .find(|found| found.id == name);
        let Some(connection) = found else {
            return Ok(false);
        };
        let ended = self.storage.disconnect(&connection.bucket, &connection.id);
        ended.await.map_err(of_bucket)?;
        let target = FunctionRef::parse(&connection.target)?.resolve(&place, None)?;
        let sid = sid_of(&connection);
        match self
            .change_statements(&target, |statements| statements.retain(|other| other.sid != sid))
            .await
        {
            Ok(()) | Err(AdapterError::Missing(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// The statement that lets a bucket call the function.
fn sid_of(connection: &Connection) -> String {
    format!(
        "sonagi-{}-{}",
        connection.bucket.replace('.', "_"),
        connection.id.replace('.', "_")
    )
}
