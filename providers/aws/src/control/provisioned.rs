//! Provisioned concurrency: so many instances of a version, or of what an alias points at, always loaded.
//!
//! What is wanted is stored beside the function; the engine is told after every change what follows from all of it, and
//! at start. Texts of refusals are those that the service's clients are known to meet.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::{Edit, FunctionEntry};
use sonagi_dispatch::{FloorFailure, FloorStatus};
use sonagi_model::{AliasName, FunctionId, Outcome, Revision, Route};
use sonagi_wire::Body;

use super::page::Paging;
use super::request::ProvisionedInput;
use super::text::list_time;
use super::validate::Violations;
use super::versions::alter_record;
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{Named, Qualifier};
use crate::errors::{Code, LambdaError};
use crate::records::{FunctionRecord, ProvisionedRecord, is_published, read};

/// Instances of revisions that are kept loaded.
pub(crate) type Floors = Vec<(Arc<Revision>, usize)>;

/// One configuration, with how far it is there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: usize,
    allocated_provisioned_concurrent_executions: usize,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    provisioned_concurrency_configs: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// The revisions behind a qualifier, and their parts of `count` instances.
fn parts(entry: &FunctionEntry, qualifier: &str, count: u32) -> Floors {
    if let Some(revision) = entry.labelled(qualifier) {
        return vec![(Arc::clone(revision), count as usize)];
    }
    let alias = AliasName::parse(qualifier)
        .ok()
        .and_then(|name| entry.aliases.get(&name));
    let Some(Route { primary, secondary }) = alias.map(|alias| alias.route.clone()) else {
        return Vec::new();
    };
    let second = secondary.map(|(other, weight)| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a small positive number"
        )]
        let share = (f64::from(count) * weight).round() as usize;
        (other, share.min(count as usize))
    });
    let first = (primary, count as usize - second.map_or(0, |(_, share)| share));
    let found = [Some(first), second].into_iter().flatten();
    found
        .filter_map(|(id, share)| Some((Arc::clone(entry.revisions.get(&id)?), share)))
        .filter(|(revision, share)| is_published(revision) && *share > 0)
        .collect()
}

/// What a function's configurations ask of the engine.
///
/// # Errors
/// 500 when its record cannot be read.
pub(crate) fn floors(entry: &FunctionEntry) -> Result<Floors, LambdaError> {
    let record: FunctionRecord = read(&entry.function.document)?;
    let mut floors = BTreeMap::new();
    for (qualifier, wanted) in &record.provisioned {
        for (revision, share) in parts(entry, qualifier, wanted.count) {
            floors.entry(revision.id).or_insert((revision, 0)).1 += share;
        }
    }
    Ok(floors.into_values().collect())
}

/// Instances that a function keeps loaded, by its record.
pub(crate) fn total(record: &FunctionRecord) -> u64 {
    record.provisioned.values().map(|wanted| u64::from(wanted.count)).sum()
}

fn unpublished() -> LambdaError {
    LambdaError::invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
}

/// An alias with provisioned concurrency points at published versions only.
///
/// # Errors
/// 400.
pub(crate) fn check_route(edit: &Edit, alias: &AliasName, route: &Route) -> Result<(), LambdaError> {
    let record: FunctionRecord = read(&edit.entry().function.document)?;
    if !record.provisioned.contains_key(alias.as_str()) {
        return Ok(());
    }
    match edit.entry().revisions.get(&route.primary) {
        Some(revision) if !is_published(revision) => Err(unpublished()),
        Some(_) | None => Ok(()),
    }
}

/// The text of a qualifier that can have a configuration.
fn qualifier_of(named: &Named) -> Result<String, LambdaError> {
    match &named.qualifier {
        Some(Qualifier::Version(number)) => Ok(number.to_string()),
        Some(Qualifier::Alias(name)) => Ok(name.to_string()),
        Some(Qualifier::Latest) => Err(unpublished()),
        None => {
            let mut found = Violations::default();
            found.required("qualifier", false);
            found.finish()?;
            Err(unpublished())
        }
    }
}

/// A revision is kept loaded by one configuration only.
fn check_conflicts(entry: &FunctionEntry, record: &FunctionRecord, named: &Named) -> Result<(), LambdaError> {
    let qualifier = qualifier_of(named)?;
    let mine = parts(entry, &qualifier, u32::MAX);
    if mine.is_empty() {
        return Err(unpublished());
    }
    let taken = record
        .provisioned
        .keys()
        .filter(|other| **other != qualifier)
        .any(|other| {
            let theirs = parts(entry, other, u32::MAX);
            mine.iter()
                .any(|(revision, _)| theirs.iter().any(|(other, _)| other.id == revision.id))
        });
    if !taken {
        return Ok(());
    }
    let text = match named.qualifier {
        Some(Qualifier::Alias(_)) => {
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        }
        Some(Qualifier::Version(_) | Qualifier::Latest) | None => {
            "Version is pointed by a Provisioned Concurrency alias"
        }
    };
    Err(LambdaError::new(Code::ResourceConflict, text))
}

