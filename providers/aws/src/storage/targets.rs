//! Who is told of changes of buckets: functions, if their policy lets the bucket call them, and queues of the bucket's
//! account and region.
//! Source: "Granting permissions to publish event notification messages to a destination" of the S3 user guide.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sonagi_aws_s3::{Source, Targets, TellError, Telling};
use sonagi_control::{Catalog, FunctionEntry};
use sonagi_ports::{AcceptError, Attributes, EventRoute, NewEvent, Order, StoreError, Token};
use sonagi_queues::Queues;

use crate::arn::{FunctionRef, Qualifier};
use crate::control::{ServiceAccess, policy_key};
use crate::events::QUEUE_ADAPTER;
use crate::invoke::Runner;
use crate::place::Place;
use crate::records::{FunctionRecord, read};
use crate::runtime::{CONTRACT, attributes};
use crate::sqs::QueueName;

/// The name by which policies know S3.
const SERVICE: &str = "s3.amazonaws.com";
/// For how long a message that is passed on again is the same event.
const ONCE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct BucketTargets {
    pub(super) catalog: Arc<Catalog>,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) queues: Queues,
}

/// A function that may be told.
struct Allowed {
    entry: Arc<FunctionEntry>,
    qualifier: Option<Qualifier>,
}

impl BucketTargets {
    /// A queue that may be told.
    fn queue(&self, name: &QueueName, source: &Source) -> Result<(), String> {
        let Place { account, region } = &name.place;
        if region.as_str() != source.region || account.as_str() != source.account {
            return Err("the queue is not of the bucket's account and region".to_owned());
        }
        match name.find(&self.queues).map(|queue| queue.settings.order) {
            Some(Order::Loose) => Ok(()),
            Some(Order::Groups) => Err("FIFO queues cannot be told".to_owned()),
            None => Err("the queue does not exist".to_owned()),
        }
    }

    /// The message to a queue, as an event for it.
    fn to_queue(telling: &Telling, name: &QueueName) -> NewEvent {
        let route = EventRoute::Destination {
            adapter: QUEUE_ADAPTER.to_owned(),
            address: telling.target.clone(),
        };
        let namespace = name.place.namespace();
        NewEvent::new(route, namespace, telling.target.as_str(), telling.message.clone())
    }

    fn to_function(&self, telling: &Telling) -> Result<NewEvent, String> {
        let allowed = self.allowed(&telling.target, &telling.source)?;
        let function = &allowed.entry.function;
        let route = EventRoute::Function {
            contract: CONTRACT.to_owned(),
            function: function.id,
            qualifier: allowed.qualifier.as_ref().map(Qualifier::to_string),
        };
        let mut given = Attributes::default();
        given.set(attributes::INVOKED_ARN, telling.target.as_str());
        let (namespace, name) = (function.namespace.clone(), function.name.as_str());
        Ok(NewEvent {
            attributes: given,
            ..NewEvent::new(route, namespace, name, telling.message.clone())
        })
    }

    fn allowed(&self, target: &str, source: &Source) -> Result<Allowed, String> {
        let named = FunctionRef::parse(target).ok();
        let named = named.filter(|_| target.starts_with("arn:"));
        let named = named.ok_or("only Lambda functions and queues can be told, by their ARNs")?;
        let (Some(account), Some(region)) = (named.account, named.region) else {
            return Err("the ARN names no account and region".to_owned());
        };
        if region.as_str() != source.region {
            return Err(format!("the function is not in the bucket's region, {}", source.region));
        }
        let place = Place { account, region };
        let entry = self.catalog.find(&place.namespace(), &named.name);
        let entry = entry.ok_or("the function does not exist")?;
        let record: FunctionRecord = read(&entry.function.document).map_err(|error| error.to_string())?;
        let access = ServiceAccess {
            service: SERVICE,
            source_arn: &format!("arn:aws:s3:::{}", source.bucket),
            source_account: &source.account,
        };
        let statements = record.policies.get(&policy_key(named.qualifier.as_ref()));
        let allowed = statements.is_some_and(|all| all.iter().any(|statement| statement.allows_service(&access)));
        if !allowed {
            return Err(format!(
                "the function's policy does not allow {SERVICE} to invoke it for this bucket"
            ));
        }
        Ok(Allowed {
            entry,
            qualifier: named.qualifier,
        })
    }
}

#[async_trait]
impl Targets for BucketTargets {
    fn check(&self, target: &str, source: &Source) -> Result<(), String> {
        match QueueName::of_arn(target) {
            Some(name) => self.queue(&name, source),
            None => self.allowed(target, source).map(drop),
        }
    }

    async fn tell(&self, telling: Telling) -> Result<(), TellError> {
        let event = match QueueName::of_arn(&telling.target) {
            Some(name) => Self::to_queue(&telling, &name),
            None => self.to_function(&telling).map_err(TellError::Never)?,
        };
        let event = NewEvent {
            id: telling.event,
            token: Some(Token {
                scope: "aws.s3".to_owned(),
                text: telling.event.to_string(),
                window: ONCE,
            }),
            ..event
        };
        match self.runner.accept(event).await {
            Ok(_) => Ok(()),
            Err(AcceptError::Store(
                error @ (StoreError::Full(_)
                | StoreError::Closed
                | StoreError::Busy { .. }
                | StoreError::Database { .. }),
            )) => Err(TellError::Later(error.to_string())),
            Err(
                error @ (AcceptError::Store(StoreError::NotPending(_) | StoreError::Unreadable { .. })
                | AcceptError::TokenReused { .. }
                | AcceptError::TooLarge { .. }),
            ) => Err(TellError::Never(error.to_string())),
        }
    }
}
