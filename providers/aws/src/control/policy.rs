//! The three operations on resource policies.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json as document};
use sonagi_control::{Edit, FunctionEntry};
use sonagi_wire::Body;
use uuid::Uuid;

use super::request::PermissionInput;
use super::statement::statement_of;
use super::versions::{alter_record, touch};
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{LATEST, Named, Qualifier};
use crate::errors::{Code, LambdaError};
use crate::records::{AliasRecord, FunctionRecord, RevisionRecord, Statement, read, write};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    statement: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyShown {
    policy: String,
    revision_id: String,
}

/// Under which key the policy, and the URL, of a qualifier is kept.
pub(crate) fn key_of(qualifier: Option<&Qualifier>) -> String {
    match qualifier {
        None | Some(Qualifier::Latest) => LATEST.to_owned(),
        Some(qualifier) => qualifier.to_string(),
    }
}

/// Forgets what belongs to a qualifier that is gone: its policy, URL and configuration of asynchronous invocation.
///
/// # Errors
/// 500 when the record cannot be read.
pub(crate) fn forget_qualifier(edit: &mut Edit, qualifier: &str) -> Result<(), LambdaError> {
    alter_record(edit, |record| {
        record.policies.remove(qualifier);
        record.urls.remove(qualifier);
        record.asynchronous.remove(qualifier);
        record.provisioned.remove(qualifier);
        Ok(())
    })
}

fn policy_text(statements: &[Statement], resource: &str) -> String {
    let statements: Vec<Value> = statements.iter().map(|statement| statement.shown(resource)).collect();
    document!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string()
}

impl Control {
    /// What a policy belongs to: the function, a version or an alias, which must exist.
    fn guarded(&self, call: &ControlCall, name: &str) -> Result<(Named, Arc<FunctionEntry>), LambdaError> {
        let named = call.named(name)?;
        if named.qualifier == Some(Qualifier::Latest) {
            return Err(LambdaError::invalid(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        let entry = self.catalog.find(&named.place.namespace(), &named.name);
        let entry = entry.ok_or_else(|| LambdaError::function_not_found(&named.qualified_arn()))?;
        revision_of(&entry, &named)?;
        Ok((named, entry))
    }

    /// `AddPermission`.
    pub(super) async fn add_permission(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let input: PermissionInput = call.input()?;
        let statement = statement_of(&input)?;
        let (named, _) = self.guarded(call, name)?;
        let resource = named.qualified_arn();
        let decide = |edit: &mut Edit| {
            check_lock(edit.entry(), &named, input.revision_id.as_deref())?;
            alter_record(edit, |record| {
                let statements = record.policies.entry(key_of(named.qualifier.as_ref())).or_default();
                if statements.iter().any(|other| other.sid == statement.sid) {
                    let text = format!(
                        "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                        statement.sid
                    );
                    return Err(LambdaError::new(Code::ResourceConflict, text));
                }
                statements.push(statement.clone());
                if policy_text(statements, &resource).len() > self.limits.policy {
                    let text = format!(
                        "The final policy size is bigger than the limit ({}).",
                        self.limits.policy
                    );
                    return Err(LambdaError::new(Code::PolicyLengthExceeded, text));
                }
                Ok(())
            })?;
            renew(edit, &named)
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        let statement = statement.shown(&resource).to_string();
        Ok(json(StatusCode::CREATED, &Added { statement }))
    }

    /// `RemovePermission`.
    pub(super) async fn remove_permission(
        &self,
        call: &ControlCall,
        name: &str,
        sid: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let (named, _) = self.guarded(call, name)?;
        let lock = call.query.get("RevisionId");
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                let key = key_of(named.qualifier.as_ref());
                let statements = record
                    .policies
                    .get_mut(&key)
                    .ok_or_else(LambdaError::resource_not_found)?;
                let before = statements.len();
                statements.retain(|statement| statement.sid != sid);
                if statements.len() == before {
                    let text = format!("Statement {sid} is not found in resource policy.");
                    return Err(LambdaError::new(Code::ResourceNotFound, text));
                }
                if statements.is_empty() {
                    record.policies.remove(&key);
                }
                Ok(())
            })?;
            check_lock(edit.entry(), &named, lock)?;
            renew(edit, &named)
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        Ok(no_content())
    }

    /// `GetPolicy`.
    pub(super) fn get_policy(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let (named, entry) = self.guarded(call, name)?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let statements = record.policies.get(&key_of(named.qualifier.as_ref()));
        let statements = statements.ok_or_else(LambdaError::resource_not_found)?;
        let policy = policy_text(statements, &named.qualified_arn());
        Ok(json(
            StatusCode::OK,
            &PolicyShown {
                policy,
                revision_id: lock_of(&entry, &named)?.to_string(),
            },
        ))
    }
}

/// The id that changes with a policy: that of the alias or revision it belongs to.
fn lock_of(entry: &FunctionEntry, named: &Named) -> Result<Uuid, LambdaError> {
    if let Some(Qualifier::Alias(alias)) = &named.qualifier
        && let Some(alias) = entry.aliases.get(alias)
    {
        return Ok(read::<AliasRecord>(&alias.document)?.revision_id);
    }
    Ok(read::<RevisionRecord>(&revision_of(entry, named)?.document)?.revision_id)
}

fn check_lock(entry: &FunctionEntry, named: &Named, given: Option<&str>) -> Result<(), LambdaError> {
    let Some(given) = given else { return Ok(()) };
    if lock_of(entry, named)?.to_string() != given {
        return Err(LambdaError::new(
            Code::PreconditionFailed,
            "The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to retrieve the latest \
             RevisionId",
        ));
    }
    Ok(())
}

fn renew(edit: &mut Edit, named: &Named) -> Result<(), LambdaError> {
    if let Some(Qualifier::Alias(alias)) = &named.qualifier
        && let Some(found) = edit.entry().aliases.get(alias).map(Arc::clone)
    {
        let record = AliasRecord {
            revision_id: Uuid::new_v4(),
            ..read(&found.document)?
        };
        edit.put_alias(alias.clone(), found.route.clone(), write(&record));
        return Ok(());
    }
    let revision = revision_of(edit.entry(), named)?.id;
    touch(edit, revision)
}
