//! The native API over the providers' adapters and the stores. Everything needs the bearer token; what is not a route
//! is refused like what is not allowed. Documents, paths and headers are described in `sonagi-api`.

mod access;
mod answer;
mod backup;
mod bindings;
mod body;
mod calls;
mod convert;
mod events;
mod functions;
mod logs;
mod moment;
mod platform;
mod query;
mod runs;
mod scope;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post, put};
use sonagi_api as api;
use sonagi_control::Catalog;
use sonagi_ports::{Adapter, Clock, Interpreters, LogSink, RunStore, UsageRow};
use sonagi_triggers::{Bindings, Broker};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use access::Access;
pub use backup::Backups;
pub use events::{EventDesk, Events};

/// Archives that are in memory at once, all clients together; further deployments wait for their turn.
const DEPLOYS_AT_ONCE: usize = 16;

/// Bounds of the native API's own bodies. A provider's limits hold besides.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of an archive.
    pub archive: usize,
    /// Bytes of an event.
    pub event: usize,
    /// Bytes of a JSON document.
    pub document: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive: 256 * 1024 * 1024,
            event: 64 * 1024 * 1024,
            document: 256 * 1024,
        }
    }
}

/// Amounts for usage rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Priced {
    /// One for each row, in the order of the rows; `None` where there is no tariff.
    pub rows: Vec<Option<api::Amount>>,
    /// Sums, one per currency.
    pub totals: Vec<api::Amount>,
}

/// Prices usage by the providers' tariffs.
pub type Price = Arc<dyn Fn(&[UsageRow]) -> Priced + Send + Sync>;
/// Looks at the host. May block for some milliseconds.
pub type Checks = Arc<dyn Fn() -> Vec<api::Check> + Send + Sync>;

/// What the native API works with.
#[derive(Clone)]
pub struct NativeState {
    /// The providers; the first one is meant where none is named.
    pub adapters: Vec<Arc<dyn Adapter>>,
    /// Names to functions.
    pub catalog: Arc<Catalog>,
    /// Attempts and usage.
    pub runs: Arc<dyn RunStore>,
    /// Accepted events.
    pub events: Events,
    /// What functions run by.
    pub bindings: Arc<Bindings>,
    /// The bus.
    pub broker: Arc<Broker>,
    /// Writes backups.
    pub backup: Arc<dyn Backups>,
    /// Output of functions.
    pub logs: Arc<dyn LogSink>,
    /// What ages in queries are counted from.
    pub clock: Arc<dyn Clock>,
    /// Told to clients, which choose runtimes by them.
    pub interpreters: Arc<dyn Interpreters>,
    /// Who may ask.
    pub access: Access,
    /// The platform's address, for clients that do not say which one they use.
    pub endpoint: String,
    /// The platform's settings and where they come from.
    pub settings: Vec<api::Setting>,
    /// The host's condition.
    pub checks: Checks,
    /// Prices.
    pub price: Price,
    /// Bounds of bodies.
    pub limits: Limits,
    /// When it is cancelled, answers without an end (followed logs) end.
    pub stop: CancellationToken,
}

impl fmt::Debug for NativeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeState")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// What handlers share.
#[derive(Debug)]
struct Shared {
    native: NativeState,
    deploys: Semaphore,
    /// Held by whoever writes a backup.
    backups: tokio::sync::Mutex<()>,
}

impl std::ops::Deref for Shared {
    type Target = NativeState;

    fn deref(&self) -> &NativeState {
        &self.native
    }
}

/// The routes below `/sonagi`; the request's path is the whole one.
pub fn router(state: NativeState) -> Router {
    let shared = Arc::new(Shared {
        native: state,
        deploys: Semaphore::new(DEPLOYS_AT_ONCE),
        backups: tokio::sync::Mutex::default(),
    });
    let routes = Router::new()
        .route("/status", get(platform::status))
        .route("/deploy", post(functions::deploy))
        .route("/projects", post(functions::deploy_project))
        .route("/functions", get(functions::list))
        .route(
            "/functions/{name}",
            get(functions::show)
                .patch(functions::configure)
                .delete(functions::remove),
        )
        .route("/functions/{name}/invoke", post(calls::invoke))
        .route("/functions/{name}/send", post(calls::send))
        .route(
            "/functions/{name}/versions",
            get(functions::versions).post(functions::publish),
        )
        .route("/functions/{name}/aliases", get(functions::aliases))
        .route(
            "/functions/{name}/aliases/{alias}",
            put(functions::put_alias).delete(functions::remove_alias),
        )
        .route("/functions/{name}/rollback", post(functions::roll_back))
        .route("/functions/{name}/logs", get(logs::logs))
        .route("/runs", get(runs::list))
        .route("/runs/{invocation}", get(runs::show))
        .route("/events", get(events::list))
        .route("/events/{id}", get(events::show).delete(events::cancel))
        .route("/events/{id}/content", get(events::content))
        .route("/events/{id}/replay", post(events::replay))
        .route("/event-totals", get(events::totals))
        .route("/dlq", get(events::letters))
        .route("/dlq/{id}", delete(events::drop_letter))
        .route("/dlq/{id}/redrive", post(events::redrive))
        .route("/bindings", get(bindings::list).post(bindings::add))
        .route("/bindings/{name}", delete(bindings::remove))
        .route("/bus/{bus}/events", post(bindings::publish))
        .route("/usage", get(runs::usage))
        .route("/accounts", get(platform::accounts).post(platform::add_account))
        .route("/accounts/{id}", delete(platform::remove_account))
        .route("/environment/{provider}", get(platform::environment))
        .route("/backup", post(backup::write))
        .route("/config", get(platform::config))
        .route("/doctor", get(platform::doctor));
    Router::new()
        .nest(api::PREFIX, routes)
        .fallback(answer::no_route)
        .method_not_allowed_fallback(answer::no_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), access::check))
        .with_state(shared)
}
