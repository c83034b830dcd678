//! Waiting for a state. No test sleeps and hopes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a state is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Looks again and again until there is something, and returns it.
///
/// # Panics
/// Nothing came within the limit; `what` says what was awaited.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_comes() {
        let mut rounds = 0;
        let found = until("the third round", Duration::from_secs(5), async || {
            rounds += 1;
            (rounds == 3).then_some("there")
        });
        assert_eq!(found.await, "there");
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited 1s in vain for nothing")]
    async fn gives_up_at_the_limit() {
        until::<()>("nothing", Duration::from_secs(1), async || None).await;
    }
}
