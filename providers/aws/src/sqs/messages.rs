//! Receiving and deleting messages, and hiding them longer or shorter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sonagi_ports::{Fetch, Message, Order, Queue, Receipt, Settled, Shown};
use sonagi_queues::Receive;

use super::errors::{Kind, SqsError, shown};
use super::input::{Batch, Handle, ReceiveMessage};
use super::message_attributes::{MessageAttributes, md5_of_attributes};
use super::received::ReceivedQueue;
use super::record::QueueRecord;
use super::sending::{Done, Failed, check_batch};
use super::{Call, Nothing, Sqs, handle};

/// Longest time for which a message can be hidden, seconds.
const HIDDEN_MAX: i64 = 43_200;

#[derive(Debug, Serialize)]
pub(super) struct Received {
    /// Left out when empty: clients look whether it is there.
    #[serde(rename = "Messages", skip_serializing_if = "Vec::is_empty")]
    messages: Vec<ReceivedMessage>,
}

#[derive(Debug, Serialize)]
struct ReceivedMessage {
    #[serde(rename = "MessageId")]
    id: String,
    #[serde(rename = "ReceiptHandle")]
    handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    #[serde(rename = "Body")]
    body: String,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
    #[serde(rename = "MessageAttributes", skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: MessageAttributes,
}

/// An entry of a batch that succeeded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    id: String,
}

/// Whether a name is asked for: by itself, by a beginning with `.*`, or by one of the words for all.
fn is_wanted(names: &[String], name: &str) -> bool {
    names.iter().any(|wanted| {
        let beginning = wanted.strip_suffix(".*").or_else(|| wanted.strip_suffix('*'));
        wanted == "All" || wanted == name || beginning.is_some_and(|beginning| name.starts_with(beginning))
    })
}

fn render(queue: &ReceivedQueue<'_>, message: &Message, input: &ReceiveMessage) -> ReceivedMessage {
    let mut attributes = queue.system_attributes(message);
    attributes.retain(|name, _| {
        let names = [&input.attribute_names, &input.message_system_attribute_names];
        names
            .iter()
            .any(|names| names.iter().any(|wanted| wanted == name || wanted == "All"))
    });
    let mut message_attributes = queue.attributes(message);
    message_attributes.retain(|name, _| is_wanted(&input.message_attribute_names, name));
    ReceivedMessage {
        id: message.id.to_string(),
        handle: queue.handle(message),
        md5_of_body: queue.md5_of_body(message),
        body: String::from_utf8_lossy(&message.body).into_owned(),
        attributes,
        md5_of_attributes: md5_of_attributes(&message_attributes),
        message_attributes,
    }
}

/// A number of a request within its bounds.
fn bounded(name: &str, given: Option<i64>, default: u32, most: i64, reason: &str) -> Result<u32, SqsError> {
    let least = i64::from(name == "MaxNumberOfMessages");
    match given {
        None => Ok(default),
        Some(number) if (least..=most).contains(&number) => Ok(u32::try_from(number).unwrap_or(default)),
        Some(number) => Err(SqsError::value(name, &number.to_string(), reason)),
    }
}

fn hidden(given: Option<i64>, default: u32) -> Result<Duration, SqsError> {
    let reason = "Must be >= 0 and <= 43200, if provided.";
    let seconds = bounded("VisibilityTimeout", given, default, HIDDEN_MAX, reason)?;
    Ok(Duration::from_secs(seconds.into()))
}

impl Sqs {
    pub(super) async fn receive(&self, call: &Call<'_>) -> Result<Received, SqsError> {
        let input: ReceiveMessage = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let record = QueueRecord::of(&queue)?;
        let limit = bounded(
            "MaxNumberOfMessages",
            input.max_number_of_messages,
            1,
            10,
            "Must be between 1 and 10, if provided.",
        )?;
        let reason = "Must be >= 0 and <= 20, if provided.";
        let wait = bounded("WaitTimeSeconds", input.wait_time_seconds, record.wait, 20, reason)?;
        let receive = Receive {
            fetch: Fetch {
                queue: queue.id,
                limit: limit as usize,
                bytes: usize::MAX,
                visibility: hidden(input.visibility_timeout, record.visibility)?,
            },
            wait: Duration::from_secs(wait.into()),
        };
        let messages = self.queues.receive(receive).await?;
        let received = ReceivedQueue::new(self, &queue);
        let messages = messages.iter().map(|message| render(&received, message, &input));
        Ok(Received {
            messages: messages.collect(),
        })
    }

    pub(super) async fn delete(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: Handle = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let receipt = handle::parse(queue.id, &input.receipt_handle)?;
        let settled = self.queues.delete(queue.id, vec![receipt]).await?;
        settled
            .into_iter()
            .try_for_each(|settled| deleted(&queue, &input, settled))?;
        Ok(Nothing {})
    }

