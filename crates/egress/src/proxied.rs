//! A sandbox whose instances reach the outside by a proxy on their own loopback address.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sonagi_ports::{CellKind, LaunchPlan, RunningSandbox, Sandbox, SandboxError, Started};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::proxy;

/// Where the proxy of an instance is, on its loopback address: above the ports that the kernel gives out by itself.
pub const PORT: u16 = 62_128;

/// Longest wait for proxies whose instances have ended.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);

/// Adds the proxy to every instance.
#[derive(Debug)]
pub struct ProxiedSandbox {
    inner: Arc<dyn Sandbox>,
    proxies: TaskTracker,
}

impl ProxiedSandbox {
    /// Around another sandbox.
    #[must_use]
    pub fn new(inner: Arc<dyn Sandbox>) -> Self {
        Self {
            inner,
            proxies: TaskTracker::new(),
        }
    }

    /// Serves until the instance has ended; nobody can use the listener then.
    fn serve(&self, listener: TcpListener, sandbox: Arc<dyn RunningSandbox>) {
        self.proxies.spawn(async move {
            tokio::select! {
                () = proxy::serve(listener) => {}
                _ = sandbox.exited() => {}
            }
        });
    }
}

/// Variables that tell programs of the proxy, unless the function has its own. Both spellings are in use: curl and
/// Python read the small letters, Go either. Node.js listens to them from version 24 on, and only with
/// `NODE_USE_ENV_PROXY=1`, which is left to the function: it costs each start the loading of an HTTP client.
fn variables(environment: &mut Vec<(String, String)>) {
    let address = format!("http://127.0.0.1:{PORT}");
    let none = "127.0.0.1,localhost,::1".to_owned();
    for (name, value) in [
        ("HTTP_PROXY", &address),
        ("http_proxy", &address),
        ("HTTPS_PROXY", &address),
        ("https_proxy", &address),
        ("NO_PROXY", &none),
        ("no_proxy", &none),
    ] {
        if !environment.iter().any(|(known, _)| known == name) {
            environment.push((name.to_owned(), value.clone()));
        }
    }
}

#[async_trait]
impl Sandbox for ProxiedSandbox {
    async fn start(&self, mut plan: LaunchPlan) -> Result<Started, SandboxError> {
        plan.listeners.push(PORT);
        variables(&mut plan.environment);
        let mut started = self.inner.start(plan).await?;
        let listener = started.listeners.pop().ok_or("the sandbox gave no listener".to_owned());
        let listener = listener.and_then(|listener| TcpListener::from_std(listener).map_err(|error| error.to_string()));
        match listener {
            Ok(listener) => self.serve(listener, Arc::clone(&started.sandbox)),
            Err(reason) => {
                started.sandbox.destroy().await;
                return Err(SandboxError::Host {
                    action: "serve the proxy of an instance",
                    reason,
                });
            }
        }
        Ok(started)
    }

    fn expect(&self, kind: &CellKind, cells: usize) {
        self.inner.expect(kind, cells);
    }

    fn alive(&self) -> usize {
        self.inner.alive()
    }

    async fn shut_down(&self) -> usize {
        let left = self.inner.shut_down().await;
        self.proxies.close();
        // An instance that would not go keeps its proxy; it is counted in what is left.
        drop(tokio::time::timeout(SHUT_DOWN_LIMIT, self.proxies.wait()).await);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_says_itself_stays() {
        let mut environment = vec![("HTTP_PROXY".to_owned(), "mine".to_owned())];
        variables(&mut environment);
        let find = |name: &str| {
            environment
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(find("HTTP_PROXY"), ["mine"]);
        assert_eq!(find("https_proxy"), ["http://127.0.0.1:62128"]);
    }
}
