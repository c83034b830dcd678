//! Names, ARNs and URLs of queues.

use std::sync::Arc;

use sonagi_ports::Queue;
use sonagi_queues::Queues;

use super::errors::SqsError;
use super::{Call, Sqs};
use crate::place::{AccountId, Place, Region};

/// Longest name, characters.
const NAME_MAX: usize = 80;

/// The end of the name of a queue with groups.
pub(super) const FIFO: &str = ".fifo";

/// A queue by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueName {
    pub(crate) place: Place,
    pub(crate) name: String,
}

impl QueueName {
    /// Reads an ARN.
    pub(crate) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sqs", region, account, name] = parts.as_slice() else {
            return None;
        };
        if !partition.starts_with("aws") || !is_name(name) {
            return None;
        }
        Some(Self {
            place: Place {
                account: AccountId::parse(account).ok()?,
                region: Region::parse(region).ok()?,
            },
            name: (*name).to_owned(),
        })
    }

    /// A queue of a place by its bare name. `None`: no queue can be called so.
    pub(crate) fn of_place(place: &Place, name: &str) -> Option<Self> {
        is_name(name).then(|| Self {
            place: place.clone(),
            name: name.to_owned(),
        })
    }

    pub(crate) fn arn(&self) -> String {
        let Place { account, region } = &self.place;
        format!("arn:aws:sqs:{region}:{account}:{}", self.name)
    }

    /// The queue, if it is there.
    pub(crate) fn find(&self, queues: &Queues) -> Option<Arc<Queue>> {
        queues.find(&self.place.namespace(), &self.name)
    }

    /// What a queue of ours is called.
    pub(crate) fn of(queue: &Queue) -> Option<Self> {
        Some(Self {
            place: Place::of(&queue.namespace)?,
            name: queue.name.clone(),
        })
    }
}

/// Whether a text can be a queue's name, with groups or without.
pub(super) fn is_name(text: &str) -> bool {
    let stem = text.strip_suffix(FIFO).unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !stem.is_empty() && text.len() <= NAME_MAX && stem.bytes().all(allowed)
}

impl Call<'_> {
    /// A queue's URL, at the address that the client used.
    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{}/{name}", self.host, self.caller.place.account)
    }
}

impl Sqs {
    /// The queue of a request. Queues of other accounts do not exist.
    pub(super) fn queue(&self, call: &Call<'_>, url: Option<&str>) -> Result<Arc<Queue>, SqsError> {
        let url = url
            .filter(|url| !url.is_empty())
            .ok_or_else(|| SqsError::missing("QueueUrl"))?;
        let mut parts = url.trim_end_matches('/').rsplit('/');
        let name = parts.next().unwrap_or_default();
        // A bare name is enough.
        let account = parts.next().unwrap_or_else(|| call.caller.place.account.as_str());
        let found = (account == call.caller.place.account.as_str())
            .then(|| self.queues.find(&call.caller.place.namespace(), name))
            .flatten();
        found.ok_or_else(SqsError::no_queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_checked() {
        let longest = "q".repeat(80);
        for good in ["q", "Q-1_x", "q.fifo", &longest] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".fifo", "a.b", "a b", "q.fifo.fifo", &"q".repeat(81)] {
            assert!(!is_name(bad), "{bad}");
        }
        let arn = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
        assert_eq!(QueueName::of_arn(arn).unwrap().arn(), arn);
        for bad in [
            "arn:aws:sqs:us-east-1:000000000000",
            "arn:aws:sns:us-east-1:000000000000:q",
            "arn:aws:sqs:us-east-1:0:q",
            "q",
        ] {
            assert_eq!(QueueName::of_arn(bad), None, "{bad}");
        }
    }
}
