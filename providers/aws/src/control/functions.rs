//! `CreateFunction`, `GetFunction`, `GetFunctionConfiguration`, `ListFunctions`, `DeleteFunction`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::{Edit, FunctionEntry, NewFunction, NewRevision};
use sonagi_model::{FunctionName, Revision};
use sonagi_wire::Body;

use super::concurrency::{Reserved, set_reservation};
use super::page::Paging;
use super::policy::forget_qualifier;
use super::render::{Configuration, Detail, configuration};
use super::request::FunctionInput;
use super::settings::Draft;
use super::tags::check_tags;
use super::validate::Violations;
use super::versions::{publish, shown_revisions, version_order};
use super::{Control, ControlCall, json, no_content, revision_of};
use crate::arn::{FunctionRef, LATEST, Named, Qualifier, of_function};
use crate::errors::{Code, LambdaError};
use crate::place::Place;
use crate::records::{FunctionRecord, RevisionRecord, read, write};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Functions {
    functions: Vec<Configuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionShown {
    configuration: Configuration,
    code: CodeShown,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Reserved>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CodeShown {
    repository_type: &'static str,
    location: String,
}

/// A function to be created, checked.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) place: Place,
    pub(crate) name: FunctionName,
    pub(crate) draft: Draft,
    pub(crate) archive: Bytes,
    /// The layers that it has, by their ARNs.
    pub(crate) layers: Vec<String>,
    pub(crate) record: FunctionRecord,
    /// What to reserve for it.
    pub(crate) reserved: Option<u32>,
    /// Whether its first version is published with it.
    pub(crate) publish: Publish,
}

/// Whether a version is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    Yes,
    No,
}

impl Control {
    /// `CreateFunction`.
    pub(super) async fn create_function(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let input: FunctionInput<'_> = call.input()?;
        let named = new_name(call, &input)?;
        let mut draft = Draft::new(input.role.clone().unwrap_or_default());
        draft.apply(&input, &self.limits)?;
        let tags = input.tags.clone().unwrap_or_default();
        check_tags(&tags, tags.len(), &self.limits)?;
        let code = input.code.as_ref().expect("checked with the name");
        let creation = Creation {
            place: named.place.clone(),
            name: named.name.clone(),
            draft,
            layers: input.layers.clone().unwrap_or_default(),
            archive: self.archive(&call.caller.place.account, code).await?,
            record: FunctionRecord {
                tags,
                ..FunctionRecord::default()
            },
            reserved: None,
            publish: if input.publish == Some(true) {
                Publish::Yes
            } else {
                Publish::No
            },
        };
        let (_, revision) = self.create(creation).await?;
        let shown = configuration(&revision, &named.place, named.arn(), Detail::Full)?;
        Ok(json(StatusCode::CREATED, &shown))
    }

