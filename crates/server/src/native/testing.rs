//! The native API with a provider and stores in memory, on a socket: for tests of the router and of its clients.

mod adapter;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use sonagi_api as api;
use sonagi_ports::fake::FakeMetadataStore;
use sonagi_ports::{Clock, Interpreter, Interpreters, Language, MetadataStore};
use sonagi_store::{BackupError, BackupReport};
use sonagi_triggers::{Bindings, Broker, Clockwork};
use sonagi_wire::{BoxError, HttpLimits, accept_loop};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

pub use adapter::TestAdapter;

use super::{Access, Backups, Events, Limits, NativeState, Priced, router};

const TOKEN: &str = "sonagi_test";

/// Debian's interpreters, where Debian keeps them. The versions are made up.
#[derive(Debug)]
struct SystemInterpreters;

impl Interpreters for SystemInterpreters {
    fn find(&self, language: Language, version: &str) -> Option<Interpreter> {
        self.all()
            .into_iter()
            .find(|found| found.language == language && found.version.starts_with(version))
    }

    fn all(&self) -> Vec<Interpreter> {
        let found = |language, version: &str, program: &str| Interpreter {
            language,
            version: version.to_owned(),
            program: program.to_owned(),
            mounts: Vec::new(),
            environment: Vec::new(),
        };
        vec![
            found(Language::Python, "3.11.2", "/usr/bin/python3"),
            found(Language::Node, "20.20.2", "/usr/bin/node"),
        ]
    }
}

/// Nothing here could be backed up.
#[derive(Debug)]
struct NoBackups;

#[async_trait]
impl Backups for NoBackups {
    async fn write(&self, target: PathBuf) -> Result<BackupReport, BackupError> {
        let what = "is for a store in memory".to_owned();
        Err(BackupError::Folder { path: target, what })
    }
}

/// What the native API works with here: the adapter, its stores, a made-up tariff of one dollar for each attempt.
#[must_use]
pub fn state(adapter: &Arc<TestAdapter>) -> NativeState {
    let store: Arc<dyn MetadataStore> = Arc::new(FakeMetadataStore::new());
    let clock: Arc<dyn Clock> = Arc::clone(&adapter.clock) as _;
    let clockwork = Arc::new(Clockwork::new(&[], Arc::clone(&store), Arc::clone(&clock)));
    let broker = Arc::new(Broker::new());
    let bindings = Bindings::open(&[], store, clockwork, &broker, clock).expect("there is nothing to read");
    NativeState {
        bindings,
        broker,
        adapters: vec![Arc::clone(adapter) as _],
        catalog: Arc::clone(&adapter.catalog),
        runs: Arc::clone(&adapter.runs) as _,
        backup: Arc::new(NoBackups),
        events: Events {
            queue: Arc::clone(&adapter.events) as _,
            desk: Arc::clone(adapter) as _,
        },
        logs: Arc::clone(&adapter.logs) as _,
        clock: Arc::clone(&adapter.clock) as _,
        interpreters: Arc::new(SystemInterpreters),
        access: Access::Token(crate::token::digest(TOKEN)),
        endpoint: "http://127.0.0.1:4747".to_owned(),
        settings: vec![api::Setting {
            name: "listen".to_owned(),
            value: "127.0.0.1:4747".to_owned(),
            origin: api::Origin::Default,
        }],
        checks: Arc::new(Vec::new),
        price: Arc::new(|rows| {
            let amount = |value: u64| api::Amount {
                currency: "USD".to_owned(),
                value: value.to_string(),
            };
            Priced {
                rows: rows.iter().map(|row| Some(amount(row.attempts))).collect(),
                totals: vec![amount(rows.iter().map(|row| row.attempts).sum())],
            }
        }),
        limits: Limits::default(),
        stop: CancellationToken::new(),
    }
}

/// The native API on a socket of the loopback address.
#[derive(Debug)]
pub struct Served {
    adapter: Arc<TestAdapter>,
    endpoint: String,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Serves until the value is stopped or its runtime ends.
///
/// # Panics
/// The loopback address cannot be listened on.
pub async fn serve() -> Served {
    let adapter = TestAdapter::new();
    let state = state(&adapter);
    let (stop, tasks) = (state.stop.clone(), TaskTracker::new());
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a port of the loopback address");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let router = router(state);
    let service = move |_, _| {
        let router = router.clone();
        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let mut router = router.clone();
            async move {
                let response = router.call(request.map(Body::new)).await?;
                let boxed = response.map(|body| body.map_err(|error| Box::new(error) as BoxError).boxed_unsync());
                Ok::<_, Infallible>(boxed)
            }
        })
    };
    tasks.spawn(accept_loop(
        listener,
        HttpLimits::default(),
        tasks.clone(),
        stop.clone(),
        service,
    ));
    Served {
        adapter,
        endpoint,
        stop,
        tasks,
    }
}

impl Served {
    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The token that opens it.
    #[must_use]
    pub const fn token(&self) -> &'static str {
        TOKEN
    }

    /// The provider behind it.
    #[must_use]
    pub const fn adapter(&self) -> &Arc<TestAdapter> {
        &self.adapter
    }

    /// Begins to stop, as the platform does.
    pub fn begin_stop(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until nothing runs any more.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}
