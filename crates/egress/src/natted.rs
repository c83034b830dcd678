//! A sandbox whose instances have addresses of their own: beside that they need a resolver, which is served to each on its
//! loopback address, where programs ask when they are told of no other.

use std::sync::Arc;

use async_trait::async_trait;
use sonagi_model::Outside;
use sonagi_ports::{CellKind, LaunchPlan, Prepared, Readiness, Sandbox, SandboxError, Started};
use tokio::net::{TcpListener, UdpSocket};

use crate::dns;
use crate::served::Served;

/// Adds the resolver to every instance that reaches the outside.
#[derive(Debug)]
pub struct NattedSandbox {
    inner: Arc<dyn Sandbox>,
    resolvers: Served,
}

impl NattedSandbox {
    /// Around a sandbox that gives its instances a way out.
    #[must_use]
    pub fn new(inner: Arc<dyn Sandbox>) -> Self {
        Self {
            inner,
            resolvers: Served::default(),
        }
    }
}

fn take(started: &mut Started) -> Result<(UdpSocket, TcpListener), String> {
    let socket = started.sockets.pop().ok_or("the sandbox gave no socket")?;
    let listener = started.listeners.pop().ok_or("the sandbox gave no listener")?;
    let socket = UdpSocket::from_std(socket).map_err(|error| error.to_string())?;
    let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    Ok((socket, listener))
}

#[async_trait]
impl Sandbox for NattedSandbox {
    async fn start(&self, mut plan: LaunchPlan) -> Result<Started, SandboxError> {
        if plan.cell.outside == Outside::Closed {
            return self.inner.start(plan).await;
        }
        plan.listeners.push(dns::PORT);
        plan.sockets.push(dns::PORT);
        let mut started = self.inner.start(plan).await?;
        match take(&mut started) {
            Ok((socket, listener)) => {
                self.resolvers
                    .serve(dns::serve(socket, listener), Arc::clone(&started.sandbox));
                Ok(started)
            }
            Err(reason) => {
                started.sandbox.destroy().await;
                Err(SandboxError::Host {
                    action: "serve the resolver of an instance",
                    reason,
                })
            }
        }
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
        self.resolvers.end().await;
        left
    }
}
