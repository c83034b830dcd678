//! A healthy function that is called all the time: attacks beside it must not cost it a single answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sonagi_testkit::Http;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pause between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// What a neighbor has seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// How long each answer took.
    pub took: Vec<Duration>,
    /// What went wrong.
    pub errors: Vec<String>,
}

impl Seen {
    /// The time within which 99 of 100 answers came.
    #[must_use]
    pub fn p99(&self) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or_default()
    }
}

/// The caller of the neighbor.
#[derive(Debug)]
pub struct Neighbor {
    stop: Arc<AtomicBool>,
    calls: JoinSet<Seen>,
}

impl Neighbor {
    /// Calls the function again and again from now on.
    #[must_use]
    pub fn call(http: Http, path: String, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (bearer, ended) = (format!("Bearer {token}"), Arc::clone(&stop));
        let mut calls = JoinSet::new();
        calls.spawn(async move {
            let mut seen = Seen::default();
            while !ended.load(Ordering::Relaxed) {
                once(&http, &path, &bearer, &mut seen).await;
                tokio::time::sleep(PAUSE).await;
            }
            seen
        });
        Self { stop, calls }
    }

    /// Stops and tells.
    ///
    /// # Panics
    /// The caller itself did.
    pub async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.calls.join_next().await.expect("one caller");
        seen.expect("it does not panic")
    }
}

async fn once(http: &Http, path: &str, bearer: &str, seen: &mut Seen) {
    let headers = [("authorization", bearer), ("content-type", "application/json")];
    let begun = Instant::now();
    match http.send("POST", path, &headers, r#"{"n":1}"#).await {
        Ok(answer) if answer.status.is_success() && answer.text().contains("healthy") => {
            seen.took.push(begun.elapsed());
        }
        Ok(answer) => seen.errors.push(format!("{} {}", answer.status, answer.text())),
        Err(error) => seen.errors.push(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_what_was_seen() {
        let seen = Seen {
            took: (1..=200).map(Duration::from_millis).collect(),
            errors: Vec::new(),
        };
        assert_eq!(seen.p99(), Duration::from_millis(198));
        assert_eq!(Seen::default().p99(), Duration::ZERO);
    }
}
