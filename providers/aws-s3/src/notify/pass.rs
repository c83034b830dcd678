//! Passing notices on.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::EventId;
use sonagi_objects::{Error, Notice, ObjectStore};
use tokio_util::sync::CancellationToken;

use super::event::Kept;

/// Notices that are passed on between two writings of that.
const TOGETHER: u32 = 64;
/// How long a target that cannot take anything now is left alone: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Where a change happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The bucket's name.
    pub bucket: String,
    /// The account that it belongs to.
    pub account: String,
    /// Its region.
    pub region: String,
}

/// One message for one target.
#[derive(Debug, Clone)]
pub struct Telling {
    /// Its identity: the same when it is passed on again.
    pub event: EventId,
    /// The ARN of whom it is for.
    pub target: String,
    /// Where it happened.
    pub source: Source,
    /// `{"Records": […]}`.
    pub message: Bytes,
}

/// A message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// It never will be: it is dropped.
    #[error("{0}")]
    Never(String),
    /// Not now: it is passed on later.
    #[error("{0}")]
    Later(String),
}

/// Takes what buckets tell.
#[async_trait]
pub trait Targets: Send + Sync + std::fmt::Debug {
    /// Whether a target is there and the bucket may tell it.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn check(&self, target: &str, source: &Source) -> Result<(), String>;

    /// Takes a message for good; taking the same one again is taking it once.
    ///
    /// # Errors
    /// [`TellError`].
    async fn tell(&self, telling: Telling) -> Result<(), TellError>;
}

/// Passes notices on until the platform stops. What is left is passed on after the next start.
pub(crate) async fn pass_on(store: ObjectStore, targets: std::sync::Arc<dyn Targets>, stop: CancellationToken) {
    let mut pause = PAUSES.0;
    loop {
        let waiting = match store.notices(TOGETHER).await {
            Ok(waiting) => waiting,
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "notices of buckets cannot be read"
                );
                Vec::new()
            }
        };
        if waiting.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = store.noticed() => continue,
            }
        }
        let told = tell_all(targets.as_ref(), &waiting).await;
        let all = told.len() == waiting.len();
        sonagi_crash::crash_point!("object/told");
        if let Err(error) = store.passed_on(told).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "notices of buckets cannot be forgotten"
            );
            return;
        }
        pause = if all { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        if stop.is_cancelled() {
            return;
        }
        if !all {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Passes on in order until one is not taken; those that need not be kept.
async fn tell_all(targets: &dyn Targets, waiting: &[Notice]) -> Vec<i64> {
    let mut told = Vec::with_capacity(waiting.len());
    for notice in waiting {
        let Ok(kept) = serde_json::from_slice::<Kept>(&notice.payload) else {
            tracing::error!(notice = notice.id, "a notice of a bucket cannot be read; it is dropped");
            told.push(notice.id);
            continue;
        };
        let telling = Telling {
            event: kept.event,
            target: kept.target,
            source: kept.source,
            message: Bytes::from(kept.message.to_string()),
        };
        let (bucket, target) = (telling.source.bucket.clone(), telling.target.clone());
        match targets.tell(telling).await {
            Ok(()) => {}
            Err(TellError::Never(why)) => {
                tracing::warn!(bucket, target, why, "a notice of a bucket is dropped");
            }
            Err(TellError::Later(why)) => {
                tracing::warn!(bucket, target, why, "notices of buckets wait");
                return told;
            }
        }
        told.push(notice.id);
    }
    told
}
