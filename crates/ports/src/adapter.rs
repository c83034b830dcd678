//! What the native API asks of a provider's adapter, in our own words. Each provider answers with its own rules
//! (names, versions, aliases), so a function deployed natively is the same function that the provider's clients see.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::{Digest, InvocationId, Mebibytes, Namespace, Outside, RevisionId, RunRecord};

/// A request of the native API cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// Something in the request is wrong.
    #[error("{message}")]
    Invalid {
        /// What, where, the limit.
        message: String,
        /// What to do about it, if there is something.
        hint: Option<String>,
    },
    /// What the request names does not exist.
    #[error("{0}")]
    Missing(String),
    /// It is in the way of something else (exists already, is in use).
    #[error("{0}")]
    Conflict(String),
    /// A limit is reached: try again later.
    #[error("{0}")]
    Throttled(String),
    /// The platform failed; text for operators goes to its log.
    #[error("{0}")]
    Platform(String),
}

/// Who may reach a function by its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlAccess {
    /// There is no URL.
    None,
    /// Everybody who reaches the platform's address.
    Public,
    /// Those who sign requests by the provider's scheme.
    Signed,
}

/// Source code to make live.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// Where.
    pub namespace: Namespace,
    /// Under which name.
    pub name: String,
    /// The code, as a zip archive.
    pub archive: Bytes,
    /// Settings; those left out stay as they are, or get the provider's default for a new function.
    pub settings: Settings,
    /// Its URL; `None`: unchanged, or public for a new function.
    pub url: Option<UrlAccess>,
}

/// Settings of a function. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Runtime, in the provider's words.
    pub runtime: Option<String>,
    /// Entry point, in the provider's words.
    pub handler: Option<String>,
    /// Memory of an instance.
    pub memory: Option<Mebibytes>,
    /// Longest time of an attempt.
    pub timeout: Option<Duration>,
    /// Size of `/tmp`.
    pub scratch: Option<Mebibytes>,
    /// Variables to set.
    pub set_environment: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset_environment: Vec<String>,
    /// Reserved concurrency: `Some(None)` removes it.
    pub reserved_concurrency: Option<Option<u32>>,
    /// Instances to keep loaded, by version or alias; `None` ends it.
    pub provisioned: BTreeMap<String, Option<u32>>,
    /// A sentence about it.
    pub description: Option<String>,
    /// What it reaches outside of its sandbox.
    pub outside: Option<Outside>,
}

/// Instances of a version or alias that are kept loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedView {
    /// The version or alias.
    pub qualifier: String,
    /// How many are wanted.
    pub wanted: u32,
    /// How many of them are loaded.
    pub ready: u32,
    /// In the provider's words.
    pub status: String,
}

/// What a deployment did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// Where.
    pub namespace: Namespace,
    /// The function.
    pub name: String,
    /// The revision that is live now.
    pub revision: RevisionId,
    /// Digest of the archive.
    pub digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Whether the function is new.
    pub created: bool,
    /// Its URL, if it has one.
    pub url: Option<String>,
}

/// A folder that describes several functions and what belongs to them, to make live.
#[derive(Debug, Clone)]
pub struct DeployProject {
    /// Where.
    pub namespace: Namespace,
    /// The folder, as a zip archive.
    pub archive: Bytes,
    /// What the variables that its description names stand for.
    pub variables: BTreeMap<String, String>,
}

/// One thing that a project has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// What it is, in the provider's words.
    pub kind: String,
    /// Its name there.
    pub name: String,
    /// Whether it is new.
    pub created: bool,
    /// Its URL, if it has one.
    pub url: Option<String>,
}

/// What the deployment of a project did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDeployed {
    /// Where.
    pub namespace: Namespace,
    /// Everything that it describes, in the order in which it was made.
    pub made: Vec<Made>,
    /// What it says that has no effect here.
    pub notes: Vec<String>,
}

