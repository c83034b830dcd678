//! `$LATEST`, published versions, and the operations on them.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::{Edit, NewRevision};
use sonagi_model::{ArtifactRef, Revision, RevisionId, Route};
use sonagi_wire::Body;
use uuid::Uuid;

use super::page::Paging;
use super::render::{Configuration, Detail, code_sha256, configuration};
use super::request::PublishInput;
use super::settings::Draft;
use super::validate::Violations;
use super::{Control, ControlCall, json};
use crate::arn::LATEST;
use crate::errors::LambdaError;
use crate::records::{FORMAT, FunctionRecord, RevisionRecord, is_published, read, write};

/// A change of `$LATEST`.
#[derive(Debug)]
pub(crate) struct Revise {
    /// New code; `None`: the same.
    pub(crate) artifact: Option<ArtifactRef>,
    /// New layers, or none; `None`: the same.
    pub(crate) beside: Option<Option<ArtifactRef>>,
    /// The whole new configuration.
    pub(crate) draft: Draft,
    /// How many `$LATEST` revisions are kept.
    pub(crate) history: usize,
}

/// Checks an optimistic lock.
///
/// # Errors
/// 412.
pub(crate) fn check_revision_id(given: Option<&str>, record: &RevisionRecord) -> Result<(), LambdaError> {
    match given {
        Some(given) if given != record.revision_id.to_string() => Err(LambdaError::outdated_revision()),
        Some(_) | None => Ok(()),
    }
}

/// Makes a new `$LATEST`. Where nothing differs, the revision stays and warm instances with it; only its id for clients
/// is new.
///
/// # Errors
/// 500 when a record cannot be read.
pub(crate) fn revise(edit: &mut Edit, change: Revise) -> Result<Arc<Revision>, LambdaError> {
    let latest = Arc::clone(edit.entry().latest());
    let record: RevisionRecord = read(&latest.document)?;
    let artifact = change.artifact.unwrap_or_else(|| latest.artifact.clone());
    let beside = change.beside.unwrap_or_else(|| latest.beside.clone());
    let Draft { spec, settings } = change.draft;
    if artifact == latest.artifact && beside == latest.beside && spec == latest.spec && settings == record.settings {
        touch(edit, latest.id)?;
        return Ok(Arc::clone(edit.entry().latest()));
    }
    let document = write(&RevisionRecord::new(settings, edit.now()));
    let revision = edit.add_revision(NewRevision {
        label: LATEST.to_owned(),
        artifact,
        spec,
        document,
    });
    edit.set_beside(&revision, beside);
    make_latest(edit, revision.id);
    edit.prune(LATEST, change.history);
    Ok(Arc::clone(edit.entry().latest()))
}

/// Makes a revision of this function `$LATEST`; aliases of `$LATEST` go with it.
pub(crate) fn make_latest(edit: &mut Edit, revision: RevisionId) {
    let entry = edit.entry();
    let points_at_latest = |id: &RevisionId| entry.revisions.get(id).is_some_and(|found| !is_published(found));
    let following: Vec<_> = entry
        .aliases
        .values()
        .filter(|alias| points_at_latest(&alias.route.primary))
        .map(Arc::clone)
        .collect();
    edit.set_latest(revision);
    for alias in following {
        edit.put_alias(alias.name.clone(), Route::to(revision), alias.document.clone());
    }
}

/// Gives a revision a new id for clients, and a new time.
///
/// # Errors
/// 500 when its record cannot be read.
pub(crate) fn touch(edit: &mut Edit, revision: RevisionId) -> Result<(), LambdaError> {
    let Some(found) = edit.entry().revisions.get(&revision) else {
        return Ok(());
    };
    let record: RevisionRecord = read(&found.document)?;
    let record = RevisionRecord {
        revision_id: Uuid::new_v4(),
        modified: edit.now(),
        ..record
    };
    edit.set_document(revision, write(&record));
    Ok(())
}

/// Changes the function's own record.
///
/// # Errors
/// Whatever `alter` refuses; 500 when the record cannot be read.
pub(crate) fn alter_record<T>(
    edit: &mut Edit,
    alter: impl FnOnce(&mut FunctionRecord) -> Result<T, LambdaError>,
) -> Result<T, LambdaError> {
    let old: FunctionRecord = read(&edit.entry().function.document)?;
    let mut record = old.clone();
    let value = alter(&mut record)?;
    if record != old {
        edit.function(|function| function.document = write(&record));
    }
    Ok(value)
}

