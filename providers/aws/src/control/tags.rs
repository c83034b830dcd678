//! Tags of functions.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::Serialize;
use sonagi_control::Edit;
use sonagi_wire::Body;

use super::request::TagsInput;
use super::validate::Violations;
use super::versions::alter_record;
use super::{Control, ControlCall, json, no_content};
use crate::arn::Named;
use crate::errors::LambdaError;
use crate::limits::LambdaLimits;
use crate::records::{FunctionRecord, read};

/// In the ARN of an event source mapping, and in no other.
const MAPPING: &str = ":event-source-mapping:";

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagsShown {
    tags: BTreeMap<String, String>,
}

/// Checks tags given by a request; `total` is how many there would be.
///
/// # Errors
/// `ValidationException` for a tag that is too long, 400 for too many.
pub(super) fn check_tags(
    tags: &BTreeMap<String, String>,
    total: usize,
    limits: &LambdaLimits,
) -> Result<(), LambdaError> {
    let mut found = Violations::default();
    for (key, value) in tags {
        found.longest("tags", Some(key), 128);
        found.longest("tags", Some(value), 256);
        if key.is_empty() {
            found.add(
                "",
                "tags",
                "Map keys must satisfy constraint: [Member must have length greater than or equal to 1]",
            );
        }
    }
    found.finish()?;
    if total > limits.tags {
        return Err(LambdaError::invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

impl Control {
    /// The function whose tags are meant: by its unqualified ARN.
    fn tagged(call: &ControlCall, resource: &str) -> Result<Named, LambdaError> {
        if !resource.starts_with("arn:") {
            let mut found = Violations::default();
            found.add(resource, "resource", "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12})");
            found.finish()?;
        }
        if !resource.contains(":function:") {
            return Err(LambdaError::resource_not_found());
        }
        let named = call.named_as(resource, None)?;
        if named.qualifier.is_some() {
            return Err(LambdaError::invalid(
                "Tags on function aliases and versions are not supported. Please specify a function ARN.",
            ));
        }
        Ok(named)
    }

    /// `TagResource`.
    pub(super) async fn tag(&self, call: &ControlCall, resource: &str) -> Result<Response<Body>, LambdaError> {
        let input: TagsInput = call.input()?;
        if resource.contains(MAPPING) {
            let tags = input.tags.unwrap_or_default();
            return self
                .change_mapping_tags(call, resource, |known| known.extend(tags))
                .await;
        }
        let named = Self::tagged(call, resource)?;
        let tags = input.tags.unwrap_or_default();
        if tags.is_empty() {
            return Err(LambdaError::invalid(
                "An error occurred and the request cannot be processed: no tags were given.",
            ));
        }
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                let mut merged = record.tags.clone();
                merged.extend(tags.clone());
                check_tags(&tags, merged.len(), &self.limits)?;
                record.tags = merged;
                Ok(())
            })
        };
        self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(no_content())
    }

    /// `UntagResource`.
    pub(super) async fn untag(&self, call: &ControlCall, resource: &str) -> Result<Response<Body>, LambdaError> {
        let keys: Vec<&str> = call.query.all("tagKeys").collect();
        let mut found = Violations::default();
        found.required("tagKeys", !keys.is_empty());
        found.finish()?;
        if resource.contains(MAPPING) {
            let change = |known: &mut BTreeMap<String, String>| known.retain(|key, _| !keys.contains(&key.as_str()));
            return self.change_mapping_tags(call, resource, change).await;
        }
        let named = Self::tagged(call, resource)?;
        let decide = |edit: &mut Edit| {
            alter_record(edit, |record| {
                record.tags.retain(|key, _| !keys.contains(&key.as_str()));
                Ok(())
            })
        };
        self.catalog.edit(&named.place.namespace(), &named.name, decide).await?;
        Ok(no_content())
    }

    /// `ListTags`.
    pub(super) fn list_tags(&self, call: &ControlCall, resource: &str) -> Result<Response<Body>, LambdaError> {
        if resource.contains(MAPPING) {
            return self.mapping_tags(call, resource);
        }
        let named = Self::tagged(call, resource)?;
        let record: FunctionRecord = read(&self.entry(&named)?.function.document)?;
        Ok(json(StatusCode::OK, &TagsShown { tags: record.tags }))
    }
}
