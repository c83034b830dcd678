//! `sonagi on queue` and `sonagi on s3`: functions that run by what happens in services of their provider.

use clap::Args;
use sonagi_api::BindingSource;

use super::{Common, json};
use crate::failure::Result;

/// Run a function with the messages of a queue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi on queue jobs hello                          made if there is no queue jobs
  sonagi on queue jobs hello --batch 100 --window 2   up to 100 messages, or what came within 2 s
  sonagi on queue jobs hello --filter '{\"body\": {\"kind\": [\"new\"]}}'
  sonagi on queue jobs.fifo hello --partial           the function's answer names what failed
  eval $(sonagi env aws) && aws sqs send-message --queue-url jobs --message-body hi

The function gets the event that Lambda has for SQS. A message that it fails with comes again when its time is over;
how often, and where it goes then, is the queue's RedrivePolicy. Clients see an event source mapping.")]
pub(super) struct Queue {
    /// The queue
    queue: String,

    /// The function
    pub(super) function: String,

    #[command(flatten)]
    pub(super) common: Common,

    /// Most messages of one call [default: 10]
    #[arg(long, value_name = "MESSAGES")]
    batch: Option<u32>,

    /// How long a batch waits to become full, seconds [default: 0]
    #[arg(long, value_name = "SECONDS")]
    window: Option<u32>,

    /// Most calls at once [default: as many as the platform finds useful]
    #[arg(long, value_name = "CALLS")]
    concurrency: Option<u32>,

    /// Which messages: an event pattern for their records, as JSON; others are deleted [default: all]
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,

    /// Only the messages that the function's answer names come again
    #[arg(long)]
    partial: bool,
}

impl Queue {
    pub(super) fn source(&self) -> Result<BindingSource> {
        Ok(BindingSource::Queue {
            queue: self.queue.clone(),
            batch: self.batch,
            window: self.window,
            concurrency: self.concurrency,
            filter: json("--filter", self.filter.as_deref())?,
            partial: self.partial,
        })
    }
}

/// Run a function by the changes of objects in a bucket
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi on s3 photos thumbnail                       made if there is no bucket photos
  sonagi on s3 photos thumbnail --prefix in/ --suffix .jpg
  sonagi on s3 photos forget --event 'ObjectRemoved:*'
  eval $(sonagi env aws) && aws s3 cp cat.jpg s3://photos/in/cat.jpg

The function gets the event that Lambda has for S3, asynchronously. Clients see a notification configuration.")]
pub(super) struct S3 {
    /// The bucket
    bucket: String,

    /// The function
    pub(super) function: String,

    #[command(flatten)]
    pub(super) common: Common,

    /// Which changes: ObjectCreated:*, ObjectCreated:Put, ObjectRemoved:*, …; may be given again
    /// [default: ObjectCreated:*]
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,

    /// Only objects whose keys begin so
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    /// Only objects whose keys end so
    #[arg(long, value_name = "TEXT", default_value = "")]
    suffix: String,
}

impl S3 {
    pub(super) fn source(&self) -> BindingSource {
        BindingSource::Objects {
            bucket: self.bucket.clone(),
            events: self.events.clone(),
            prefix: self.prefix.clone(),
            suffix: self.suffix.clone(),
        }
    }
}
