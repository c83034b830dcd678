//! SQS: the message queues of an account, by the JSON protocol.
//! Sources: the service model of botocore 1.44.5; "Amazon SQS API Reference"; answers as the service gives them.

mod attributes;
mod destination;
mod errors;
mod handle;
mod input;
mod message_attributes;
mod messages;
mod moves;
mod names;
mod permissions;
mod queues;
mod received;
mod record;
mod sending;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sonagi_ports::{MetadataStore, Record, StoreError};
use sonagi_queues::Queues;
use sonagi_wire::Body;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Caller;
use errors::Kind;
use moves::Moves;

pub use destination::QueueDestination;
pub(crate) use errors::SqsError;
pub(crate) use names::QueueName;
pub(crate) use received::ReceivedQueue;
pub(crate) use record::QueueRecord;

/// Content type of requests and answers.
const JSON: &str = "application/x-amz-json-1.0";

/// Bytes of a request: the largest batch, with every character escaped.
pub(crate) const REQUEST_MAX: usize = 8 * 1024 * 1024;

/// The header that carries a trace.
const TRACE_HEADER: &str = "x-amzn-trace-id";

/// The queues of all accounts.
#[derive(Debug, Clone)]
pub(crate) struct Sqs {
    pub(crate) queues: Queues,
    moves: Arc<Moves>,
}

impl Sqs {
    /// Takes up what an earlier process left. To be called on a tokio runtime; tasks run in `tasks` until `stop`.
    ///
    /// # Errors
    /// [`StoreError`]: a record cannot be read.
    pub(crate) fn open(
        queues: Queues,
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Result<Self, StoreError> {
        let moves = Moves::open(queues.clone(), records, store, (tasks, stop))?;
        Ok(Self { queues, moves })
    }
}

/// One request, authenticated and read.
#[derive(Debug)]
struct Call<'a> {
    caller: &'a Caller,
    body: &'a Bytes,
    /// The address under which the client reached the platform: queues' URLs begin with it.
    host: &'a str,
    trace: Option<&'a str>,
}

impl Call<'_> {
    /// The body as an operation's input. No body is an empty object.
    fn input<T: DeserializeOwned>(&self) -> Result<T, SqsError> {
        let text = if self.body.is_empty() {
            b"{}".as_slice()
        } else {
            self.body
        };
        serde_json::from_slice(text).map_err(|error| {
            SqsError::new(
                Kind::Serialization,
                format!("The request body is not as expected: {error}"),
            )
        })
    }
}

/// The answer to an operation that has nothing to say.
#[derive(Debug, Serialize)]
struct Nothing {}

impl Sqs {
    /// Answers one request.
    pub(crate) async fn serve(&self, parts: &Parts, body: &Bytes, caller: &Caller) -> Response<Body> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = text("host").or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        let call = Call {
            caller,
            body,
            host: host.unwrap_or("localhost"),
            trace: text(TRACE_HEADER),
        };
        let target = text("x-amz-target").unwrap_or_default();
        let done = match target.strip_prefix("AmazonSQS.") {
            Some(operation) => self.perform(operation, &call).await,
            None => Err(SqsError::new(
                Kind::UnknownOperation,
                "Of SQS, this platform speaks the JSON protocol: the header X-Amz-Target names the operation.",
            )),
        };
        match done {
            Ok(text) => answered(text),
            Err(error) => error.response(),
        }
    }

    async fn perform(&self, operation: &str, call: &Call<'_>) -> Result<Vec<u8>, SqsError> {
        match operation {
            "CreateQueue" => rendered(&self.create_queue(call).await?),
            "GetQueueUrl" => rendered(&self.queue_url(call)?),
            "ListQueues" => rendered(&self.list_queues(call)?),
            "DeleteQueue" => rendered(&self.delete_queue(call).await?),
            "PurgeQueue" => rendered(&self.purge_queue(call).await?),
            "GetQueueAttributes" => rendered(&self.get_attributes(call).await?),
            "SetQueueAttributes" => rendered(&self.set_attributes(call).await?),
            "TagQueue" => rendered(&self.tag(call).await?),
            "UntagQueue" => rendered(&self.untag(call).await?),
            "ListQueueTags" => rendered(&self.tags(call)?),
            "ListDeadLetterSourceQueues" => rendered(&self.sources(call)?),
            "SendMessage" => rendered(&Box::pin(self.send(call)).await?),
            "SendMessageBatch" => rendered(&Box::pin(self.send_batch(call)).await?),
            "ReceiveMessage" => rendered(&Box::pin(self.receive(call)).await?),
            "DeleteMessage" => rendered(&self.delete(call).await?),
            "DeleteMessageBatch" => rendered(&self.delete_batch(call).await?),
            "ChangeMessageVisibility" => rendered(&self.change_visibility(call).await?),
            "ChangeMessageVisibilityBatch" => rendered(&self.change_visibility_batch(call).await?),
            "StartMessageMoveTask" => rendered(&Box::pin(self.start_move(call)).await?),
            "ListMessageMoveTasks" => rendered(&self.list_moves(call)?),
            "CancelMessageMoveTask" => rendered(&self.cancel_move(call)?),
            "AddPermission" => rendered(&self.add_permission(call).await?),
            "RemovePermission" => rendered(&self.remove_permission(call).await?),
            unknown => Err(SqsError::new(
                Kind::UnknownOperation,
                format!("The operation {} does not exist.", errors::shown(unknown)),
            )),
        }
    }
}

fn rendered(answer: &impl Serialize) -> Result<Vec<u8>, SqsError> {
    serde_json::to_vec(answer).map_err(|error| SqsError::new(Kind::Internal, error.to_string()))
}

fn answered(text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}
