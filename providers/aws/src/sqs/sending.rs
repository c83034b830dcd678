//! Sending messages.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sonagi_model::MessageId;
use sonagi_ports::{Attributes, NewMessage, Order, Queue, Sent};

use super::errors::{Kind, SqsError};
use super::input::{Batch, Outgoing, SendMessage};
use super::message_attributes::{self, MessageAttribute, MessageAttributes, md5_of, md5_of_attributes};
use super::record::QueueRecord;
use super::{Call, Sqs};

/// Beginning of the keys under which the store has what are no attributes of the sender; no attribute's name has a `:`.
pub(crate) const RESERVED: &str = "aws:";
pub(super) const TRACE: &str = "aws:AWSTraceHeader";
pub(super) const SENDER: &str = "aws:SenderId";
/// The group of a message in a queue that does not go by groups.
pub(super) const GROUP: &str = "aws:MessageGroupId";
/// The token as the sender wrote it.
pub(super) const TOKEN: &str = "aws:MessageDeduplicationId";

/// Largest batch, bytes.
const BATCH_MAX: usize = 1_048_576;
/// Longest group or token, characters.
const ID_MAX: usize = 128;

#[derive(Debug, Serialize)]
pub(super) struct SentMessage {
    #[serde(rename = "Id", skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(rename = "MessageId")]
    message_id: MessageId,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_system_attributes: Option<String>,
    #[serde(rename = "SequenceNumber", skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
}

/// One entry of a batch that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failed {
    id: String,
    sender_fault: bool,
    code: &'static str,
    message: String,
}