impl Control {
    /// `PutProvisionedConcurrencyConfig`.
    pub(super) async fn put_provisioned(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named(name)?;
        let input: ProvisionedInput = call.input()?;
        let mut found = Violations::default();
        let wanted = input.provisioned_concurrent_executions;
        found.required("provisionedConcurrentExecutions", wanted.is_some());
        found.range("provisionedConcurrentExecutions", wanted, 1..=i64::from(i32::MAX));
        found.finish()?;
        let count = u32::try_from(wanted.unwrap_or_default()).unwrap_or(u32::MAX);
        self.provision(&named, Some(count)).await?;
        let shown = self.shown(&named, None)?;
        Ok(json(StatusCode::ACCEPTED, &shown))
    }

    /// `GetProvisionedConcurrencyConfig`, and the listing on the same path.
    pub(super) fn get_provisioned(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        if call.query.get("List") == Some("ALL") {
            return self.list_provisioned(call, name);
        }
        let named = call.named(name)?;
        revision_of(&*self.entry(&named)?, &named)?;
        Ok(json(StatusCode::OK, &self.shown(&named, None)?))
    }

    fn list_provisioned(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let paging = Paging::read(&call.query, self.limits.page)?;
        let record: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        let after = |key: &&String| paging.after().is_none_or(|after| key.as_str() > after);
        let keys: Vec<String> = record
            .provisioned
            .keys()
            .filter(after)
            .take(paging.wanted())
            .cloned()
            .collect();
        let page = paging.cut(keys, String::clone);
        let show = |key: &String| {
            let named = call.named_as(name, Some(key))?;
            self.shown(&named, Some(named.qualified_arn()))
        };
        let listed = Listed {
            provisioned_concurrency_configs: page.items.iter().map(show).collect::<Result<_, _>>()?,
            next_marker: page.next,
        };
        Ok(json(StatusCode::OK, &listed))
    }

    /// `DeleteProvisionedConcurrencyConfig`: deleting nothing succeeds.
    pub(super) async fn delete_provisioned(
        &self,
        call: &ControlCall,
        name: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = call.named(name)?;
        revision_of(&*self.entry(&named)?, &named)?;
        self.provision(&named, None).await?;
        Ok(no_content())
    }

    /// Keeps so many instances of a version or alias loaded, or none any more.
    ///
    /// # Errors
    /// 400 for `$LATEST` and when more is asked for than the function or the account has, 404, 409 when the version is
    /// provisioned otherwise.
    pub(crate) async fn provision(&self, named: &Named, count: Option<u32>) -> Result<(), LambdaError> {
        let _turn = self.reservations.lock().await;
        let decide = |edit: &mut Edit| self.set_provisioned(edit, named, count);
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.apply_floors(entry.function.id);
        Ok(())
    }

    /// Changes the draft of a function as [`Control::provision`] does; the caller holds the turn of reservations and
    /// calls [`Control::apply_floors`] afterwards.
    ///
    /// # Errors
    /// Those of [`Control::provision`].
    pub(crate) fn set_provisioned(
        &self,
        edit: &mut Edit,
        named: &Named,
        count: Option<u32>,
    ) -> Result<(), LambdaError> {
        revision_of(edit.entry(), named)?;
        let Some(count) = count else {
            return alter_record(edit, |record| {
                if let Ok(qualifier) = qualifier_of(named) {
                    record.provisioned.remove(&qualifier);
                }
                Ok(())
            });
        };
        let qualifier = qualifier_of(named)?;
        let record: FunctionRecord = read(&edit.entry().function.document)?;
        check_conflicts(edit.entry(), &record, named)?;
        let others = record.provisioned.iter().filter(|(other, _)| **other != qualifier);
        let sum = others.map(|(_, wanted)| u64::from(wanted.count)).sum::<u64>() + u64::from(count);
        self.check_room(edit.entry(), sum)?;
        let modified = edit.now();
        alter_record(edit, |record| {
            record
                .provisioned
                .insert(qualifier, ProvisionedRecord { count, modified });
            Ok(())
        })
    }

