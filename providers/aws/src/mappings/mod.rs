//! Event source mappings: queues whose messages functions are run with.
//! Source: "Using Lambda with Amazon SQS" of the Lambda developer guide.
//!
//! Each mapping has a poller while it is enabled. A watchdog starts a poller anew that has ended or got no answer for too
//! long; what it had in hand comes again when its time is over.

mod batch;
mod live;
mod poller;
mod record;
mod scale;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sonagi_control::Documents;
use sonagi_ports::{MetadataStore, Record, StoreError};
use sonagi_triggers::{Pattern, PatternError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::invoke::Invoker;
use crate::sqs::{QueueName, Sqs};
use poller::Poller;

pub(crate) use live::{Live, State};
pub(crate) use record::MappingRecord;

/// The set of documents that holds mappings.
const COLLECTION: &str = "aws.mappings";
/// A poller that got no answer for so long is started anew: its polls are answered every 20 s.
const SILENT: Duration = Duration::from_secs(30);
/// Delay before a poller is started anew.
const RESTART: Duration = Duration::from_secs(1);

/// Mappings of a node.
pub(crate) const MAPPINGS_MAX: usize = 1000;

/// Kibibytes of bodies that all pollers together have in hand: further batches wait for earlier ones.
const HAND_KIB: u32 = 128 * 1024;

/// What pollers work with.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) sqs: Sqs,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// What is free of [`HAND_KIB`].
    hand: Arc<Semaphore>,
}

impl Engine {
    /// `stop` is cancelled when the platform stops; pollers run in `tasks`.
    pub(crate) fn new(sqs: Sqs, invoker: Arc<Invoker>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            sqs,
            invoker,
            tasks,
            stop,
            hand: Arc::new(Semaphore::new(HAND_KIB as usize)),
        }
    }
}

/// All mappings.
#[derive(Debug)]
pub(crate) struct Mappings {
    engine: Arc<Engine>,
    documents: Documents,
    live: Mutex<BTreeMap<Uuid, Arc<Live>>>,
    /// Held by whoever changes mappings.
    pub(crate) turn: tokio::sync::Mutex<()>,
    runtime: Handle,
}

/// Reads patterns.
///
/// # Errors
/// The first that makes no sense.
pub(crate) fn patterns(texts: &[String]) -> Result<Arc<[Pattern]>, PatternError> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

impl Mappings {
    /// Takes up the mappings of a store, and polls. To be called on a tokio runtime.
    pub(crate) fn load(engine: Engine, records: &[Record], store: Arc<dyn MetadataStore>) -> Self {
        let mappings = Self {
            engine: Arc::new(engine),
            documents: Documents::load(records, COLLECTION, store),
            live: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            runtime: Handle::current(),
        };
        for (key, document) in mappings.documents.all().iter() {
            match MappingRecord::of(document) {
                Some(record) => mappings.begin(record, State::Enabling),
                None => tracing::error!(%key, "an event source mapping cannot be read; it is not polled"),
            }
        }
        mappings
    }

    /// Every mapping, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let mut live = self.live.lock();
        live.retain(|_, mapping| mapping.state() != State::Deleting || !mapping.ended.is_cancelled());
        live.values().cloned().collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<Live>> {
        self.all().into_iter().find(|mapping| mapping.record.id == id)
    }

    /// Stores a mapping and begins to poll by it, after what its earlier form began is over.
    ///
    /// # Errors
    /// [`StoreError`]; nothing changed.
    pub(crate) async fn put(&self, record: MappingRecord, state: State) -> Result<(), StoreError> {
        self.documents.put(&record.id.to_string(), record.document()).await?;
        self.begin(record, state);
        Ok(())
    }

    /// Removes a mapping; what it began is finished.
    ///
    /// # Errors
    /// [`StoreError`]; nothing changed.
    pub(crate) async fn remove(&self, mapping: &Live) -> Result<(), StoreError> {
        self.documents.remove(&mapping.record.id.to_string()).await?;
        mapping.end(State::Deleting);
        Ok(())
    }

    fn begin(&self, record: MappingRecord, state: State) {
        let enabled = record.enabled;
        let state = if enabled { state } else { State::Disabling };
        let live = Arc::new(Live::new(record, state, self.engine.stop.child_token()));
        let earlier = self.live.lock().insert(live.record.id, Arc::clone(&live));
        if let Some(earlier) = &earlier {
            earlier.end(State::Updating);
        }
        let engine = Arc::clone(&self.engine);
        let work = async move {
            if let Some(earlier) = earlier {
                earlier.ended.cancelled().await;
            }
            if enabled {
                watch(engine, &live).await;
            }
            live.is_over();
        };
        self.engine.tasks.spawn_on(work, &self.runtime);
    }
}

/// Keeps one poller running until it is to end.
async fn watch(engine: Arc<Engine>, live: &Arc<Live>) {
    let name = QueueName::of_arn(&live.record.source);
    let (Some(queue_name), Ok(patterns)) = (name, patterns(&live.record.filters)) else {
        live.hindered("PROBLEM: the stored mapping makes no sense to this version of the platform".to_owned());
        live.stop.cancelled().await;
        return;
    };
    while !live.stop.is_cancelled() {
        let poller = Arc::new(Poller {
            engine: Arc::clone(&engine),
            live: Arc::clone(live),
            queue_name: queue_name.clone(),
            patterns: Arc::clone(&patterns),
        });
        let mut running = tokio::task::JoinSet::new();
        running.spawn(poller.run());
        let why = loop {
            let due = live.silent_since().unwrap_or_else(Instant::now) + SILENT;
            tokio::select! {
                _ = running.join_next() => break "it ended",
                () = tokio::time::sleep_until(due) => {
                    if live.silent_since().is_some_and(|since| since + SILENT <= Instant::now()) {
                        break "it got no answer";
                    }
                }
            }
        };
        // An orderly end has waited for everything that it began.
        if !live.stop.is_cancelled() {
            tracing::warn!(mapping = %live.record.id, queue = %queue_name.name, why, "a poller is started anew");
            running.shutdown().await;
            // A poller that ends at once is not started in a loop.
            tokio::select! {
                () = tokio::time::sleep(RESTART) => {}
                () = live.stop.cancelled() => {}
            }
        }
    }
}
