//! Moving dead letters back: tasks that take what is visible in a dead-letter queue and put it where it came from, or into
//! a queue that is named. A task outlives the process; a message that is moved twice by that is one.
//! Source: `StartMessageMoveTask`, `ListMessageMoveTasks` and `CancelMessageMoveTask` of the SQS API reference.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sonagi_control::Table;
use sonagi_model::Timestamp;
use sonagi_ports::{Fetch, Message, MetadataStore, NewMessage, Queue, Record, StoreError};
use sonagi_queues::{Queues, Receive};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::errors::{Kind, SqsError};
use super::names::QueueName;
use super::{Call, Sqs};

/// The set of records of tasks.
const COLLECTION: &str = "aws.moves";
/// Messages that are moved together.
const TOGETHER: usize = 10;
/// For how long they are hidden meanwhile.
const HIDDEN: Duration = Duration::from_secs(60);
/// Tasks that are remembered of a queue, and shown at most.
const REMEMBERED: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

/// A task, as it is stored. Fields are added with a default, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoveRecord {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// Messages per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    started: Timestamp,
    status: Status,
    /// As counted when it began.
    to_move: u64,
    moved: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A task that runs.
#[derive(Debug)]
struct Moving {
    /// Cancelled by a client.
    cancelled: CancellationToken,
    moved: AtomicU64,
}

/// All tasks.
#[derive(Debug)]
pub(super) struct Moves {
    table: Table<MoveRecord>,
    running: Mutex<HashMap<String, Arc<Moving>>>,
    /// Held by whoever starts one: a queue has one at a time.
    turn: tokio::sync::Mutex<()>,
    queues: Queues,
    tasks: TaskTracker,
    runtime: Handle,
    stop: CancellationToken,
}