    /// Whether a function may keep `sum` instances loaded.
    fn check_room(&self, entry: &FunctionEntry, sum: u64) -> Result<(), LambdaError> {
        if let Some(reserved) = entry.function.reserved_concurrency {
            return if sum > u64::from(reserved) {
                Err(LambdaError::invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
                ))
            } else {
                Ok(())
            };
        }
        let mut others = 0;
        for other in self.catalog.all() {
            if other.function.tenant == entry.function.tenant && other.function.id != entry.function.id {
                others += claimed(&other)?;
            }
        }
        let minimum = self.limits.unreserved_concurrency;
        if others + sum + u64::from(minimum) > u64::from(self.limits.account_concurrency) {
            return Err(LambdaError::invalid(format!(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
                 minimum value of [{minimum}]."
            )));
        }
        Ok(())
    }

    /// Tells the engine what a function's configurations ask of it now. Whoever comes last tells the newest state.
    pub(crate) fn apply_floors(&self, function: FunctionId) {
        let _turn = self.floors.lock();
        let Some(entry) = self.catalog.get(function) else {
            return;
        };
        match floors(&entry) {
            Ok(floors) => self.runner.provision(function, &floors),
            Err(error) => tracing::error!(%function, ?error, "what is provisioned cannot be read"),
        }
    }

    /// One configuration as clients see it.
    fn shown(&self, named: &Named, function_arn: Option<String>) -> Result<Shown, LambdaError> {
        let entry = self.entry(named)?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let wanted = qualifier_of(named).ok().and_then(|qualifier| {
            let wanted = record.provisioned.get(&qualifier)?;
            Some((parts(&entry, &qualifier, wanted.count), wanted))
        });
        let (parts, wanted) = wanted.ok_or_else(|| {
            LambdaError::new(
                Code::ProvisionedConcurrencyConfigNotFound,
                "No Provisioned Concurrency Config found for this function",
            )
        })?;
        let state = State::of(&parts, |revision| self.runner.provisioned(revision.id));
        Ok(Shown {
            function_arn,
            requested_provisioned_concurrent_executions: wanted.count,
            available_provisioned_concurrent_executions: state.ready,
            allocated_provisioned_concurrent_executions: state.ready + state.starting,
            status: state.status(wanted.count as usize),
            status_reason: state
                .failure
                .filter(|_| state.ready < wanted.count as usize)
                .map(str::to_owned),
            last_modified: list_time(wanted.modified),
        })
    }

    /// Instances of a version or alias that are kept loaded, and how many of them are there.
    pub(crate) fn provisioned_of(&self, entry: &FunctionEntry) -> Vec<sonagi_ports::ProvisionedView> {
        let Ok(record) = read::<FunctionRecord>(&entry.function.document) else {
            return Vec::new();
        };
        let show = |(qualifier, wanted): (&String, &ProvisionedRecord)| {
            let parts = parts(entry, qualifier, wanted.count);
            let state = State::of(&parts, |revision| self.runner.provisioned(revision.id));
            sonagi_ports::ProvisionedView {
                qualifier: qualifier.clone(),
                wanted: wanted.count,
                ready: u32::try_from(state.ready).unwrap_or(u32::MAX),
                status: state.status(wanted.count as usize).to_owned(),
            }
        };
        record.provisioned.iter().map(show).collect()
    }
}

/// What a function takes from its account, whether anybody calls or not.
pub(super) fn claimed(entry: &FunctionEntry) -> Result<u64, LambdaError> {
    match entry.function.reserved_concurrency {
        Some(reserved) => Ok(u64::from(reserved)),
        None => Ok(total(&read(&entry.function.document)?)),
    }
}

/// How far a configuration is there.
#[derive(Debug, Default)]
struct State {
    ready: usize,
    starting: usize,
    failure: Option<&'static str>,
}

impl State {
    fn of(parts: &Floors, status: impl Fn(&Revision) -> Option<FloorStatus>) -> Self {
        let mut state = Self::default();
        for (revision, wanted) in parts {
            if let Some(floor) = status(revision) {
                state.ready += floor.ready.min(*wanted);
                state.starting += floor.starting;
                state.failure = state.failure.or(floor.failure.as_ref().map(reason));
            }
        }
        state
    }

    const fn status(&self, wanted: usize) -> &'static str {
        if self.ready >= wanted {
            "READY"
        } else if self.failure.is_some() {
            "FAILED"
        } else {
            "IN_PROGRESS"
        }
    }
}

/// `FUNCTION_ERROR_INIT_FAILURE` is the service's word; the others are in its manner.
fn reason(failure: &FloorFailure) -> &'static str {
    match failure {
        FloorFailure::NoRoom => "INSUFFICIENT_CAPACITY",
        FloorFailure::Start(failure) => match failure.outcome {
            Outcome::InitTimeout => "FUNCTION_ERROR_INIT_TIMEOUT",
            Outcome::ArtifactDamaged(_) | Outcome::Platform(_) => "INTERNAL_ERROR",
            Outcome::Success
            | Outcome::FunctionError(_)
            | Outcome::Timeout
            | Outcome::Exited(_)
            | Outcome::InitError(_)
            | Outcome::InitExited(_)
            | Outcome::ResponseTooLarge(_)
            | Outcome::ProtocolViolation(_)
            | Outcome::EntryPoint { .. }
            | Outcome::CallerGone => "FUNCTION_ERROR_INIT_FAILURE",
        },
    }
}
