//! Polls a queue for one mapping, and runs the function with what comes.
//!
//! One poll at a time takes a batch; batches are run beside each other, as many as the scale allows. A message is deleted
//! when the function has dealt with it. One that it has not stays hidden until its time is over, and comes again; how
//! often, and where it goes then, is the queue's own redrive policy. What a process leaves that dies comes again in the
//! same way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sonagi_model::Outcome;
use sonagi_ports::{Fetch, Message, Order, Queue, Receipt};
use sonagi_queues::Receive;
use sonagi_triggers::Pattern;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::batch::{self, Item, Verdict, verdict};
use super::live::Live;
use super::scale::Scale;
use super::{Engine, HAND_KIB};
use crate::auth::{Caller, Principal};
use crate::errors::Code;
use crate::events::{LOOP_LIMIT, count_of};
use crate::invoke::{Prepared, Target};
use crate::records::{FunctionRecord, RecursiveLoop, read};
use crate::sqs::{QueueName, QueueRecord, ReceivedQueue};

/// How long one poll waits for messages.
const POLL: Duration = Duration::from_secs(20);
/// Bytes of bodies at which a batch is closed: with their records they fit an invocation.
const BYTES: usize = 4 * 1024 * 1024;
/// Shortest wait of a batch for more messages, before it is hidden anew.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// How soon a queue or function that is missing is looked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// Delay before a throttled batch is tried again; doubles each time.
const THROTTLED_FIRST: Duration = Duration::from_millis(200);
/// The longest of those delays.
const THROTTLED_LONGEST: Duration = Duration::from_secs(5);

/// One poller.
pub(super) struct Poller {
    pub(super) engine: Arc<Engine>,
    pub(super) live: Arc<Live>,
    pub(super) queue_name: QueueName,
    pub(super) patterns: Arc<[Pattern]>,
}

/// How a batch ended, for the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Freely,
    Throttled,
}

/// What a poll brought.
enum Polled {
    Batch(Arc<Queue>, Batch),
    Nothing,
}

/// Messages that are run together.
struct Batch {
    messages: Vec<Message>,
    /// When they were hidden last, all of them.
    hidden: Instant,
    /// Their room in the hands of all pollers.
    _room: Option<OwnedSemaphorePermit>,
}