impl Moves {
    /// Takes up the tasks of an earlier process. To be called on a tokio runtime.
    pub(super) fn open(
        queues: Queues,
        records: &[Record],
        store: Arc<dyn MetadataStore>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Result<Arc<Self>, StoreError> {
        let moves = Arc::new(Self {
            table: Table::load(records, COLLECTION, store)?,
            running: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            queues,
            tasks,
            runtime: Handle::current(),
            stop,
        });
        for (id, record) in moves.table.all().iter() {
            if record.status == Status::Running {
                moves.begin(id.clone(), MoveRecord::clone(record));
            }
        }
        Ok(moves)
    }

    /// Tasks of a queue, newest first.
    fn of(&self, source: &str) -> Vec<(String, Arc<MoveRecord>)> {
        let all = self.table.all();
        let own = all.iter().filter(|(_, record)| record.source == source);
        let mut own: Vec<_> = own.map(|(id, record)| (id.clone(), Arc::clone(record))).collect();
        own.sort_by_key(|(_, record)| std::cmp::Reverse(record.started));
        own
    }

    fn moved(&self, id: &str, record: &MoveRecord) -> u64 {
        let running = self.running.lock();
        running
            .get(id)
            .map_or(record.moved, |moving| moving.moved.load(Ordering::Relaxed))
    }

    fn begin(self: &Arc<Self>, id: String, record: MoveRecord) {
        let moving = Arc::new(Moving {
            cancelled: CancellationToken::new(),
            moved: AtomicU64::new(record.moved),
        });
        self.running.lock().insert(id.clone(), Arc::clone(&moving));
        let moves = Arc::clone(self);
        let work = async move {
            let ended = moves.run(&id, &record, &moving).await;
            let record = MoveRecord {
                moved: moving.moved.load(Ordering::Relaxed),
                // One that the platform's end interrupted goes on after the next start.
                status: ended.as_ref().copied().unwrap_or(Status::Failed),
                reason: ended.err(),
                ..record
            };
            if let Err(error) = moves.table.put(&id, record).await {
                tracing::error!(task = id, %error, "the end of a task that moves messages cannot be kept");
            }
            moves.running.lock().remove(&id);
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Moves until nothing is visible.
    async fn run(&self, id: &str, record: &MoveRecord, moving: &Moving) -> Result<Status, String> {
        let find = |arn: &str| QueueName::of_arn(arn).and_then(|name| name.find(&self.queues));
        loop {
            if moving.cancelled.is_cancelled() {
                return Ok(Status::Cancelled);
            }
            if self.stop.is_cancelled() {
                return Ok(Status::Running);
            }
            let source = find(&record.source).ok_or("AWS.SimpleQueueService.NonExistentQueue")?;
            let to = match &record.destination {
                Some(arn) => Some(find(arn).ok_or("AWS.SimpleQueueService.NonExistentQueue")?),
                None => None,
            };
            let fetch = Fetch {
                queue: source.id,
                limit: record.rate.map_or(TOGETHER, |rate| TOGETHER.min(rate as usize)),
                bytes: usize::MAX,
                visibility: HIDDEN,
            };
            let wait = Duration::ZERO;
            let received = self.queues.receive(Receive { fetch, wait }).await;
            let messages = received.map_err(|error| error.to_string())?;
            if messages.is_empty() {
                return Ok(Status::Completed);
            }
            let count = messages.len();
            for message in messages {
                self.pass(id, &source, to.as_deref(), message).await?;
                moving.moved.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(rate) = record.rate {
                let pause = Duration::from_secs(1).mul_f64(count as f64 / f64::from(rate.max(1)));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = moving.cancelled.cancelled() => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }

    /// Moves one message: sent first and deleted then, so that it is lost by no sudden end.
    async fn pass(&self, id: &str, source: &Queue, to: Option<&Queue>, message: Message) -> Result<(), String> {
        let to = match to {
            Some(to) => to.id,
            None => message.moved_from.ok_or("CouldNotDetermineMessageSource")?,
        };
        let again = NewMessage {
            id: message.id,
            body: message.body,
            attributes: message.attributes,
            delay: Duration::ZERO,
            group: message.group,
            token: Some(format!("move {id} {}", message.receipt.sequence)),
        };
        let sent = self.queues.send(to, vec![again]).await;
        sent.map_err(|error| error.to_string())?;
        let deleted = self.queues.delete(source.id, vec![message.receipt]).await;
        deleted.map(drop).map_err(|error| error.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartMove {
    #[serde(default)]
    source_arn: String,
    #[serde(default)]
    destination_arn: Option<String>,
    #[serde(default)]
    max_number_of_messages_per_second: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMoves {
    #[serde(default)]
    source_arn: String,
    #[serde(default)]
    max_results: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CancelMove {
    #[serde(default)]
    task_handle: String,
}

/// A handle, readable to clients as the service's are.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MoveHandle {
    task_id: String,
    source_arn: String,
}

impl MoveHandle {
    fn text(task: &str, source: &str) -> String {
        let handle = Self {
            task_id: task.to_owned(),
            source_arn: source.to_owned(),
        };
        STANDARD.encode(serde_json::to_vec(&handle).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Started {
    task_handle: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cancelled {
    approximate_number_of_messages_moved: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    results: Vec<ListedMove>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedMove {
    /// Of running tasks only: nothing can be done to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_handle: Option<String>,
    status: Status,
    source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_number_of_messages_per_second: Option<u32>,
    approximate_number_of_messages_moved: u64,
    approximate_number_of_messages_to_move: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    started_timestamp: i64,
}

fn not_found(text: &str) -> SqsError {
    SqsError::new(Kind::ResourceNotFound, text)
}

impl Sqs {
    fn moved_queue(&self, call: &Call<'_>, arn: &str, parameter: &str) -> Result<(QueueName, Arc<Queue>), SqsError> {
        if arn.is_empty() {
            return Err(SqsError::missing(parameter));
        }
        let name = QueueName::of_arn(arn)
            .ok_or_else(|| SqsError::new(Kind::InvalidParameterValue, format!("You must use this format to specify the {parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>")))?;
        let found = (name.place == call.caller.place)
            .then(|| name.find(&self.queues))
            .flatten();
        let text = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
        found.map(|queue| (name, queue)).ok_or_else(|| not_found(&text))
    }

    pub(super) async fn start_move(&self, call: &Call<'_>) -> Result<Started, SqsError> {
        let input: StartMove = call.input()?;
        let invalid = |text: &str| Err(SqsError::new(Kind::InvalidParameterValue, text));
        let (name, queue) = self.moved_queue(call, &input.source_arn, "SourceArn")?;
        if self.sources_of(&name)?.is_empty() {
            return invalid("Source queue must be configured as a Dead Letter Queue.");
        }
        if let Some(arn) = &input.destination_arn {
            let (_, to) = self.moved_queue(call, arn, "DestinationArn")?;
            if to.id == queue.id {
                return invalid("Source queue arn and destination queue arn must be different.");
            }
            if to.settings.order != queue.settings.order {
                return invalid("Source and destination queues must be of the same type.");
            }
        }
        let rate = match input.max_number_of_messages_per_second {
            None => None,
            Some(rate @ 1..=500) => u32::try_from(rate).ok(),
            Some(rate) => {
                let text = rate.to_string();
                let reason = "Must be from 1 to 500.";
                return Err(SqsError::value("MaxNumberOfMessagesPerSecond", &text, reason));
            }
        };
        let record = MoveRecord {
            source: name.arn(),
            destination: input.destination_arn,
            rate,
            started: self.queues.now(),
            status: Status::Running,
            to_move: self.queues.counts(queue.id).await?.visible,
            moved: 0,
            reason: None,
        };
        let id = Uuid::new_v4().to_string();
        let _turn = self.moves.turn.lock().await;
        let known = self.moves.of(&record.source);
        if known.iter().any(|(_, task)| task.status == Status::Running) {
            return invalid(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            );
        }
        let old: Vec<String> = known.into_iter().skip(REMEMBERED - 1).map(|(id, _)| id).collect();
        self.moves.table.remove(&old).await?;
        self.moves.table.put(&id, record.clone()).await?;
        let task_handle = MoveHandle::text(&id, &record.source);
        self.moves.begin(id, record);
        Ok(Started { task_handle })
    }

    pub(super) fn list_moves(&self, call: &Call<'_>) -> Result<Listed, SqsError> {
        let input: ListMoves = call.input()?;
        let (name, _) = self.moved_queue(call, &input.source_arn, "SourceArn")?;
        let most = match input.max_results {
            None => 1,
            Some(number @ 1..=10) => usize::try_from(number).unwrap_or(REMEMBERED),
            Some(number) => {
                let text = number.to_string();
                return Err(SqsError::value("MaxResults", &text, "Must be from 1 to 10."));
            }
        };
        let tasks = self.moves.of(&name.arn()).into_iter().take(most);
        let results = tasks.map(|(id, record)| ListedMove {
            task_handle: (record.status == Status::Running).then(|| MoveHandle::text(&id, &record.source)),
            status: record.status,
            source_arn: record.source.clone(),
            destination_arn: record.destination.clone(),
            max_number_of_messages_per_second: record.rate,
            approximate_number_of_messages_moved: self.moves.moved(&id, &record),
            approximate_number_of_messages_to_move: record.to_move,
            failure_reason: record.reason.clone(),
            started_timestamp: record.started.as_millis(),
        });
        Ok(Listed {
            results: results.collect(),
        })
    }

    pub(super) fn cancel_move(&self, call: &Call<'_>) -> Result<Cancelled, SqsError> {
        let input: CancelMove = call.input()?;
        if input.task_handle.is_empty() {
            return Err(SqsError::missing("TaskHandle"));
        }
        let handle = MoveHandle::parse(&input.task_handle).ok_or_else(|| {
            SqsError::new(
                Kind::InvalidParameterValue,
                "Value for parameter TaskHandle is invalid.",
            )
        })?;
        self.moved_queue(call, &handle.source_arn, "SourceArn")?;
        let known = self.moves.table.get(&handle.task_id);
        let known = known.filter(|record| record.source == handle.source_arn);
        known.ok_or_else(|| not_found("Task does not exist."))?;
        let running = self.moves.running.lock().get(&handle.task_id).cloned();
        let moving = running.ok_or_else(|| {
            let text = "Only active tasks can be cancelled.";
            SqsError::new(Kind::UnsupportedOperation, text)
        })?;
        moving.cancelled.cancel();
        Ok(Cancelled {
            approximate_number_of_messages_moved: moving.moved.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn handles_name_tasks_and_records_of_yesterday_are_read() {
        let handle = MoveHandle::parse(&MoveHandle::text("1", "arn")).unwrap();
        assert_eq!((handle.task_id.as_str(), handle.source_arn.as_str()), ("1", "arn"));
        assert!(MoveHandle::parse("x").is_none());
        let stored = json!({"source": "s", "started": 5, "status": "RUNNING", "to_move": 2, "moved": 1});
        let record = MoveRecord::deserialize(&stored).unwrap();
        assert_eq!(record.status, Status::Running);
        assert_eq!(serde_json::to_value(&record).unwrap(), stored);
    }
}
