//! A future that goes on when its owner goes away.
//!
//! A caller that disconnects drops the future of its request. The attempt must still come to its end, be metered and
//! give its instance back. A task for each attempt would do that at the price of a wake-up of another thread for each
//! call (tens of microseconds); this moves what is left of the future into a task only when it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Where futures go on.
pub(crate) trait Home: Unpin {
    /// The tasks that own them.
    fn tasks(&self) -> &TaskTracker;
    /// The runtime that runs them.
    fn runtime(&self) -> &Handle;
}

/// See the module.
pub(crate) struct Persist<F, H>
where
    F: Future + Send + 'static,
    H: Home,
{
    future: Option<Pin<Box<F>>>,
    home: H,
}

impl<F, H> Persist<F, H>
where
    F: Future + Send + 'static,
    H: Home,
{
    pub(crate) fn new(future: F, home: H) -> Self {
        Self {
            future: Some(Box::pin(future)),
            home,
        }
    }
}

impl<F, H> Future for Persist<F, H>
where
    F: Future + Send + 'static,
    H: Home,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let output = ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F, H> Drop for Persist<F, H>
where
    F: Future + Send + 'static,
    H: Home,
{
    fn drop(&mut self) {
        // A future that has panicked must not be polled again.
        if let Some(future) = self.future.take().filter(|_| !std::thread::panicking()) {
            let rest = async move { drop(future.await) };
            self.home.tasks().spawn_on(rest, self.home.runtime());
        }
    }
}
