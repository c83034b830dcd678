//! An open loop: requests are due at fixed moments, whatever became of the ones before.
//!
//! A request's time counts from the moment it was due, not from the moment a connection was free for it: a server that
//! stands still for a second makes every request of that second late, and all of them are counted (no "coordinated
//! omission"). Only the client's own timer is forgiven: where a connection stood idle and was woken late, the time counts
//! from the moment of sending, and how late that was is reported beside.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::{Connection, Target};
use crate::Error;
use crate::stats::Samples;

/// When requests are due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Requests a second; more than zero.
    pub rate: f64,
    /// How many there are.
    pub count: usize,
}

impl Schedule {
    /// Requests at a rate for a time; at least one.
    #[must_use]
    pub fn for_time(rate: f64, time: Duration) -> Self {
        let count = (rate * time.as_secs_f64()).round().max(1.0) as usize;
        Self { rate, count }
    }

    /// When the request with this number is due, counted from the beginning.
    #[must_use]
    pub fn due(self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// What a run gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Time of each request from the moment it was due, microseconds.
    pub latencies_us: Samples,
    /// How late the client's own timer was for requests that met an idle connection, microseconds.
    pub timer_us: Samples,
    /// Answers a second, from the first request due to the last answer.
    pub per_second: f64,
}

/// Sends requests to a target at their moments, over so many kept connections.
///
/// # Errors
/// A request failed.
pub async fn run(target: &Target, schedule: Schedule, connections: usize) -> Result<Outcome, Error> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&target.address).await?);
    }
    let callers = open.iter_mut().map(|connection| {
        async move |_: usize| -> Result<(), Error> {
            connection.call(target).await?;
            Ok(())
        }
    });
    let outcome = paced(schedule, callers).await?;
    for connection in open {
        connection.close().await;
    }
    Ok(outcome)
}

/// Lets callers make the calls of a schedule: whichever is free first takes the call that is due next, and gets its number.
///
/// # Errors
/// The first error of a caller.
pub async fn paced<C>(schedule: Schedule, callers: impl IntoIterator<Item = C>) -> Result<Outcome, Error>
where
    C: AsyncFnMut(usize) -> Result<(), Error>,
{
    let begun = Instant::now();
    let next = Cell::new(0);
    let next = &next;
    let work = callers.into_iter().map(|mut caller| async move {
        let mut mine = Outcome::default();
        while next.get() < schedule.count {
            let number = next.replace(next.get() + 1);
            let due = begun + schedule.due(number);
            let from = if Instant::now() < due {
                sleep_until(due).await;
                let woken = Instant::now();
                mine.timer_us.push((woken - due).as_secs_f64() * 1e6);
                woken
            } else {
                due
            };
            caller(number).await?;
            mine.latencies_us.push(from.elapsed().as_secs_f64() * 1e6);
        }
        Ok::<_, Error>(mine)
    });
    let mut all = Outcome::default();
    for mine in join_all(work).await {
        let mine = mine?;
        all.latencies_us.extend(mine.latencies_us);
        all.timer_us.extend(mine.timer_us);
    }
    all.per_second = schedule.count as f64 / begun.elapsed().as_secs_f64().max(f64::EPSILON);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A server that stands still during the first call and answers the others in a millisecond.
    async fn serve(number: usize) -> Result<(), Error> {
        sleep(if number == 0 { 100 * MS } else { MS }).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stands_still_makes_all_that_were_due_late() {
        let schedule = Schedule { rate: 100.0, count: 20 };
        let outcome = paced(schedule, [serve]).await.unwrap();
        let summary = outcome.latencies_us.summary().unwrap();
        assert_eq!(summary.count, 20);
        // Requests 1 to 10 were due while the first was served: 91, 82, ... 10 ms; a closed loop would have seen one slow
        // request and nineteen of a millisecond.
        assert!(summary.max >= 100e3 && summary.median > 5e3, "{summary:?}");
        let late = outcome.latencies_us.values().iter().filter(|us| **us > 5e3).count();
        assert!((10..=12).contains(&late), "{late}: {:?}", outcome.latencies_us);
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_second_connection_nobody_waits_for_the_first() {
        let schedule = Schedule { rate: 100.0, count: 20 };
        let outcome = paced(schedule, [serve, serve]).await.unwrap();
        let late = outcome.latencies_us.values().iter().filter(|us| **us > 5e3).count();
        assert_eq!(late, 1, "{:?}", outcome.latencies_us);
        assert!(
            (90.0..=106.0).contains(&outcome.per_second),
            "{} a second",
            outcome.per_second
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_the_measurement() {
        let broken = async |_| Err(Error::Json(serde_json::from_str::<u8>("x").unwrap_err()));
        assert!(paced(Schedule { rate: 1e3, count: 3 }, [broken]).await.is_err());
    }

    #[test]
    fn schedules_have_a_request_and_a_pace() {
        assert_eq!(Schedule::for_time(100.0, 2000 * MS).count, 200);
        assert_eq!(Schedule::for_time(0.1, MS).count, 1);
        assert_eq!(Schedule { rate: 4.0, count: 9 }.due(2), 500 * MS);
    }
}
