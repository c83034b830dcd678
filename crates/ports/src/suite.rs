//! One set of checks per port, run against its fake and against every adapter. Each takes an empty store, and panics
//! with what it found where the port's promise does not hold.

pub mod archive;
pub mod artifact;
pub mod event;
pub mod log;
pub mod message;
pub mod metadata;
pub mod run;
pub mod sandbox;

/// Polls all futures until each is ready; results in the order given.
async fn at_once<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, result) in &mut running {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *result = Some(value),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    running.into_iter().filter_map(|(_, result)| result).collect()
}
