//! The message that tells of one change.
//! Source: "Event message structure" of the S3 user guide, version 2.1.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use s3s::S3Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sonagi_model::{EventId, Timestamp};
use sonagi_objects::Bucket;

use super::pass::{Source, Telling};
use crate::answers::{as_in_form, user_id};
use crate::api::Api;
use crate::buckets::Settings;
use crate::front::S3Caller;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    Copy,
    Complete,
    Delete,
}

impl What {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Copy => "ObjectCreated:Copy",
            Self::Complete => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
        }
    }
}

/// A change of an object.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) caller: &'a S3Caller,
    pub(crate) what: What,
    pub(crate) key: &'a str,
    /// Its bytes and tag, if it is there now.
    pub(crate) content: Option<(u64, &'a str)>,
}

/// A notice, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The event's id, made here, so that it is passed on once.
    pub(super) event: EventId,
    pub(super) target: String,
    pub(super) source: Source,
    pub(super) message: Value,
}

/// Numbers that grow with every change, and with the time.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    last: AtomicI64,
}

impl Sequencer {
    fn next(&self, now: Timestamp) -> String {
        let now = now.as_micros();
        let step = |last: i64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        format!("{:018X}", now.max(last.unwrap_or(now) + 1))
    }
}

impl Api {
    /// The notices of a change.
    pub(crate) fn notices(&self, change: &Change<'_>) -> S3Result<Vec<Bytes>> {
        let settings = Settings::read(&change.bucket.document)?;
        let mut notices = Vec::new();
        for rule in settings.notification.of(change.what, change.key) {
            let kept = Kept {
                event: EventId::generate(),
                target: rule.target.clone(),
                source: Source {
                    bucket: change.bucket.name.clone(),
                    account: change.bucket.owner.clone(),
                    region: change.bucket.region.clone(),
                },
                message: json!({ "Records": [self.record(change, &rule.id)] }),
            };
            notices.push(Bytes::from(serde_json::to_vec(&kept).unwrap_or_default()));
        }
        Ok(notices)
    }

    /// Tells a queue that it will be told. One that does not take that is seen by the platform's events, not by the caller.
    pub(super) async fn try_out(&self, bucket: &Bucket, caller: &S3Caller, target: String) {
        let message = json!({
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": iso(self.clock.now()),
            "Bucket": bucket.name,
            "RequestId": caller.request,
            "HostId": user_id(&caller.request),
        });
        let telling = Telling {
            event: EventId::generate(),
            source: Source {
                bucket: bucket.name.clone(),
                account: bucket.owner.clone(),
                region: bucket.region.clone(),
            },
            target,
            message: Bytes::from(message.to_string()),
        };
        if let Err(error) = self.targets.tell(telling).await {
            tracing::warn!(bucket = bucket.name, %error, "a queue does not take the test of a notification");
        }
    }

    fn record(&self, change: &Change<'_>, rule: &str) -> Value {
        let now = self.clock.now();
        let mut object = json!({ "key": as_in_form(change.key) });
        if let Some((size, tag)) = change.content {
            object["size"] = json!(size);
            object["eTag"] = json!(tag);
        }
        object["sequencer"] = json!(self.sequencer.next(now));
        let bucket = change.bucket;
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": bucket.region,
            "eventTime": iso(now),
            "eventName": change.what.name(),
            "userIdentity": { "principalId": change.caller.principal },
            "requestParameters": { "sourceIPAddress": change.caller.address },
            "responseElements": {
                "x-amz-request-id": change.caller.request,
                "x-amz-id-2": user_id(&change.caller.request),
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": rule,
                "bucket": {
                    "name": bucket.name,
                    "ownerIdentity": { "principalId": user_id(&bucket.owner) },
                    "arn": format!("arn:aws:s3:::{}", bucket.name),
                },
                "object": object,
            },
        })
    }
}

fn iso(moment: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_even_when_the_time_does_not() {
        let sequencer = Sequencer::default();
        let at = |micros| Timestamp::from_micros(micros);
        let numbers = [
            sequencer.next(at(10)),
            sequencer.next(at(10)),
            sequencer.next(at(5)),
            sequencer.next(at(99)),
        ];
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert_eq!(iso(at(1_787_500_000_123_000)), "2026-08-23T15:46:40.123Z");
    }
}
