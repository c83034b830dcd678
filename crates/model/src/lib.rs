//! The nouns of Sonagi and their invariants: ids, limits, functions, revisions, aliases, invocations, outcomes.
//!
//! No I/O, no async, no wire formats, no provider. What a provider knows beyond these nouns is kept beside them as an
//! opaque [`Document`] and converted at the rim.

mod digest;
mod function;
mod id;
mod invocation;
mod limits;
mod quantity;
mod run;

pub use digest::{ArtifactRef, Digest, ParseDigestError};
pub use function::{
    Alias, AliasError, AliasName, Document, Function, FunctionName, NameError, Namespace, Outside, Revision,
    RevisionSpec, Route, TenantId,
};
pub use id::{EventId, FunctionId, InstanceId, InvocationId, MessageId, ParseIdError, QueueId, RevisionId};
pub use invocation::{Blame, Exit, FunctionError, Outcome, Start, ThrottleReason};
pub use limits::{ArchiveLimits, InstanceLimits, LogLimits};
pub use quantity::{Mebibytes, Timestamp};
pub use run::{ColdPhases, RunRecord, RunStatus};
