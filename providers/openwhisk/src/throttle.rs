//! How much a namespace may ask for: per clock minute, and at once.
//! Source: apache/openwhisk (commit 1fae641), `RateThrottler.scala`, `ActivationThrottler.scala`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use parking_lot::Mutex;
use sonagi_model::Timestamp;

use crate::errors::WhiskError;
use crate::limits::WhiskLimits;

/// What is counted per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rated {
    Invocations,
    Fires,
}

/// One count of one namespace: the minute, and how many came in it.
type Minute = (i64, u32);

/// Counts. One entry for each namespace that ever asked: as many as there are namespaces.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    minutes: Mutex<HashMap<(Rated, String), Minute>>,
    running: Mutex<HashMap<String, Arc<AtomicU32>>>,
}

/// One activation at once, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn refused(text: String) -> WhiskError {
    WhiskError::new(StatusCode::TOO_MANY_REQUESTS, text)
}

impl Throttle {
    /// Counts one more request of this minute.
    ///
    /// # Errors
    /// 429 over the limit. Refused requests count too, as upstream.
    pub(crate) fn rate(&self, what: Rated, namespace: &str, now: Timestamp, allowed: u32) -> Result<(), WhiskError> {
        let minute = now.as_secs().div_euclid(60);
        let mut minutes = self.minutes.lock();
        let (at, count) = minutes.entry((what, namespace.to_owned())).or_insert((minute, 0));
        if *at != minute {
            (*at, *count) = (minute, 0);
        }
        *count = count.saturating_add(1);
        if *count > allowed {
            return Err(refused(format!(
                "Too many requests in the last minute (count: {count}, allowed: {allowed})."
            )));
        }
        Ok(())
    }

    /// Counts one more activation under way.
    ///
    /// # Errors
    /// 429 over the limit.
    pub(crate) fn enter(&self, namespace: &str, allowed: u32) -> Result<Running, WhiskError> {
        let count = Arc::clone(self.running.lock().entry(namespace.to_owned()).or_default());
        let before = count.fetch_add(1, Ordering::AcqRel);
        let running = Running(count);
        if before >= allowed {
            return Err(refused(format!(
                "Too many concurrent requests in flight (count: {}, allowed: {allowed}).",
                before + 1
            )));
        }
        Ok(running)
    }

    /// An invocation by a user: both limits, the rate first.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn invoke(&self, namespace: &str, now: Timestamp, limits: &WhiskLimits) -> Result<Running, WhiskError> {
        self.rate(Rated::Invocations, namespace, now, limits.invocations_per_minute)?;
        self.enter(namespace, limits.concurrent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_begin_anew_each_minute_and_end_with_the_activation() {
        let throttle = Throttle::default();
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let rate = |secs| {
            throttle
                .rate(Rated::Invocations, "a", at(secs), 2)
                .map_err(|error| error.text)
        };
        assert_eq!((rate(0), rate(59)), (Ok(()), Ok(())));
        assert_eq!(
            rate(59).unwrap_err(),
            "Too many requests in the last minute (count: 3, allowed: 2)."
        );
        assert_eq!(rate(60), Ok(()));
        assert_eq!(throttle.rate(Rated::Fires, "a", at(59), 1), Ok(()));
        let one = throttle.enter("a", 1).unwrap();
        assert_eq!(
            throttle.enter("a", 1).unwrap_err().text,
            "Too many concurrent requests in flight (count: 2, allowed: 1)."
        );
        throttle.enter("b", 1).unwrap();
        drop(one);
        throttle.enter("a", 1).unwrap();
    }
}