impl Failed {
    pub(super) fn new(id: String, error: SqsError) -> Self {
        Self {
            id,
            sender_fault: error.is_senders_fault(),
            code: error.code(),
            message: error.message,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done<T: Serialize> {
    pub(super) successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<Failed>,
}

/// A sequence number as clients get it: twenty digits, in the order of sending.
pub(super) fn sequence_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// Looks at a batch as a whole.
pub(super) fn check_batch<'a>(ids: impl Iterator<Item = &'a str>, operation: &str) -> Result<(), SqsError> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        let text = format!("There should be at least one {operation}RequestEntry in the request.");
        return Err(SqsError::new(Kind::EmptyBatchRequest, text));
    }
    if ids.len() > 10 {
        let text = format!(
            "Maximum number of entries per request are 10. You have sent {}.",
            ids.len()
        );
        return Err(SqsError::new(Kind::TooManyEntries, text));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if ids
        .iter()
        .any(|id| id.is_empty() || id.len() > 80 || !id.bytes().all(allowed))
    {
        let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
                    letters long.";
        return Err(SqsError::new(Kind::InvalidBatchEntryId, text));
    }
    for (place, id) in ids.iter().enumerate() {
        if ids[..place].contains(id) {
            return Err(SqsError::new(
                Kind::BatchEntryIdsNotDistinct,
                format!("Id {id} repeated."),
            ));
        }
    }
    Ok(())
}

fn check_id(parameter: &str, value: &str) -> Result<(), SqsError> {
    if (1..=ID_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let reason = format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(SqsError::value(parameter, value, &reason))
}

/// Characters that XML 1.0 allows: queues carry no others.
const fn is_allowed(c: char) -> bool {
    matches!(c, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn check_body(body: &str) -> Result<(), SqsError> {
    if body.is_empty() {
        return Err(SqsError::missing("MessageBody"));
    }
    match body.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(SqsError::new(
            Kind::InvalidMessageContents,
            format!(
                "Invalid binary character '#x{:X}' was found in the message body.",
                u32::from(c)
            ),
        )),
    }
}

/// The token of a message without one, made of its content.
pub(super) fn token_of_content(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

fn size_of(message: &Outgoing) -> usize {
    message.message_body.len() + message_attributes::size(&message.message_attributes)
}

impl Outgoing {
    /// What goes with the message, checked.
    fn prepare(&self, call: &Call<'_>, queue: &Queue, record: &QueueRecord) -> Result<NewMessage, SqsError> {
        check_body(&self.message_body)?;
        message_attributes::check(&self.message_attributes)?;
        if size_of(self) > record.largest as usize {
            let text = format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
                record.largest
            );
            return Err(SqsError::new(Kind::InvalidParameterValue, text));
        }
        let mut attributes = Attributes::default();
        for (name, attribute) in &self.message_attributes {
            attributes.set(name, attribute.stored());
        }
        attributes.set(SENDER, call.caller.access_key.clone());
        if let Some(trace) = self.trace(call)? {
            attributes.set(TRACE, trace);
        }
        let (group, token) = self.order(queue, record, &mut attributes)?;
        Ok(NewMessage {
            id: MessageId::from_uuid(uuid::Uuid::new_v4()),
            body: Bytes::copy_from_slice(self.message_body.as_bytes()),
            attributes,
            delay: self.delay(queue, record)?,
            group,
            token,
        })
    }

    fn trace(&self, call: &Call<'_>) -> Result<Option<String>, SqsError> {
        for (name, attribute) in &self.message_system_attributes {
            if name != "AWSTraceHeader" || attribute.data_type != "String" || attribute.string_value.is_none() {
                let text = "Of message system attributes there is AWSTraceHeader, of type String.";
                return Err(SqsError::new(Kind::InvalidParameterValue, text));
            }
        }
        let given = self.message_system_attributes.get("AWSTraceHeader");
        let given = given.and_then(|attribute| attribute.string_value.clone());
        Ok(given.or_else(|| call.trace.map(str::to_owned)))
    }

    fn delay(&self, queue: &Queue, record: &QueueRecord) -> Result<Duration, SqsError> {
        let seconds = match self.delay_seconds {
            None => record.delay,
            Some(0) if queue.settings.order == Order::Groups => record.delay,
            Some(given) if queue.settings.order == Order::Groups => {
                let reason = "The request include parameter that is not valid for this queue type.";
                return Err(SqsError::value("DelaySeconds", &given.to_string(), reason));
            }
            Some(given) => u32::try_from(given)
                .ok()
                .filter(|seconds| *seconds <= 900)
                .ok_or_else(|| {
                    SqsError::value(
                        "DelaySeconds",
                        &given.to_string(),
                        "DelaySeconds must be >= 0 and <= 900.",
                    )
                })?,
        };
        Ok(Duration::from_secs(seconds.into()))
    }

    /// The group and token that the store goes by.
    fn order(
        &self,
        queue: &Queue,
        record: &QueueRecord,
        attributes: &mut Attributes,
    ) -> Result<(String, Option<String>), SqsError> {
        let (group, token) = (
            self.message_group_id.as_deref(),
            self.message_deduplication_id.as_deref(),
        );
        if let Some(group) = group {
            check_id("MessageGroupId", group)?;
        }
        if queue.settings.order == Order::Loose {
            if let Some(token) = token {
                let reason = "The request include parameter that is not valid for this queue type.";
                return Err(SqsError::value("MessageDeduplicationId", token, reason));
            }
            if let Some(group) = group {
                attributes.set(GROUP, group);
            }
            return Ok((String::new(), None));
        }
        let group = group.ok_or_else(|| SqsError::missing("MessageGroupId"))?;
        let token = match token {
            Some(token) => {
                check_id("MessageDeduplicationId", token)?;
                token.to_owned()
            }
            None if record.content_tokens => token_of_content(self.message_body.as_bytes()),
            None => {
                let text = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                            explicitly";
                return Err(SqsError::new(Kind::InvalidParameterValue, text));
            }
        };
        attributes.set(TOKEN, token.clone());
        let token = if record.tokens_of_group {
            format!("{group} {token}")
        } else {
            token
        };
        Ok((group.to_owned(), Some(token)))
    }

    fn answer(self, queue: &Queue, sent: Sent) -> SentMessage {
        SentMessage {
            id: self.id,
            message_id: sent.id,
            md5_of_body: md5_of(self.message_body.as_bytes()),
            md5_of_attributes: md5_of_attributes(&self.message_attributes),
            md5_of_system_attributes: md5_of_attributes(&self.message_system_attributes),
            sequence_number: (queue.settings.order == Order::Groups).then(|| sequence_text(sent.sequence)),
        }
    }
}

impl Sqs {
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<SentMessage, SqsError> {
        let input: SendMessage = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let message = input.message.prepare(call, &queue, &QueueRecord::of(&queue)?)?;
        let sent = self.queues.send(queue.id, vec![message]).await?;
        let sent = sent.first().copied().ok_or_else(SqsError::no_queue)?;
        Ok(Outgoing {
            id: String::new(),
            ..input.message
        }
        .answer(&queue, sent))
    }

    pub(super) async fn send_batch(&self, call: &Call<'_>) -> Result<Done<SentMessage>, SqsError> {
        let input: Batch<Outgoing> = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        check_batch(input.entries.iter().map(|entry| entry.id.as_str()), "SendMessageBatch")?;
        let size: usize = input.entries.iter().map(size_of).sum();
        if size > BATCH_MAX {
            let text = format!("Batch requests cannot be longer than {BATCH_MAX} bytes. You have sent {size} bytes.");
            return Err(SqsError::new(Kind::BatchRequestTooLong, text));
        }
        let record = QueueRecord::of(&queue)?;
        let (mut good, mut messages, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for entry in input.entries {
            match entry.prepare(call, &queue, &record) {
                Ok(message) => {
                    messages.push(message);
                    good.push(entry);
                }
                Err(error) => failed.push(Failed::new(entry.id, error)),
            }
        }
        let sent = if messages.is_empty() {
            Vec::new()
        } else {
            self.queues.send(queue.id, messages).await?
        };
        let successful = good
            .into_iter()
            .zip(sent)
            .map(|(entry, sent)| entry.answer(&queue, sent));
        Ok(Done {
            successful: successful.collect(),
            failed,
        })
    }
}

/// The attributes of the sender among what the store has.
pub(super) fn attributes_of(stored: &Attributes) -> MessageAttributes {
    let own = stored.0.iter().filter(|(key, _)| !key.starts_with(RESERVED));
    own.map(|(name, value)| (name.clone(), MessageAttribute::of_stored(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_ids_are_checked() {
        let check = |ids: &[&str]| check_batch(ids.iter().copied(), "SendMessageBatch").map_err(|error| error.kind);
        assert_eq!(check(&["a", "b-_1"]), Ok(()));
        assert_eq!(check(&[]), Err(Kind::EmptyBatchRequest));
        assert_eq!(check(&["a", "a"]), Err(Kind::BatchEntryIdsNotDistinct));
        assert_eq!(check(&["a b"]), Err(Kind::InvalidBatchEntryId));
        assert_eq!(check(&["1"; 11]), Err(Kind::TooManyEntries));
        assert!(check_id("MessageGroupId", "a!~").is_ok());
        for bad in ["", "a b", "\u{e9}", &"x".repeat(129)] {
            assert!(check_id("MessageGroupId", bad).is_err(), "{bad}");
        }
        assert!(check_body("\u{1f600}\n\u{fffd}").is_ok());
        for bad in ["\u{0}", "\u{b}", "\u{ffff}"] {
            assert_eq!(
                check_body(bad).unwrap_err().kind,
                Kind::InvalidMessageContents,
                "{bad:?}"
            );
        }
    }
}