/// One function, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionView {
    /// Where.
    pub namespace: Namespace,
    /// The function.
    pub name: String,
    /// The provider's own full name of it.
    pub provider_name: String,
    /// The contract its code speaks.
    pub contract: String,
    /// Runtime.
    pub runtime: String,
    /// Entry point.
    pub handler: String,
    /// Memory of an instance.
    pub memory: Mebibytes,
    /// Longest time of an attempt, milliseconds.
    pub timeout_ms: u64,
    /// Size of `/tmp`.
    pub scratch: Mebibytes,
    /// What it reaches outside of its sandbox.
    pub outside: Outside,
    /// Names of its variables; values are shown only on request.
    pub environment: BTreeMap<String, String>,
    /// The live revision.
    pub revision: RevisionId,
    /// Digest of its code.
    pub digest: Digest,
    /// Bytes of its code.
    pub size: u64,
    /// When it was last changed, RFC 3339.
    pub modified: String,
    /// URL, if it has one.
    pub url: Option<String>,
    /// Reserved concurrency.
    pub reserved_concurrency: Option<u32>,
    /// Instances that are kept loaded.
    pub provisioned: Vec<ProvisionedView>,
    /// Versions, oldest first, the live one last.
    pub versions: Vec<VersionView>,
    /// Aliases.
    pub aliases: Vec<AliasView>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its label.
    pub label: String,
    /// Its revision.
    pub revision: RevisionId,
    /// Digest of its code.
    pub digest: Digest,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether an unqualified call runs it.
    pub live: bool,
}

/// One alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasView {
    /// Its name.
    pub name: String,
    /// Label of the version that takes most calls.
    pub version: String,
    /// Label and share of a second version.
    pub split: Option<(String, f64)>,
}

/// A call through the native API.
#[derive(Debug, Clone)]
pub struct NativeCall {
    /// Where.
    pub namespace: Namespace,
    /// The function.
    pub name: String,
    /// Version or alias; `None`: the live one.
    pub qualifier: Option<String>,
    /// The event.
    pub payload: Bytes,
    /// For an event that is sent: what its sender calls it, so that sending it twice accepts it once.
    pub token: Option<String>,
}

/// Its answer.
#[derive(Debug, Clone)]
pub struct NativeAnswer {
    /// The invocation.
    pub invocation: InvocationId,
    /// Result, or error document in the provider's shape.
    pub body: Bytes,
    /// Whether the function failed.
    pub failed: bool,
    /// Its record.
    pub record: RunRecord,
    /// The end of its log.
    pub log_tail: Vec<u8>,
}

/// An account of a provider, with a secret only right after it was made or when asked for its client settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The provider's id of it.
    pub id: String,
    /// Key id that clients use.
    pub key: String,
    /// The namespace in which its functions are deployed by default.
    pub namespace: Namespace,
}

/// What a provider's own services hand to functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenTo {
    /// The messages of a queue.
    Queue {
        /// The queue's name; made if there is none.
        queue: String,
        /// Most messages of one call; the provider's default if nothing is given.
        batch: Option<u32>,
        /// Seconds that a batch waits to become full.
        window: Option<u32>,
        /// Most calls at once.
        concurrency: Option<u32>,
        /// Which messages: a pattern, as JSON.
        filter: Option<String>,
        /// Whether the function's answer names the messages that failed.
        partial: bool,
    },
    /// The changes of objects in a bucket.
    Objects {
        /// The bucket's name; made if there is none.
        bucket: String,
        /// Which changes, in the provider's words; new and overwritten objects if there is none.
        events: Vec<String>,
        /// What their keys begin with.
        prefix: String,
        /// What their keys end with.
        suffix: String,
    },
}

/// A function is to be run by what happens in a service of its provider.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The function's namespace.
    pub namespace: Namespace,
    /// What the connection is to be called; made up if nothing is given.
    pub name: Option<String>,
    /// The function.
    pub function: String,
    /// Version or alias; the live one if nothing is given.
    pub qualifier: Option<String>,
    /// What happens.
    pub to: ListenTo,
}

/// A function that is run by what happens in a service of its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenView {
    /// What the connection is called.
    pub name: String,
    /// The function.
    pub function: String,
    /// Version or alias.
    pub qualifier: Option<String>,
    /// What happens.
    pub to: ListenTo,
    /// How it is doing, in the provider's words.
    pub state: String,
}

/// A provider's side of the native API.
#[async_trait]
pub trait Adapter: Send + Sync + std::fmt::Debug {
    /// The provider's short name, the first part of its namespaces.
    fn provider(&self) -> &'static str;

