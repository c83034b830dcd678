//! Operations on queues as wholes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sonagi_model::QueueId;
use sonagi_ports::{Order, Queue, QueueSettings, Redrive};
use sonagi_queues::ChangeError;

use super::errors::{Kind, SqsError};
use super::input::{CreateQueue, GetQueueUrl, ListQueues, OnQueue, Values};
use super::names::{FIFO, QueueName, is_name};
use super::record::QueueRecord;
use super::{Call, Nothing, Sqs, attributes};

/// How long messages are kept unless told otherwise.
const RETENTION: Duration = Duration::from_secs(345_600);
/// For how long two messages with one token are one message.
const WINDOW: Duration = Duration::from_secs(300);
/// Most queues in one answer.
const PAGE: usize = 1000;
/// Most tags of a queue.
const TAGS_MAX: usize = 50;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrl {
    queue_url: String,
}

#[derive(Debug, Serialize)]
pub(super) struct QueueUrls {
    #[serde(rename = "QueueUrls", skip_serializing_if = "Vec::is_empty")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// The same under the name that this operation has for it.
#[derive(Debug, Serialize)]
pub(super) struct SourceUrls {
    #[serde(rename = "queueUrls")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tags {
    #[serde(rename = "Tags", skip_serializing_if = "BTreeMap::is_empty")]
    tags: Values,
}

fn check_name(name: &str, grouped: bool) -> Result<(), SqsError> {
    if name.is_empty() {
        return Err(SqsError::missing("QueueName"));
    }
    if grouped && !(name.ends_with(FIFO) && is_name(name)) {
        let text = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end \
                    with .fifo suffix and be 1 to 80 in length.";
        return Err(SqsError::new(Kind::InvalidParameterValue, text));
    }
    if !grouped && (name.ends_with(FIFO) || !is_name(name)) {
        let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.";
        return Err(SqsError::new(Kind::InvalidParameterValue, text));
    }
    Ok(())
}

fn check_tags(tags: &Values) -> Result<(), SqsError> {
    let good =
        |(key, value): (&String, &String)| (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
    if tags.len() > TAGS_MAX || !tags.iter().all(good) {
        let text = "A queue has at most 50 tags, with keys of 1 to 128 characters and values of at most 256.";
        return Err(SqsError::new(Kind::InvalidParameterValue, text));
    }
    Ok(())
}

impl Sqs {
    pub(super) async fn create_queue(&self, call: &Call<'_>) -> Result<QueueUrl, SqsError> {
        let input: CreateQueue = call.input()?;
        check_tags(&input.tags)?;
        let own = QueueName {
            place: call.caller.place.clone(),
            name: input.queue_name,
        };
        self.make(&own, &input.attributes, input.tags).await?;
        Ok(QueueUrl {
            queue_url: call.url(&own.name),
        })
    }

    /// Makes a queue if it is not there, with messages hidden for at least so many seconds.
    pub(crate) async fn ensure(&self, own: &QueueName, visibility: u64) -> Result<(), SqsError> {
        if own.find(&self.queues).is_some() {
            return Ok(());
        }
        let visibility = visibility.clamp(30, 43_200).to_string();
        let mut attributes = Values::from([("VisibilityTimeout".to_owned(), visibility)]);
        if own.name.ends_with(FIFO) {
            attributes.insert("FifoQueue".to_owned(), "true".to_owned());
            attributes.insert("ContentBasedDeduplication".to_owned(), "true".to_owned());
        }
        self.make(own, &attributes, Values::new()).await
    }

    async fn make(&self, own: &QueueName, attributes: &Values, tags: Values) -> Result<(), SqsError> {
        let grouped = attributes.get("FifoQueue").is_some_and(|value| value == "true");
        check_name(&own.name, grouped)?;
        if let Some(known) = own.find(&self.queues) {
            return self.same(own, &known, attributes);
        }
        let now = self.queues.now();
        let mut record = QueueRecord {
            tags,
            ..QueueRecord::new(now)
        };
        let mut settings = QueueSettings {
            order: if grouped { Order::Groups } else { Order::Loose },
            retention: RETENTION,
            window: WINDOW,
            redrive: None,
        };
        self.apply(own, attributes, &mut record, &mut settings)?;
        let queue = Queue {
            id: QueueId::generate(),
            namespace: own.place.namespace(),
            name: own.name.clone(),
            settings,
            created: now,
            document: record.document(),
        };
        match self.queues.create(queue).await {
            Ok(made) => self.relink(own, made.id).await,
            // Somebody was quicker.
            Err(ChangeError::Exists(known)) => self.same(own, &known, attributes),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a queue has these attributes already.
    fn same(&self, own: &QueueName, known: &Queue, values: &Values) -> Result<(), SqsError> {
        let record = QueueRecord::of(known)?;
        for (name, value) in values {
            let (mut other, mut settings) = (record.clone(), known.settings);
            let one = [(name.clone(), value.clone())].into();
            self.apply(own, &one, &mut other, &mut settings)?;
            if other != record || settings != known.settings {
                let text =
                    format!("A queue already exists with the same name and a different value for attribute {name}");
                return Err(SqsError::new(Kind::QueueNameExists, text));
            }
        }
        Ok(())
    }

    /// Dead-letter queues are meant by name: a new queue takes the place of one of its name that was deleted.
    async fn relink(&self, own: &QueueName, id: QueueId) -> Result<(), SqsError> {
        for source in self.sources_of(own)? {
            let change = |queue: &mut Queue| {
                let after = QueueRecord::of(queue)
                    .ok()
                    .and_then(|record| record.redrive)
                    .map(|policy| policy.after);
                queue.settings.redrive = after.map(|after| Redrive { target: id, after });
            };
            self.queues.alter(source.id, change).await?;
        }
        Ok(())
    }

    pub(super) fn sources_of(&self, own: &QueueName) -> Result<Vec<Arc<Queue>>, SqsError> {
        let arn = own.arn();
        let mut found = Vec::new();
        for queue in self.queues.list(&own.place.namespace()) {
            let record = QueueRecord::of(&queue)?;
            if record.redrive.is_some_and(|policy| policy.target == arn) {
                found.push(queue);
            }
        }
        Ok(found)
    }

    pub(super) fn queue_url(&self, call: &Call<'_>) -> Result<QueueUrl, SqsError> {
        let input: GetQueueUrl = call.input()?;
        let own = &call.caller.place;
        if input.owner.is_some_and(|owner| owner != own.account.as_str()) {
            return Err(SqsError::no_queue());
        }
        let found = self.queues.find(&own.namespace(), &input.queue_name);
        let found = found.ok_or_else(SqsError::no_queue)?;
        Ok(QueueUrl {
            queue_url: call.url(&found.name),
        })
    }

    pub(super) fn list_queues(&self, call: &Call<'_>) -> Result<QueueUrls, SqsError> {
        let input: ListQueues = call.input()?;
        let queues = self.queues.list(&call.caller.place.namespace());
        let names = queues
            .into_iter()
            .filter(|queue| queue.name.starts_with(&input.queue_name_prefix));
        let (queue_urls, next_token) = page(call, &input, names)?;
        Ok(QueueUrls { queue_urls, next_token })
    }

    pub(super) fn sources(&self, call: &Call<'_>) -> Result<SourceUrls, SqsError> {
        let input: ListQueues = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let own = QueueName {
            place: call.caller.place.clone(),
            name: queue.name.clone(),
        };
        let (queue_urls, next_token) = page(call, &input, self.sources_of(&own)?.into_iter())?;
        Ok(SourceUrls { queue_urls, next_token })
    }

    pub(super) async fn delete_queue(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        self.queues.remove(queue.id).await?;
        Ok(Nothing {})
    }

    pub(super) async fn purge_queue(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        self.queues.purge(queue.id).await?;
        Ok(Nothing {})
    }

    pub(super) async fn get_attributes(&self, call: &Call<'_>) -> Result<Shown, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let wanted = attributes::wanted(&input.attribute_names)?;
        let record = QueueRecord::of(&queue)?;
        let counts = self.queues.counts(queue.id).await?;
        let all = attributes::all(&queue, &record, counts).into_iter();
        Ok(Shown {
            attributes: all.filter(|(name, _)| wanted(name)).collect(),
        })
    }

    pub(super) async fn set_attributes(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let own = QueueName {
            place: call.caller.place.clone(),
            name: queue.name.clone(),
        };
        // Checked on a copy, and set again on what is there then.
        let (mut record, mut settings) = (QueueRecord::of(&queue)?, queue.settings);
        self.apply(&own, &input.attributes, &mut record, &mut settings)?;
        let change = |record: &mut QueueRecord, queue: &mut Queue| {
            self.apply(&own, &input.attributes, record, &mut queue.settings)
        };
        self.alter(queue.id, change).await
    }

    /// Changes a queue's record, and settings with it.
    pub(super) async fn alter(
        &self,
        id: QueueId,
        change: impl FnOnce(&mut QueueRecord, &mut Queue) -> Result<(), SqsError>,
    ) -> Result<Nothing, SqsError> {
        let now = self.queues.now();
        let mut done = Ok(());
        let altered = self.queues.alter(id, |queue| {
            let changed = QueueRecord::of(queue).and_then(|mut record| {
                let mut next = queue.clone();
                change(&mut record, &mut next)?;
                record.modified = now;
                next.document = record.document();
                Ok(next)
            });
            match changed {
                Ok(next) => *queue = next,
                Err(error) => done = Err(error),
            }
        });
        altered.await?;
        done.map(|()| Nothing {})
    }

    pub(super) async fn tag(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let change = |record: &mut QueueRecord, _: &mut Queue| {
            record.tags.extend(input.tags);
            check_tags(&record.tags)
        };
        self.alter(queue.id, change).await
    }

    pub(super) async fn untag(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        let change = |record: &mut QueueRecord, _: &mut Queue| {
            record.tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(())
        };
        self.alter(queue.id, change).await
    }

    pub(super) fn tags(&self, call: &Call<'_>) -> Result<Tags, SqsError> {
        let input: OnQueue = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        Ok(Tags {
            tags: QueueRecord::of(&queue)?.tags,
        })
    }
}

/// A page of queues. A token names the last one shown, so that a page stays right when queues come and go.
fn page(
    call: &Call<'_>,
    input: &ListQueues,
    queues: impl Iterator<Item = Arc<Queue>>,
) -> Result<(Vec<String>, Option<String>), SqsError> {
    let size = match input.max_results {
        None => PAGE,
        Some(number) => {
            let size = usize::try_from(number).ok().filter(|size| (1..=PAGE).contains(size));
            size.ok_or_else(|| SqsError::value("MaxResults", &number.to_string(), "Must be between 1 and 1000."))?
        }
    };
    let after = match &input.next_token {
        None => None,
        Some(token) => {
            let text = URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            Some(text.ok_or_else(|| SqsError::value("NextToken", token, "It is none of this operation's tokens."))?)
        }
    };
    let later = |queue: &Arc<Queue>| after.as_ref().is_none_or(|after| queue.name > *after);
    let mut found: Vec<_> = queues.filter(later).take(size + 1).collect();
    let more = found.len() > size;
    found.truncate(size);
    // Without a size, one page is all that is asked for.
    let last = found.last().filter(|_| more && input.max_results.is_some());
    let next = last.map(|last| URL_SAFE_NO_PAD.encode(&last.name));
    Ok((found.iter().map(|queue| call.url(&queue.name)).collect(), next))
}