    pub(super) async fn delete_batch(&self, call: &Call<'_>) -> Result<Done<Entry>, SqsError> {
        let input: Batch<Handle> = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        check_batch(
            input.entries.iter().map(|entry| entry.id.as_str()),
            "DeleteMessageBatch",
        )?;
        let (good, receipts, failed) = parsed(&queue, input.entries, |_, receipt| Ok(receipt));
        let settled = self.queues.delete(queue.id, receipts).await?;
        let each = good.into_iter().zip(settled);
        Ok(sorted(
            each.map(|(entry, settled)| (deleted(&queue, &entry, settled), entry.id)),
            failed,
        ))
    }

    pub(super) async fn change_visibility(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: Handle = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let receipt = handle::parse(queue.id, &input.receipt_handle)?;
        let change = (receipt, given_visibility(&input)?);
        let shown = self.queues.change_visibility(queue.id, vec![change]).await?;
        shown.into_iter().try_for_each(|shown| changed(&input, shown))?;
        Ok(Nothing {})
    }

    pub(super) async fn change_visibility_batch(&self, call: &Call<'_>) -> Result<Done<Entry>, SqsError> {
        let input: Batch<Handle> = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        check_batch(
            input.entries.iter().map(|entry| entry.id.as_str()),
            "ChangeMessageVisibilityBatch",
        )?;
        let (good, changes, failed) = parsed(&queue, input.entries, |entry, receipt| {
            Ok((receipt, given_visibility(entry)?))
        });
        let shown = self.queues.change_visibility(queue.id, changes).await?;
        let each = good.into_iter().zip(shown);
        Ok(sorted(
            each.map(|(entry, shown)| (changed(&entry, shown), entry.id)),
            failed,
        ))
    }
}

fn given_visibility(input: &Handle) -> Result<Duration, SqsError> {
    if input.visibility_timeout.is_none() {
        return Err(SqsError::missing("VisibilityTimeout"));
    }
    hidden(input.visibility_timeout, 0)
}

/// Entries whose handles can be read, what is made of them, and the others.
fn parsed<T>(
    queue: &Queue,
    entries: Vec<Handle>,
    make: impl Fn(&Handle, Receipt) -> Result<T, SqsError>,
) -> (Vec<Handle>, Vec<T>, Vec<Failed>) {
    let (mut good, mut made, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match handle::parse(queue.id, &entry.receipt_handle).and_then(|receipt| make(&entry, receipt)) {
            Ok(one) => {
                made.push(one);
                good.push(entry);
            }
            Err(error) => failed.push(Failed::new(entry.id, error)),
        }
    }
    (good, made, failed)
}

fn sorted(each: impl Iterator<Item = (Result<(), SqsError>, String)>, mut failed: Vec<Failed>) -> Done<Entry> {
    let mut successful = Vec::new();
    for (done, id) in each {
        match done {
            Ok(()) => successful.push(Entry { id }),
            Err(error) => failed.push(Failed::new(id, error)),
        }
    }
    Done { successful, failed }
}

/// In a queue without groups, deleting what somebody else has by now is no error: it just stays.
fn deleted(queue: &Queue, input: &Handle, settled: Settled) -> Result<(), SqsError> {
    match settled {
        Settled::Deleted | Settled::Gone => Ok(()),
        Settled::Stale if queue.settings.order == Order::Loose => Ok(()),
        Settled::Expired | Settled::Stale => Err(SqsError::value(
            "ReceiptHandle",
            &input.receipt_handle,
            "The receipt handle has expired.",
        )),
    }
}

fn changed(input: &Handle, outcome: Shown) -> Result<(), SqsError> {
    let handle = shown(&input.receipt_handle);
    match outcome {
        Shown::Changed => Ok(()),
        Shown::NotInFlight => {
            let text = format!("The message of the receipt handle {handle} is not in flight.");
            Err(SqsError::new(Kind::MessageNotInflight, text))
        }
        Shown::Gone => Err(SqsError::value(
            "ReceiptHandle",
            &handle,
            "Message does not exist or is not available for visibility timeout change.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_asked_for_by_name_beginning_or_all() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (wanted, name, is) in [
            (&["All"][..], "a", true),
            (&[".*"], "a", true),
            (&["ab.*"], "abc", true),
            (&["a"], "ab", false),
            (&[], "a", false),
        ] {
            assert_eq!(is_wanted(&names(wanted), name), is, "{wanted:?} {name}");
        }
        assert!(bounded("MaxNumberOfMessages", Some(0), 1, 10, "").is_err());
        assert_eq!(bounded("WaitTimeSeconds", Some(0), 5, 20, "").unwrap(), 0);
    }
}