/// Publishes `$LATEST` as the next version; if nothing changed since the last one, that one is the answer.
///
/// # Errors
/// 500 when a record cannot be read.
pub(crate) fn publish(edit: &mut Edit, description: Option<String>) -> Result<Arc<Revision>, LambdaError> {
    let latest = Arc::clone(edit.entry().latest());
    let record: RevisionRecord = read(&latest.document)?;
    let function: FunctionRecord = read(&edit.entry().function.document)?;
    if let Some(last) = edit.entry().labelled(&function.last_version.to_string())
        && last.artifact == latest.artifact
        && last.beside == latest.beside
        && last.spec == latest.spec
    {
        let mut published: RevisionRecord = read(&last.document)?;
        if let Some(description) = published.published_from {
            published.settings.description = description;
        }
        if published.settings == record.settings {
            return Ok(Arc::clone(last));
        }
    }
    let number = function.last_version + 1;
    alter_record(edit, |record| {
        record.last_version = number;
        Ok(())
    })?;
    let mut settings = record.settings;
    let published_from = Some(settings.description.clone());
    settings.description = description.unwrap_or(settings.description);
    let record = RevisionRecord {
        format: FORMAT,
        revision_id: Uuid::new_v4(),
        modified: edit.now(),
        settings,
        published_from,
    };
    let (artifact, spec) = (latest.artifact.clone(), latest.spec.clone());
    let published = edit.add_revision(NewRevision {
        label: number.to_string(),
        artifact,
        spec,
        document: write(&record),
    });
    Ok(edit.set_beside(&published, latest.beside.clone()))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    versions: Vec<Configuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl Control {
    /// `PublishVersion`.
    pub(super) async fn publish_version(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let input: PublishInput = call.input()?;
        let mut found = Violations::default();
        found.longest("description", input.description.as_deref(), 256);
        found.finish()?;
        let decide = |edit: &mut Edit| {
            let latest = edit.entry().latest();
            check_revision_id(input.revision_id.as_deref(), &read(&latest.document)?)?;
            let current = code_sha256(&latest.artifact);
            if let Some(given) = input
                .code_sha256
                .as_ref()
                .filter(|given| !given.is_empty() && **given != current)
            {
                return Err(LambdaError::invalid(format!(
                    "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with \
                     the CodeSHA256 in $LATEST."
                )));
            }
            publish(edit, input.description.clone())
        };
        let (_, revision) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        let arn = format!("{}:{}", named.arn(), revision.label);
        Ok(json(
            StatusCode::CREATED,
            &configuration(&revision, &named.place, arn, Detail::Full)?,
        ))
    }

    /// `ListVersionsByFunction`: `$LATEST`, then 1, 2, ….
    pub(super) fn list_versions(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let paging = Paging::read(&call.query, self.limits.page)?;
        let entry = self.entry(&named)?;
        let after = paging.after().map(version_order);
        let mut shown: Vec<_> = shown_revisions(&entry).collect();
        shown.retain(|revision| after.is_none_or(|after| version_order(&revision.label) > after));
        shown.truncate(paging.wanted());
        let page = paging.cut(shown, |revision| revision.label.clone());
        let show = |revision: &Arc<Revision>| {
            let arn = format!("{}:{}", named.arn(), revision.label);
            configuration(revision, &named.place, arn, Detail::Listed)
        };
        let versions = page.items.into_iter().map(show).collect::<Result<_, _>>()?;
        Ok(json(
            StatusCode::OK,
            &Versions {
                versions,
                next_marker: page.next,
            },
        ))
    }
}

/// `$LATEST` is 0.
pub(crate) fn version_order(label: &str) -> u64 {
    if label == LATEST {
        0
    } else {
        label.parse().unwrap_or(u64::MAX)
    }
}

/// What clients see of a function's revisions: the live one, then its versions in order.
pub(crate) fn shown_revisions(entry: &sonagi_control::FunctionEntry) -> impl Iterator<Item = &Arc<Revision>> {
    let mut versions: Vec<_> = entry
        .revisions
        .values()
        .filter(|revision| is_published(revision))
        .collect();
    versions.sort_by_key(|revision| version_order(&revision.label));
    std::iter::once(entry.latest()).chain(versions)
}
