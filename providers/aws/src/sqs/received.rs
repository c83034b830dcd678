//! What is told of messages beyond their bodies, for whoever passes them on.

use std::collections::BTreeMap;

use sonagi_ports::{Message, Order, Queue};

use super::message_attributes::{MessageAttributes, md5_of, md5_of_attributes};
use super::names::QueueName;
use super::sending::{GROUP, SENDER, TOKEN, TRACE, attributes_of, sequence_text};
use super::{Sqs, handle};

/// A queue that messages were received from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedQueue<'a> {
    sqs: &'a Sqs,
    queue: &'a Queue,
}

impl<'a> ReceivedQueue<'a> {
    pub(crate) const fn new(sqs: &'a Sqs, queue: &'a Queue) -> Self {
        Self { sqs, queue }
    }

    /// The receipt as clients get it.
    pub(crate) fn handle(&self, message: &Message) -> String {
        handle::text(self.queue.id, message.receipt)
    }

    /// The attributes of the sender.
    pub(crate) fn attributes(&self, message: &Message) -> MessageAttributes {
        attributes_of(&message.attributes)
    }

    pub(crate) fn md5_of_body(&self, message: &Message) -> String {
        md5_of(&message.body)
    }

    /// `None` if there are no attributes.
    pub(crate) fn md5_of_attributes(&self, message: &Message) -> Option<String> {
        md5_of_attributes(&self.attributes(message))
    }

    /// The trace that the message was sent with.
    pub(crate) fn trace<'m>(&self, message: &'m Message) -> Option<&'m str> {
        message.attributes.get(TRACE)
    }

    /// What the service itself says of a message.
    pub(crate) fn system_attributes(&self, message: &Message) -> BTreeMap<&'static str, String> {
        let mut values = BTreeMap::from([
            ("SentTimestamp", message.sent.as_millis().to_string()),
            ("ApproximateReceiveCount", message.receipt.lease.to_string()),
            (
                "ApproximateFirstReceiveTimestamp",
                message.first_received.as_millis().to_string(),
            ),
        ]);
        let stored = |key: &str| message.attributes.get(key).map(str::to_owned);
        for (name, key) in [
            ("SenderId", SENDER),
            ("AWSTraceHeader", TRACE),
            ("MessageGroupId", GROUP),
            ("MessageDeduplicationId", TOKEN),
        ] {
            values.extend(stored(key).map(|value| (name, value)));
        }
        if self.queue.settings.order == Order::Groups {
            values.insert("MessageGroupId", message.group.clone());
            values.insert("SequenceNumber", sequence_text(message.receipt.sequence));
        }
        let source = message.moved_from.and_then(|id| self.sqs.queues.get(id));
        let source = source.and_then(|source| Some(QueueName::of(&source)?.arn()));
        values.extend(source.map(|arn| ("DeadLetterQueueSourceArn", arn)));
        values
    }
}
