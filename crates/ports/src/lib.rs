//! What the core needs from the world, as traits, each with its errors.
//!
//! The traits sit here rather than beside an implementation, so that the engine and its adapters do not know each
//! other. With the feature `testing` the module [`fake`] holds in-memory implementations with real behaviour, and
//! [`suite`] one set of checks per port that is run against the fake and every real adapter.

mod adapter;
mod archive;
mod artifact;
mod clock;
mod contract;
mod event;
mod interpreter;
mod log;
mod message;
mod metadata;
mod queue;
mod run;
mod sandbox;
mod target;

#[cfg(feature = "testing")]
pub mod fake;
#[cfg(feature = "testing")]
pub mod suite;

pub use adapter::{
    AccountView, Adapter, AdapterError, AliasView, Deploy, DeployProject, Deployed, FunctionView, Listen, ListenTo,
    ListenView, Made, NativeAnswer, NativeCall, ProjectDeployed, ProvisionedView, Settings, UrlAccess, VersionView,
};
pub use archive::{Archive, Filing, FilingFilter, FilingPart};
pub use artifact::{ArchiveProblem, ArtifactError, ArtifactStore, CodeTree, TreeCheck};
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy};
pub use contract::{
    Attributes, Call, Contract, ContractError, ContractLimits, InitFailure, InstanceLog, Launch, LogTap, MARK_BYTES,
    Moment, OUTPUT_MARK, Opening, Purpose, Reply, ReplyBody, Session, SessionError, StreamPart, marked_line,
};
pub use event::{
    AcceptError, Accepted, EventHead, EventRoute, EventStatus, Lane, NewEvent, Progress, QueuedEvent, RetryRules, Token,
};
pub use interpreter::{Interpreter, Interpreters, Language};
pub use log::{LogLine, LogSink, LogSource};
pub use message::{
    Fetch, Fetched, Message, MessageError, MessageStore, NewMessage, Order, Queue, QueueCounts, QueueSettings, Receipt,
    Redrive, Sent, Settled, Shown,
};
pub use metadata::{Change, MetadataStore, Record, StoreError};
pub use queue::{
    Cancelled, DuePage, EventFilter, EventQueue, EventState, EventTotals, EventView, Lease, Postponement, Settlement,
};
pub use run::{LedgerError, RunFilter, RunStore, UsageFilter, UsageRow};
pub use sandbox::{
    CellKind, LaunchPlan, Mount, Prepared, Readiness, RunningSandbox, Sandbox, SandboxError, Started, Stem,
    ZYGOTE_VARIABLE,
};
pub use target::{
    DeliveryEnd, DeliveryError, Destination, EventEnd, EventIntake, EventTargets, FollowUp, LastAttempt, Target,
    Undeliverable,
};
