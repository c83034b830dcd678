//! Operations on aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::{Edit, FunctionEntry};
use sonagi_model::{Alias, AliasName, RevisionId, Route};
use sonagi_wire::Body;
use uuid::Uuid;

use super::page::Paging;
use super::policy::forget_qualifier;
use super::provisioned::check_route;
use super::request::{AliasInput, RoutingInput};
use super::validate::{ALIAS_PATTERN, Violations, is_alias};
use super::{Control, ControlCall, json, no_content};
use crate::arn::{LATEST, Named};
use crate::errors::{Code, LambdaError};
use crate::records::{AliasRecord, read, write};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasShown {
    alias_arn: String,
    name: String,
    function_version: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_config: Option<RoutingShown>,
    revision_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RoutingShown {
    additional_version_weights: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasesShown {
    aliases: Vec<AliasShown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

/// The label of a revision that an alias points at.
pub(crate) fn label(entry: &FunctionEntry, revision: RevisionId) -> String {
    entry
        .revisions
        .get(&revision)
        .map(|revision| revision.label.clone())
        .unwrap_or_default()
}

fn show(entry: &FunctionEntry, alias: &Alias, named: &Named) -> Result<AliasShown, LambdaError> {
    let record: AliasRecord = read(&alias.document)?;
    let routing_config = alias.route.secondary.map(|(revision, weight)| RoutingShown {
        additional_version_weights: BTreeMap::from([(label(entry, revision), weight)]),
    });
    Ok(AliasShown {
        alias_arn: format!("{}:{}", named.arn(), alias.name),
        name: alias.name.to_string(),
        function_version: label(entry, alias.route.primary),
        description: record.description,
        routing_config,
        revision_id: record.revision_id.to_string(),
    })
}

/// Where an alias shall point, by labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) primary: String,
    pub(crate) secondary: Option<(String, f64)>,
}

impl Target {
    /// The route for these labels.
    ///
    /// # Errors
    /// 404 for versions that do not exist, 400 for splits that Lambda does not allow.
    pub(crate) fn route(&self, entry: &FunctionEntry, named: &Named) -> Result<Route, LambdaError> {
        let find = |label: &str| {
            let found = entry.labelled(label).map(|revision| revision.id);
            found.ok_or_else(|| LambdaError::function_not_found(&format!("{}:{label}", named.arn())))
        };
        let primary = find(&self.primary)?;
        let Some((other, weight)) = &self.secondary else {
            return Ok(Route::to(primary));
        };
        if self.primary == LATEST || other == LATEST {
            return Err(LambdaError::invalid(
                "$LATEST is not supported for an alias pointing to more than 1 version",
            ));
        }
        Route::split(primary, find(other)?, *weight).map_err(|_| {
            LambdaError::invalid(format!(
                "Invalid function version {other}. Function version {other} is already included in routing configuration."
            ))
        })
    }
}

fn read_routing(input: &RoutingInput) -> Result<Option<(String, f64)>, LambdaError> {
    let weights = input.additional_version_weights.as_ref();
    if weights.is_some_and(|weights| weights.len() > 1) {
        return Err(LambdaError::invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    Ok(weights
        .and_then(BTreeMap::first_key_value)
        .map(|(label, weight)| (label.clone(), *weight)))
}

fn check(input: &AliasInput, found: &mut Violations) {
    found.longest("description", input.description.as_deref(), 256);
    found.form(
        "functionVersion",
        input.function_version.as_deref(),
        r"(\$LATEST(\.PUBLISHED)?|[0-9]+)",
        is_version,
    );
    let weights = input
        .routing_config
        .as_ref()
        .and_then(|routing| routing.additional_version_weights.as_ref());
    for (version, weight) in weights.into_iter().flatten() {
        if !(0.0..=1.0).contains(weight) {
            let shown = format!("{{{version}={weight}}}");
            found.add(&shown, "routingConfig.additionalVersionWeights", "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0]");
        }
        if !is_version(version) {
            found.add(
                version,
                "routingConfig.additionalVersionWeights",
                "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [0-9]+]",
            );
        }
    }
}

fn is_version(text: &str) -> bool {
    text == LATEST || (!text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn alias_name(text: &str) -> Result<AliasName, LambdaError> {
    let mut found = Violations::default();
    found.longest("name", Some(text), 128);
    found.form("name", Some(text), ALIAS_PATTERN, is_alias);
    found.finish()?;
    AliasName::parse(text).map_err(|error| LambdaError::new(Code::Validation, error.to_string()))
}

impl Control {
    fn missing_alias(named: &Named, name: &str) -> LambdaError {
        LambdaError::alias_not_found(&format!("{}:{name}", named.arn()))
    }

    /// `CreateAlias`.
    pub(super) async fn create_alias(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let input: AliasInput = call.input()?;
        let mut found = Violations::default();
        found.required("name", input.name.is_some());
        found.required("functionVersion", input.function_version.is_some());
        check(&input, &mut found);
        found.finish()?;
        let alias = alias_name(input.name.as_deref().unwrap_or_default())?;
        let target = Target {
            primary: input.function_version.clone().unwrap_or_default(),
            secondary: input.routing_config.as_ref().map(read_routing).transpose()?.flatten(),
        };
        let decide = |edit: &mut Edit| {
            if edit.entry().aliases.contains_key(&alias) {
                let text = format!("Alias already exists: {}:{alias}", named.arn());
                return Err(LambdaError::new(Code::ResourceConflict, text));
            }
            let route = target.route(edit.entry(), &named)?;
            let record = AliasRecord::new(input.description.clone().unwrap_or_default());
            edit.put_alias(alias.clone(), route, write(&record));
            Ok(())
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(json(
            StatusCode::CREATED,
            &show(&entry, &entry.aliases[&alias], &named)?,
        ))
    }

    /// `UpdateAlias`.
    pub(super) async fn update_alias(
        &self,
        call: &ControlCall,
        name: &str,
        alias: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let input: AliasInput = call.input()?;
        let mut found = Violations::default();
        check(&input, &mut found);
        found.finish()?;
        let routing = input.routing_config.as_ref().map(read_routing).transpose()?;
        let alias = alias_name(alias)?;
        let decide = |edit: &mut Edit| {
            let old = edit.entry().aliases.get(&alias).map(Arc::clone);
            let old = old.ok_or_else(|| Self::missing_alias(&named, alias.as_str()))?;
            let mut record: AliasRecord = read(&old.document)?;
            if input
                .revision_id
                .as_ref()
                .is_some_and(|given| *given != record.revision_id.to_string())
            {
                return Err(LambdaError::outdated_revision());
            }
            let entry = edit.entry();
            let kept = || {
                old.route
                    .secondary
                    .map(|(revision, weight)| (label(entry, revision), weight))
            };
            let target = Target {
                primary: input
                    .function_version
                    .clone()
                    .unwrap_or_else(|| label(entry, old.route.primary)),
                secondary: routing.clone().unwrap_or_else(kept),
            };
            let route = target.route(entry, &named)?;
            check_route(edit, &alias, &route)?;
            record.revision_id = Uuid::new_v4();
            if let Some(description) = &input.description {
                record.description.clone_from(description);
            }
            edit.put_alias(alias.clone(), route, write(&record));
            Ok(())
        };
        let (entry, ()) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.apply_floors(entry.function.id);
        Ok(json(StatusCode::OK, &show(&entry, &entry.aliases[&alias], &named)?))
    }

    /// `GetAlias`.
    pub(super) fn get_alias(&self, call: &ControlCall, name: &str, alias: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let alias = alias_name(alias)?;
        let entry = self.entry(&named)?;
        let found = entry
            .aliases
            .get(&alias)
            .ok_or_else(|| Self::missing_alias(&named, alias.as_str()))?;
        Ok(json(StatusCode::OK, &show(&entry, found, &named)?))
    }

    /// `ListAliases`, by name; those of one version on request.
    pub(super) fn list_aliases(&self, call: &ControlCall, name: &str) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        let paging = Paging::read(&call.query, self.limits.page)?;
        let entry = self.entry(&named)?;
        let version = call.query.get("FunctionVersion");
        let points_there = |alias: &Alias| {
            version.is_none_or(|version| {
                let Route { primary, secondary } = &alias.route;
                label(&entry, *primary) == version
                    || secondary.is_some_and(|(other, _)| label(&entry, other) == version)
            })
        };
        let found = entry
            .aliases
            .values()
            .filter(|alias| paging.after().is_none_or(|after| alias.name.as_str() > after) && points_there(alias));
        let page = paging.cut(found.take(paging.wanted()).collect(), |alias| alias.name.to_string());
        let aliases = page
            .items
            .into_iter()
            .map(|alias| show(&entry, alias, &named))
            .collect::<Result<_, _>>()?;
        Ok(json(
            StatusCode::OK,
            &AliasesShown {
                aliases,
                next_marker: page.next,
            },
        ))
    }

    /// `DeleteAlias`: 204, also for one that does not exist.
    pub(super) async fn delete_alias(
        &self,
        call: &ControlCall,
        name: &str,
        alias: &str,
    ) -> Result<Response<Body>, LambdaError> {
        let named = call.named_as(name, None)?;
        self.remove_alias(&named, &alias_name(alias)?).await?;
        Ok(no_content())
    }

    /// Removes an alias with its policy and URL. Says whether it was there.
    ///
    /// # Errors
    /// 404 for the function.
    pub(crate) async fn remove_alias(&self, named: &Named, alias: &AliasName) -> Result<bool, LambdaError> {
        let decide = |edit: &mut Edit| {
            let there = edit.remove_alias(alias);
            forget_qualifier(edit, alias.as_str())?;
            Ok(there)
        };
        let (entry, there) = self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        self.routes.sync(&self.catalog, entry.function.id);
        self.apply_floors(entry.function.id);
        Ok(there)
    }
}