    /// Other short names under which people may ask for it.
    fn nicknames(&self) -> &'static [&'static str] {
        &[]
    }

    /// Makes code live: a new function, or new code and settings of one.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn deploy(&self, deploy: Deploy) -> Result<Deployed, AdapterError>;

    /// Makes everything live that a folder describes, of a provider whose projects have a description of their own.
    ///
    /// # Errors
    /// [`AdapterError`]; what was made before stays.
    async fn deploy_project(&self, project: DeployProject) -> Result<ProjectDeployed, AdapterError> {
        Err(AdapterError::Invalid {
            message: format!("{} has no projects of several functions", project.namespace),
            hint: Some("deploy the folder of each of its functions".to_owned()),
        })
    }

    /// Changes settings only.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn configure(
        &self,
        namespace: &Namespace,
        name: &str,
        settings: Settings,
    ) -> Result<FunctionView, AdapterError>;

    /// One function.
    ///
    /// # Errors
    /// [`AdapterError::Missing`].
    fn describe(&self, namespace: &Namespace, name: &str) -> Result<FunctionView, AdapterError>;

    /// All functions of a namespace, by name.
    fn list(&self, namespace: &Namespace) -> Vec<FunctionView>;

    /// Deletes a function.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), AdapterError>;

    /// Freezes the live revision under a version label.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn publish(&self, namespace: &Namespace, name: &str) -> Result<VersionView, AdapterError>;

    /// Points an alias at a version, with a share for a second one if given.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn put_alias(&self, namespace: &Namespace, name: &str, alias: AliasView) -> Result<AliasView, AdapterError>;

    /// Removes an alias.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn remove_alias(&self, namespace: &Namespace, name: &str, alias: &str) -> Result<(), AdapterError>;

    /// Makes an earlier revision live again: the one before the live one, or the given version label or revision id.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn roll_back(&self, namespace: &Namespace, name: &str, to: Option<&str>)
    -> Result<VersionView, AdapterError>;

    /// Calls a function and waits for the answer.
    ///
    /// # Errors
    /// [`AdapterError`] if nothing ran.
    async fn invoke(&self, call: NativeCall) -> Result<NativeAnswer, AdapterError>;

    /// Accepts an event durably; the function runs later.
    ///
    /// # Errors
    /// [`AdapterError`]: then the event was not accepted.
    async fn send(&self, call: NativeCall) -> Result<InvocationId, AdapterError>;

    /// Has a function run by what happens in a service of the provider.
    ///
    /// # Errors
    /// [`AdapterError`]; of providers without such services always.
    async fn listen(&self, _listen: Listen) -> Result<ListenView, AdapterError> {
        Err(AdapterError::Invalid {
            message: format!(
                "{} has no queues and buckets that functions are run by",
                self.provider()
            ),
            hint: Some("`sonagi on cron` and `sonagi on bus` run functions of every provider".to_owned()),
        })
    }

    /// Every such connection of a namespace, by name, those too that the provider's clients made.
    ///
    /// # Errors
    /// [`AdapterError::Platform`].
    async fn listening(&self, _namespace: &Namespace) -> Result<Vec<ListenView>, AdapterError> {
        Ok(Vec::new())
    }

    /// Ends one; whether there was one.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn unlisten(&self, _namespace: &Namespace, _name: &str) -> Result<bool, AdapterError> {
        Ok(false)
    }

    /// Accounts, by id.
    fn accounts(&self) -> Vec<AccountView>;

    /// Makes an account with a key; without an id, one is made up.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn add_account(&self, id: Option<&str>) -> Result<AccountView, AdapterError>;

    /// Removes an account that has no functions.
    ///
    /// # Errors
    /// [`AdapterError`].
    async fn remove_account(&self, id: &str) -> Result<(), AdapterError>;

    /// Variables that the provider's own clients need, secret included, for an account (the first if `None`);
    /// `endpoint` is this platform's address as the client reaches it.
    ///
    /// # Errors
    /// [`AdapterError::Missing`].
    fn client_environment(&self, account: Option<&str>, endpoint: &str) -> Result<Vec<(String, String)>, AdapterError>;
}
