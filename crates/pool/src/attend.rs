//! The task that stays with an instance for its whole life: reads what it prints and notices its end.

use std::sync::Arc;

use crate::instance::Instance;
use crate::pool::Inner;

/// Returns when the instance's process has ended and what it printed has been read.
pub(crate) async fn attend(inner: Arc<Inner>, instance: Arc<Instance>) {
    tokio::select! {
        _exit = instance.sandbox.exited() => (),
        () = instance.output.read_to_end() => {
            instance.sandbox.exited().await;
        }
    }
    instance.output.settle();
    instance.output.close();
    inner.ended(&instance);
}
