//! A message queue beside the events: numbered messages are sent until they are acknowledged, received and deleted, while
//! the platform dies again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sonagi_testkit::{Answer, Http, Platform, until};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::kill::Place;

/// Groups of the queue, one sender for each: what one sends is in order.
pub const GROUPS: u64 = 4;
/// Of the queue. Its messages carry tokens, so that sending one again sends it once.
const NAME: &str = "chaos.fifo";
/// A signature that a platform without authentication reads, but does not check: it names the service.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=chaos/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, \
                      Signature=0000000000000000000000000000000000000000000000000000000000000000";
/// Seconds for which a message that was received is hidden.
const HIDDEN: u32 = 3;

/// What is known of the messages, by their numbers.
#[derive(Debug, Default)]
struct Known {
    sent: BTreeSet<u64>,
    received: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    newest_of_group: BTreeMap<u64, u64>,
}

/// The queue, and what senders and receiver know.
#[derive(Debug)]
pub struct Messages {
    url: String,
    next: AtomicU64,
    known: Mutex<Known>,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages that were acknowledged; each was received.
    pub messages: usize,
}

/// Performs an operation.
///
/// # Errors
/// There is no answer.
pub async fn answer(http: &Http, operation: &str, input: &Value) -> Result<Answer> {
    let target = format!("AmazonSQS.{operation}");
    let headers = [
        ("authorization", SIGNED),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    http.send("POST", "/", &headers, input.to_string()).await
}

/// The same; `None`: the platform did not say that it succeeded.
pub async fn call(http: &Http, operation: &str, input: &Value) -> Option<Value> {
    let answer = answer(http, operation, input).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    if answer.body.is_empty() {
        return Some(Value::Null);
    }
    answer.json().ok()
}

impl Messages {
    /// Makes the queue.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn new(platform: &Platform) -> Result<Arc<Self>> {
        let attributes = json!({ "FifoQueue": "true", "VisibilityTimeout": HIDDEN.to_string() });
        let input = json!({ "QueueName": NAME, "Attributes": attributes });
        let made = call(&platform.http(), "CreateQueue", &input).await;
        let made = made.context("the queue cannot be made")?;
        Ok(Arc::new(Self {
            url: made["QueueUrl"].as_str().context("a queue has a URL")?.to_owned(),
            next: AtomicU64::new(0),
            known: Mutex::default(),
        }))
    }

    /// Sends numbers of one group, one after the other, each until it is acknowledged. Ends with the place.
    ///
    /// # Errors
    /// None: it has the form of the other tasks.
    pub async fn keep_sending(self: Arc<Self>, group: u64, mut place: Place) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst) * GROUPS + group;
            let input = json!({
                "QueueUrl": self.url,
                "MessageBody": number.to_string(),
                "MessageGroupId": group.to_string(),
                "MessageDeduplicationId": number.to_string(),
            });
            loop {
                let Ok(there) = place.wait_for(Option::is_some).await.map(|there| there.clone()) else {
                    return Ok(());
                };
                let Some((http, _)) = there else { continue };
                if call(&http, "SendMessage", &input).await.is_some() {
                    self.known.lock().await.sent.insert(number);
                    break;
                }
                // A platform that is down is asked again shortly.
                sleep(Duration::from_millis(5)).await;
            }
            // A steady stream beside the events, not a flood.
            sleep(Duration::from_millis(40)).await;
        }
    }

    /// Receives and deletes. Ends with the place.
    ///
    /// # Errors
    /// What is violated.
    pub async fn keep_receiving(self: Arc<Self>, mut place: Place) -> Result<()> {
        loop {
            let Ok(there) = place.wait_for(Option::is_some).await.map(|there| there.clone()) else {
                return Ok(());
            };
            let Some((http, _)) = there else { continue };
            if self.receive(&http).await?.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Receives once and deletes what came; `None`: the platform did not answer.
    async fn receive(&self, http: &Http) -> Result<Option<usize>> {
        let input = json!({ "QueueUrl": self.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1 });
        let Some(answer) = call(http, "ReceiveMessage", &input).await else {
            return Ok(None);
        };
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        for message in &messages {
            let number: u64 = message["Body"].as_str().context("a body")?.parse()?;
            self.note(number).await?;
            let input = json!({ "QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"] });
            if call(http, "DeleteMessage", &input).await.is_some() {
                self.known.lock().await.deleted.insert(number);
            }
        }
        Ok(Some(messages.len()))
    }

    async fn note(&self, number: u64) -> Result<()> {
        let mut known = self.known.lock().await;
        ensure!(
            !known.deleted.contains(&number),
            "message {number} was received after it was deleted"
        );
        if known.received.insert(number) {
            let newest = known.newest_of_group.insert(number % GROUPS, number);
            ensure!(
                newest.is_none_or(|newest| newest < number),
                "message {number} came after {newest:?}"
            );
        }
        Ok(())
    }

    /// Receives what is left, and looks for what was lost. To be called when nobody sends or receives any more.
    ///
    /// # Errors
    /// What is violated.
    ///
    /// # Panics
    /// The queue does not become empty.
    pub async fn check(&self, platform: &Platform) -> Result<Found> {
        let http = platform.http();
        let missing = async || {
            if let Err(error) = self.receive(&http).await {
                return Some(Err(error));
            }
            let known = self.known.lock().await;
            // Not those that are known to be deleted: a deletion may have been done though nobody was told.
            known.sent.is_subset(&known.received).then_some(Ok(known.sent.len()))
        };
        let messages = until("every message that was acknowledged", Duration::from_secs(60), missing).await?;
        let input = json!({ "QueueUrl": self.url, "AttributeNames": ["All"] });
        until("an empty queue", Duration::from_secs(60), async || {
            let answer = call(&http, "GetQueueAttributes", &input).await?;
            let count = |name: &str| answer["Attributes"][name].as_str().map(str::to_owned);
            let waiting = count("ApproximateNumberOfMessages")?;
            let hidden = count("ApproximateNumberOfMessagesNotVisible")?;
            // One that was being sent at the end may be there although nobody was told.
            if (waiting.as_str(), hidden.as_str()) != ("0", "0") {
                self.receive(&http).await.ok()?;
                return None;
            }
            Some(())
        })
        .await;
        Ok(Found { messages })
    }
}
