//! The native API, version 1: the documents that cross the wire, and a client. The command line and every other native
//! client use nothing else.
//!
//! All paths begin with [`PREFIX`]; every request carries `Authorization: Bearer TOKEN`. Bodies are JSON unless said
//! otherwise. A refused request is answered with an [`ErrorDocument`]. A *scope* is the query parameters `namespace`,
//! or `provider` and `account`, all optional: without any, the first account's namespace is meant.
//!
//! | request | query | body → answer |
//! |---|---|---|
//! | `GET /status` | | → [`Status`] |
//! | `POST /deploy` | | zip archive, [`DeployRequest`] in the header [`header::DEPLOY`] → [`Deployed`] |
//! | `POST /projects` | | zip archive, [`ProjectRequest`] in the header [`header::PROJECT`] → [`ProjectDeployed`] |
//! | `GET /functions` | scope, `all=true` | → [`Functions`] |
//! | `GET /functions/NAME` | scope, `values=true` shows variables' values | → [`Function`] |
//! | `PATCH /functions/NAME` | scope | [`Settings`] → [`Function`] |
//! | `DELETE /functions/NAME` | scope | → 204 |
//! | `POST /functions/NAME/invoke` | scope, `qualifier` | event → the answer as it is, with the headers of [`header`] |
//! | `POST /functions/NAME/send` | scope, `qualifier` | event, with a header `Idempotency-Key` if wanted → 202 [`Accepted`], after it is durable |
//! | `GET /functions/NAME/versions` | scope | → [`Versions`] |
//! | `POST /functions/NAME/versions` | scope | → [`Version`]: the live revision, frozen |
//! | `GET /functions/NAME/aliases` | scope | → [`Aliases`] |
//! | `PUT /functions/NAME/aliases/ALIAS` | scope | [`AliasTarget`] → [`Alias`] |
//! | `DELETE /functions/NAME/aliases/ALIAS` | scope | → 204 |
//! | `POST /functions/NAME/rollback` | scope | [`Rollback`] → [`Version`], live now |
//! | `GET /functions/NAME/logs` | scope, `since`, `limit`, `invocation`, `follow=true` | → NDJSON of [`LogLine`] |
//! | `GET /runs` | scope, `function`, `since`, `failed=true`, `limit` | → [`Runs`], newest first |
//! | `GET /runs/INVOCATION` | | → [`Runs`]: its attempts, oldest first |
//! | `GET /events` | scope, `function`, `before`, `limit` | → [`Events`], newest first |
//! | `GET /events/ID` | | → [`EventLife`]; the id of its invocation will do |
//! | `GET /events/ID/content` | | → the event as it was accepted |
//! | `DELETE /events/ID` | | → [`CancelledEvent`] |
//! | `POST /events/ID/replay` | | → 202 [`Repeated`] |
//! | `GET /event-totals` | | → [`EventTotals`] |
//! | `GET /dlq` | scope, `function`, `before`, `limit` | → [`Events`]: dead letters, newest first |
//! | `POST /dlq/ID/redrive` | | → 202 [`Repeated`] |
//! | `DELETE /dlq/ID` | | → 204 |
//! | `GET /bindings` | scope | → [`Bindings`], by name |
//! | `POST /bindings` | scope | [`NewBinding`] → 201 [`Binding`] |
//! | `DELETE /bindings/NAME` | scope | → 204 |
//! | `POST /bus/BUS/events` | scope | CloudEvents: binary, structured or a batch → 202 [`Published`], after they are durable |
//! | `GET /usage` | scope, `since`, `until` | → [`Usage`] |
//! | `GET /accounts` | `provider` | → [`Accounts`] |
//! | `POST /accounts` | `provider` | [`NewAccount`] → 201 [`Account`] |
//! | `DELETE /accounts/ID` | `provider` | → 204 |
//! | `GET /environment/PROVIDER` | `account`, `endpoint` | → [`Environment`] |
//! | `POST /backup` | | [`BackupRequest`] → [`BackupReport`], after it is durable |
//! | `GET /config` | | → [`Config`] |
//! | `GET /doctor` | | → [`Doctor`] |
//!
//! Moments (`since`, `until`) are RFC 3339, a date (`2026-11-01`, midnight UTC), or an age (`90s`, `15m`, `24h`, `7d`).
//! In a followed log an empty line now and then shows that both sides live. Names in paths are percent-encoded. Unknown query parameters and unknown fields are refused, so a typing error is
//! never taken for a default. Fields may be added to answers within version 1; clients ignore those they do not know.

mod account;
mod backup;
mod binding;
mod client;
mod error;
mod event;
mod function;
pub mod header;
mod log;
mod platform;
mod run;
mod usage;

pub use account::{Account, Accounts, Environment, NewAccount, Variable};
pub use backup::{BackupReport, BackupRequest};
pub use binding::{Binding, BindingSource, Bindings, NewBinding, Published};
pub use client::{Client, ClientError, EventsFilter, Invoked, LogFilter, LogStream, RunFilter, Scope};
pub use error::{ErrorBody, ErrorCode, ErrorDocument};
pub use event::{CancelledEvent, Event, EventLife, EventTotals, Events, Repeated};
pub use function::{
    Accepted, Alias, AliasTarget, Aliases, DeployRequest, Deployed, Function, FunctionEgress, Functions, Made,
    ProjectDeployed, ProjectRequest, Provisioned, Rollback, Settings, Split, UrlAccess, Version, Versions,
};
pub use log::{LogLine, LogSource};
pub use platform::{Check, CheckState, Config, Doctor, Interpreter, Origin, Setting, Status};
pub use run::{Phases, Run, RunStatus, Runs, Start};
pub use usage::{Amount, Usage, UsageRow};

/// Where the native API begins.
pub const PREFIX: &str = "/sonagi/v1";
