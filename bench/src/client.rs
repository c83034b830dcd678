//! A client on processors of its own: on a thread that is pinned, with a runtime of its own, so that it neither gives nor
//! takes time from the server that it measures.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{self, Outcome, Target};
use crate::pin::Pinned;

/// A closed loop ([`load::run`]) on these processors.
///
/// # Errors
/// A request failed, or there are no such processors.
pub async fn closed(cores: &[usize], target: &Target, connections: usize, time: Duration) -> Result<Outcome> {
    let target = target.clone();
    on(cores, async move |()| Ok(load::run(&target, connections, time).await?)).await
}

/// An open loop ([`load::open::run`]) on these processors.
///
/// # Errors
/// As [`closed`].
pub async fn open(
    cores: &[usize],
    target: &Target,
    schedule: load::open::Schedule,
    connections: usize,
) -> Result<load::open::Outcome> {
    let target = target.clone();
    on(cores, async move |()| {
        Ok(load::open::run(&target, schedule, connections).await?)
    })
    .await
}

async fn on<T: Send + 'static>(cores: &[usize], work: impl AsyncFnOnce(()) -> Result<T> + Send + 'static) -> Result<T> {
    let cores = cores.to_vec();
    let client = move || {
        let _pinned = Pinned::to(&cores)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(()))
    };
    tokio::task::spawn_blocking(client)
        .await
        .context("the client broke off")?
}