impl Poller {
    /// Polls until it is stopped, then waits for what it began.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut scale, mut running) = (Scale::new(self.live.record.concurrency), JoinSet::new());
        // Kept while something else happens: what a poll has taken is not dropped with it.
        let mut polling: Option<BoxFuture<'static, Polled>> = None;
        while !self.live.stop.is_cancelled() || polling.is_some() {
            if running.len() >= scale.limit() {
                self.live.is_busy();
                if adjust(&mut scale, running.join_next().await) == Ran::Freely {
                    scale.grow();
                }
                continue;
            }
            let poll = polling.get_or_insert_with(|| Arc::clone(&self).poll().boxed());
            tokio::select! {
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    adjust(&mut scale, Some(ended));
                }
                polled = poll => {
                    polling = None;
                    if let Polled::Batch(queue, batch) = polled {
                        let poller = Arc::clone(&self);
                        running.spawn(async move { poller.process(&queue, batch).await });
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    fn target(&self) -> Result<Target, String> {
        let caller = Caller {
            place: self.queue_name.place.clone(),
            principal: Principal::Root,
            access_key: String::new(),
        };
        let target = self.engine.invoker.target(&caller, &self.live.record.function, None);
        target.map_err(|error| error.message.unwrap_or_else(|| "Function call failed".to_owned()))
    }

    /// Waits for a batch; when there can be none, for a while.
    async fn poll(self: Arc<Self>) -> Polled {
        match self.try_poll().await {
            Ok(polled) => polled,
            Err(why) => {
                self.live.hindered(format!("PROBLEM: {why}"));
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    () = self.live.stop.cancelled() => {}
                }
                Polled::Nothing
            }
        }
    }

    /// Nothing is taken from the queue while the function is missing.
    async fn try_poll(&self) -> Result<Polled, String> {
        let queue = self.queue_name.find(&self.engine.sqs.queues);
        let queue = queue.ok_or_else(|| format!("the queue {} does not exist", self.queue_name.arn()))?;
        self.target()?;
        let record = QueueRecord::of(&queue).map_err(|error| error.to_string())?;
        let visibility = Duration::from_secs(record.visibility.into());
        // The first question is answered at once, and says that there is somebody.
        for wait in [Duration::ZERO, POLL] {
            self.live.asks();
            let hidden = Instant::now();
            let messages = tokio::select! {
                biased;
                received = self.receive(&queue, self.limit(), BYTES, visibility, wait) => received?,
                () = self.live.stop.cancelled() => return Ok(Polled::Nothing),
            };
            self.live.answered();
            if !messages.is_empty() {
                let batch = self.fill(&queue, messages, (visibility, hidden)).await;
                return Ok(Polled::Batch(queue, batch));
            }
        }
        Ok(Polled::Nothing)
    }

    fn limit(&self) -> usize {
        self.live.record.batch as usize
    }

    async fn receive(
        &self,
        queue: &Queue,
        limit: usize,
        bytes: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, String> {
        let fetch = Fetch {
            queue: queue.id,
            limit,
            bytes,
            visibility,
        };
        let received = self.engine.sqs.queues.receive(Receive { fetch, wait }).await;
        received.map_err(|error| error.to_string())
    }

    /// Lets a batch grow until its window is over, or it is full. What is in hand stays hidden meanwhile.
    async fn fill(
        &self,
        queue: &Queue,
        mut messages: Vec<Message>,
        (visibility, mut hidden): (Duration, Instant),
    ) -> Batch {
        let end = Instant::now() + Duration::from_secs(self.live.record.window.into());
        self.live.is_busy();
        loop {
            let size: usize = messages.iter().map(|message| message.body.len()).sum();
            let left = self.limit().saturating_sub(messages.len());
            let wait = end.saturating_duration_since(Instant::now());
            if left == 0 || size >= BYTES || wait.is_zero() || queue.settings.order == Order::Groups {
                break;
            }
            let wait = wait.min((visibility / 2).max(LEAST_WAIT));
            let more = tokio::select! {
                biased;
                more = self.receive(queue, left, BYTES - size, visibility, wait) => more,
                () = self.live.stop.cancelled() => break,
            };
            let Ok(more) = more else { break };
            messages.extend(more);
            if hidden.elapsed() > visibility / 4 {
                hidden = self.hide(queue, receipts(&messages), visibility).await;
            }
        }
        let kib = messages.iter().map(|message| message.body.len()).sum::<usize>() / 1024 + 1;
        let room =
            Arc::clone(&self.engine.hand).acquire_many_owned(u32::try_from(kib).unwrap_or(HAND_KIB).min(HAND_KIB));
        let room = room.await.ok();
        // The function has the whole time, however long the batch has waited.
        if hidden.elapsed() > visibility / 4 {
            hidden = self.hide(queue, receipts(&messages), visibility).await;
        }
        Batch {
            messages,
            hidden,
            _room: room,
        }
    }

    /// Hides messages for so long from now on. Where that fails some come again sooner. Since when they are hidden.
    async fn hide(&self, queue: &Queue, receipts: Vec<Receipt>, visibility: Duration) -> Instant {
        let hidden = Instant::now();
        let changes = receipts.into_iter().map(|receipt| (receipt, visibility)).collect();
        if let Err(error) = self.engine.sqs.queues.change_visibility(queue.id, changes).await {
            tracing::warn!(queue = %queue.name, %error, "messages in hand could not be hidden longer");
        }
        hidden
    }

    /// Runs the function with a batch, and deletes what it has dealt with.
    async fn process(&self, queue: &Queue, batch: Batch) -> Ran {
        let received = ReceivedQueue::new(&self.engine.sqs, queue);
        let (meant, others): (Vec<Item>, Vec<Item>) = batch
            .messages
            .into_iter()
            .map(|message| Item {
                record: batch::record(&received, &self.queue_name, &message),
                message,
            })
            .partition(|item| batch::is_meant(&self.patterns, &item.record));
        self.delete(queue, others.iter().map(|item| item.message.receipt).collect())
            .await;
        let mut ran = Ran::Freely;
        let mut waiting = vec![meant];
        while let Some(mut items) = waiting.pop() {
            if items.is_empty() {
                continue;
            }
            let event = batch::event(&items);
            if event.len() > self.engine.invoker.limits.payload && items.len() > 1 {
                // In order: the first half is run first.
                let second = items.split_off(items.len() / 2);
                waiting.extend([second, items]);
                continue;
            }
            let ended = Box::pin(self.invoke(queue, &received, event, (&items, batch.hidden))).await;
            let failed = !matches!(ended, Ended::Answered(_));
            if self.end(queue, items, ended).await == Ran::Throttled {
                ran = Ran::Throttled;
            }
            // What follows in a group waits for what failed.
            if failed && queue.settings.order == Order::Groups {
                break;
            }
        }
        ran
    }

    /// What becomes of messages that were run, or were not.
    async fn end(&self, queue: &Queue, items: Vec<Item>, ended: Ended) -> Ran {
        match ended {
            Ended::Answered(answer) => self.settle(queue, &items, &answer).await,
            Ended::Failed(why) => self.live.processed(why),
            Ended::Throttled => {
                self.live
                    .processed("PROBLEM: Lambda limit exceeded. The function is throttled.");
                return Ran::Throttled;
            }
            Ended::Stopping => {
                // Nothing ran: others may have them at once.
                let receipts = items.iter().map(|item| item.message.receipt).collect();
                self.hide(queue, receipts, Duration::ZERO).await;
            }
        }
        Ran::Freely
    }

    /// One invocation. While the function is throttled the batch waits, but not longer than half of the time for which
    /// its messages are hidden; the function has that whole time when its turn comes.
    async fn invoke(
        &self,
        queue: &Queue,
        received: &ReceivedQueue<'_>,
        event: bytes::Bytes,
        (items, mut hidden): (&[Item], Instant),
    ) -> Ended {
        let visibility = QueueRecord::of(queue).map_or(30, |record| record.visibility);
        let visibility = Duration::from_secs(visibility.into());
        let patience = Instant::now() + visibility / 2;
        let mut delay = THROTTLED_FIRST;
        loop {
            let prepared = match self.target() {
                Ok(target) => match self.prepare(target, received, event.clone(), items) {
                    Ok(prepared) => prepared,
                    Err(ended) => return ended,
                },
                Err(why) => return Ended::Failed(format!("PROBLEM: {why}")),
            };
            let error = match self.engine.invoker.run_whole(&prepared).await {
                Ok(collected) if collected.finished.outcome == Outcome::Success => {
                    return Ended::Answered(collected.body);
                }
                Ok(_) => return Ended::Failed("PROBLEM: Function call failed".to_owned()),
                Err(error) => error,
            };
            if !matches!(error.code, Code::TooManyRequests | Code::ServiceUnavailable) {
                return Ended::Failed(
                    "PROBLEM: internal Lambda error. Please contact Lambda customer support.".to_owned(),
                );
            }
            if self.live.stop.is_cancelled() {
                return Ended::Stopping;
            }
            if Instant::now() + delay >= patience {
                return Ended::Throttled;
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.live.stop.cancelled() => return Ended::Stopping,
            }
            if hidden.elapsed() > visibility / 4 {
                let receipts = items.iter().map(|item| item.message.receipt).collect();
                hidden = self.hide(queue, receipts, visibility).await;
            }
            delay = (delay * 2).min(THROTTLED_LONGEST);
        }
    }

    /// A call with the trace of the message that has come the longest way. One that goes round in a loop is not run.
    fn prepare(
        &self,
        target: Target,
        received: &ReceivedQueue<'_>,
        event: bytes::Bytes,
        items: &[Item],
    ) -> Result<Prepared, Ended> {
        let function = target.entry.function.id;
        let traces = items.iter().filter_map(|item| received.trace(&item.message));
        let trace = traces.max_by_key(|trace| count_of(function, trace));
        let record = read::<FunctionRecord>(&target.entry.function.document);
        let may_loop = record.is_ok_and(|record| record.recursive_loop == RecursiveLoop::Allow);
        if !may_loop && trace.is_some_and(|trace| count_of(function, trace) >= LOOP_LIMIT) {
            return Err(Ended::Failed(
                "PROBLEM: Lambda has detected your function being invoked in a recursive loop".to_owned(),
            ));
        }
        Ok(self.engine.invoker.prepare_batch(target, trace, event))
    }

    async fn settle(&self, queue: &Queue, items: &[Item], answer: &[u8]) {
        let ids: HashSet<String> = items.iter().map(|item| item.message.id.to_string()).collect();
        let verdict = if self.live.record.partial {
            verdict(answer, &ids)
        } else {
            Verdict::All
        };
        let failed = match verdict {
            Verdict::All => HashSet::new(),
            Verdict::Except(failed) => failed,
            Verdict::None(why) => {
                self.live.processed(format!("PROBLEM: Function call failed: {why}"));
                return;
            }
        };
        let dealt_with = items
            .iter()
            .filter(|item| !failed.contains(&item.message.id.to_string()));
        self.delete(queue, dealt_with.map(|item| item.message.receipt).collect())
            .await;
        self.live.processed("OK");
    }

    async fn delete(&self, queue: &Queue, receipts: Vec<Receipt>) {
        if receipts.is_empty() {
            return;
        }
        if let Err(error) = self.engine.sqs.queues.delete(queue.id, receipts).await {
            tracing::warn!(queue = %queue.name, %error, "messages that were dealt with could not be deleted; they come again");
        }
    }
}

/// How an invocation ended.
enum Ended {
    /// The function answered.
    Answered(bytes::Bytes),
    /// It ran in vain, or may not run: the messages come again when their time is over.
    Failed(String),
    /// It had no room for long.
    Throttled,
    /// The mapping or the platform stops.
    Stopping,
}

fn receipts(messages: &[Message]) -> Vec<Receipt> {
    messages.iter().map(|message| message.receipt).collect()
}

fn adjust(scale: &mut Scale, ended: Option<Result<Ran, JoinError>>) -> Ran {
    match ended {
        Some(Ok(Ran::Throttled)) => {
            scale.shrink();
            Ran::Throttled
        }
        Some(Ok(Ran::Freely)) | None => Ran::Freely,
        Some(Err(error)) => {
            tracing::error!(%error, "a batch ended without a word; its messages come again");
            Ran::Freely
        }
    }
}