    /// Creates a function, in one commit with all that is asked for; the revision that clients are shown.
    ///
    /// # Errors
    /// 400 without runtime or handler, when this host cannot run the runtime, or when too much would be reserved; 409 if
    /// it exists.
    pub(crate) async fn create(&self, creation: Creation) -> Result<(Arc<FunctionEntry>, Arc<Revision>), LambdaError> {
        let Creation {
            place,
            name,
            mut draft,
            archive,
            layers,
            record,
            reserved,
            publish: publishing,
        } = creation;
        let namespace = place.namespace();
        if draft.spec.runtime.is_empty() || draft.spec.handler.is_empty() {
            return Err(LambdaError::invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        self.check_runtime(&draft.spec.runtime)?;
        if self.catalog.find(&namespace, &name).is_some() {
            return Err(LambdaError::new(
                Code::ResourceConflict,
                format!("Function already exist: {name}"),
            ));
        }
        let joined = self.join_layers(&place, &layers).await?;
        let held = self.store(&place, archive).await?;
        let beside = joined.artifact();
        self.check_unpacked(held.artifact(), beside.as_ref())?;
        draft.settings.layers.clone_from(&joined.uses);
        let named = Named {
            place,
            name: name.clone(),
            qualifier: None,
        };
        let _turn = match reserved {
            Some(_) => Some(self.may_reserve(&named, reserved).await?),
            None => None,
        };
        let new = NewFunction {
            tenant: named.place.account.tenant(),
            namespace,
            name,
            document: write(&record),
            revision: NewRevision {
                label: LATEST.to_owned(),
                artifact: held.artifact().clone(),
                spec: draft.spec,
                document: write(&RevisionRecord::new(draft.settings, self.clock.now())),
            },
        };
        let decide = |edit: &mut Edit| {
            if reserved.is_some() {
                set_reservation(edit, reserved);
            }
            let first = Arc::clone(edit.entry().latest());
            edit.set_beside(&first, beside);
            match publishing {
                Publish::Yes => publish(edit, None),
                Publish::No => Ok(Arc::clone(edit.entry().latest())),
            }
        };
        let (entry, revision) = self.catalog.create_with(new, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        if reserved.is_some() {
            self.runner.reserve(&entry.function);
        }
        Ok((entry, revision))
    }

    /// `GetFunction`.
    pub(super) fn get_function(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named(name)?;
        let entry = self.entry(&named)?;
        let revision = revision_of(&entry, &named)?;
        let record: FunctionRecord = read(&entry.function.document)?;
        let shown = FunctionShown {
            configuration: configuration(revision, &named.place, named.qualified_arn(), Detail::Full)?,
            code: CodeShown {
                repository_type: "S3",
                location: self.code_location(call, &named, revision),
            },
            tags: record.tags,
            concurrency: entry.function.reserved_concurrency.map(Reserved::new),
        };
        Ok(json(StatusCode::OK, &shown))
    }

    /// `GetFunctionConfiguration`.
    pub(super) fn get_configuration(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named(name)?;
        let entry = self.entry(&named)?;
        let revision = revision_of(&entry, &named)?;
        let shown = configuration(revision, &named.place, named.qualified_arn(), Detail::Full)?;
        Ok(json(StatusCode::OK, &shown))
    }

    /// `ListFunctions`, with every version of each on request.
    pub(super) fn list_functions(&self, call: &ControlCall) -> Result<Response<Body>, LambdaError> {
        let paging = Paging::read(&call.query, self.limits.page)?;
        let mut found = Violations::default();
        found.one_of("functionVersion", call.query.get("FunctionVersion"), &["ALL"]);
        found.finish()?;
        let place = call.place();
        if call.query.get("FunctionVersion").is_some() {
            return self.list_all_versions(place, &paging);
        }
        let after = paging.after().map(FunctionName::parse).transpose();
        let after = after.map_err(|_| LambdaError::invalid("Invalid Marker."))?;
        let entries = self.catalog.list(&place.namespace(), after.as_ref(), paging.wanted());
        let page = paging.cut(entries, |entry| entry.function.name.to_string());
        let show = |entry: &Arc<FunctionEntry>| {
            configuration(
                entry.latest(),
                place,
                of_function(place, &entry.function.name),
                Detail::Listed,
            )
        };
        let functions = page.items.iter().map(show).collect::<Result<_, _>>()?;
        Ok(json(
            StatusCode::OK,
            &Functions {
                functions,
                next_marker: page.next,
            },
        ))
    }

    fn list_all_versions(&self, place: &Place, paging: &Paging) -> Result<Response<Body>, LambdaError> {
        let order = |revision: &Revision| (revision.name.to_string(), version_order(&revision.label));
        let after = paging.after().and_then(|text| text.split_once(':'));
        let after = after.map(|(name, label)| (name.to_owned(), version_order(label)));
        let entries = self.catalog.list(&place.namespace(), None, usize::MAX);
        let items: Vec<Arc<Revision>> = entries
            .iter()
            .flat_map(|entry| shown_revisions(entry).cloned().collect::<Vec<_>>())
            .filter(|revision| after.as_ref().is_none_or(|after| order(revision) > *after))
            .take(paging.wanted())
            .collect();
        let page = paging.cut(items, |revision| format!("{}:{}", revision.name, revision.label));
        let show = |revision: &Arc<Revision>| {
            let arn = format!("{}:{}", of_function(place, &revision.name), revision.label);
            configuration(revision, place, arn, Detail::Listed)
        };
        let functions = page.items.iter().map(show).collect::<Result<_, _>>()?;
        Ok(json(
            StatusCode::OK,
            &Functions {
                functions,
                next_marker: page.next,
            },
        ))
    }

    /// `DeleteFunction`: everything, or one version. The service answers 204, although its model says 200.
    pub(super) async fn delete_function(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named(name)?;
        match &named.qualifier {
            None => self.delete(&named).await?,
            Some(Qualifier::Version(number)) => self.delete_version(&named, *number).await?,
            Some(Qualifier::Latest) => {
                return Err(LambdaError::invalid(
                    "$LATEST version cannot be deleted without deleting the function.",
                ));
            }
            Some(Qualifier::Alias(_)) => {
                return Err(LambdaError::invalid("Deletion of aliases is not currently supported."));
            }
        }
        Ok(no_content())
    }

    /// Deletes a function with everything of it.
    ///
    /// # Errors
    /// 404.
    pub(crate) async fn delete(&self, named: &Named) -> Result<(), LambdaError> {
        let entry = self
            .catalog
            .delete::<LambdaError>(&named.place.namespace(), &named.name)
            .await?;
        self.routes.sync(&self.catalog, entry.function.id);
        Ok(())
    }

    async fn delete_version(&self, named: &Named, number: u64) -> Result<(), LambdaError> {
        let decide = |edit: &mut Edit| {
            let found = edit.entry().labelled(&number.to_string()).map(|revision| revision.id);
            let id = found.ok_or_else(|| LambdaError::function_not_found(&named.qualified_arn()))?;
            let aliases: Vec<String> = edit.aliases_of(id).map(ToString::to_string).collect();
            if !aliases.is_empty() {
                let text = format!(
                    "Version {number} of function {} is used by aliases: {}",
                    named.name,
                    aliases.join(", ")
                );
                return Err(LambdaError::new(Code::ResourceConflict, text));
            }
            edit.remove_revision(id);
            forget_qualifier(edit, &number.to_string())
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.apply_floors(entry.function.id);
        Ok(())
    }
}

/// The name of a function to be created, and that the rest of the input is there.
fn new_name(call: &ControlCall, input: &FunctionInput<'_>) -> Result<Named, LambdaError> {
    let mut found = Violations::default();
    found.required("functionName", input.function_name.is_some());
    found.required("role", input.role.is_some());
    found.required("code", input.code.is_some());
    found.finish()?;
    let name = input.function_name.as_deref().unwrap_or_default();
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if plain && name.len() > 64 && name.len() <= 140 {
        return Err(LambdaError::invalid(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have \
             length less than or equal to 64"
        )));
    }
    if FunctionRef::parse(name)?.qualifier.is_some() {
        return Err(LambdaError::invalid(
            "The function name of a new function cannot have a qualifier.",
        ));
    }
    call.named_as(name, None)
}
