//! What is served to instances: one task for each, as long as its instance lives.

use std::sync::Arc;
use std::time::Duration;

use sonagi_ports::RunningSandbox;
use tokio_util::task::TaskTracker;

/// Longest wait for tasks whose instances have ended.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);

/// The tasks.
#[derive(Debug, Default)]
pub(crate) struct Served(TaskTracker);

impl Served {
    /// Serves until the instance has ended; nobody can use what is served then.
    pub(crate) fn serve(&self, serving: impl Future<Output = ()> + Send + 'static, sandbox: Arc<dyn RunningSandbox>) {
        self.0.spawn(async move {
            tokio::select! {
                () = serving => {}
                _ = sandbox.exited() => {}
            }
        });
    }

    /// Waits for the end of all. An instance that would not go keeps its task; it is counted in what is left.
    pub(crate) async fn end(&self) {
        self.0.close();
        drop(tokio::time::timeout(SHUT_DOWN_LIMIT, self.0.wait()).await);
    }
}
