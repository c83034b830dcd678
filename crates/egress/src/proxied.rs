//! A sandbox whose instances reach the outside by a proxy on their own loopback address.

use std::sync::Arc;

use async_trait::async_trait;
use sonagi_model::Outside;
use sonagi_ports::{CellKind, LaunchPlan, Prepared, Readiness, Sandbox, SandboxError, Started};
use tokio::net::TcpListener;

use crate::proxy;
use crate::served::Served;

/// Where the proxy of an instance is, on its loopback address: above the ports that the kernel gives out by itself.
pub const PORT: u16 = 62_128;

/// Adds the proxy to every instance that reaches the outside.
#[derive(Debug)]
pub struct ProxiedSandbox {
    inner: Arc<dyn Sandbox>,
    proxies: Served,
}

impl ProxiedSandbox {
    /// Around another sandbox.
    #[must_use]
    pub fn new(inner: Arc<dyn Sandbox>) -> Self {
        Self {
            inner,
            proxies: Served::default(),
        }
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
        if plan.cell.outside == Outside::Closed {
            return self.inner.start(plan).await;
        }
        plan.listeners.push(PORT);
        variables(&mut plan.environment);
        let mut started = self.inner.start(plan).await?;
        let listener = started.listeners.pop().ok_or("the sandbox gave no listener".to_owned());
        let listener = listener.and_then(|listener| TcpListener::from_std(listener).map_err(|error| error.to_string()));
        match listener {
            Ok(listener) => self.proxies.serve(proxy::serve(listener), Arc::clone(&started.sandbox)),
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

    fn readiness(&self) -> Vec<(Prepared, Readiness)> {
        self.inner.readiness()
    }

    fn alive(&self) -> usize {
        self.inner.alive()
    }

    async fn shut_down(&self) -> usize {
        let left = self.inner.shut_down().await;
        self.proxies.end().await;
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
