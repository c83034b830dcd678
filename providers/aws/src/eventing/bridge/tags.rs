//! Tags of buses and rules.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json as document;

use super::super::key_of;
use super::record::{BusRecord, DEFAULT_BUS, RuleRecord};
use super::{Answer, Bridge, Call, ServiceError, nothing, shown};
use crate::place::Place;

/// Tags of one resource.
const TAGS_MAX: usize = 50;

/// `Tag`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::eventing) struct TagInput {
    key: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagging {
    #[serde(rename = "ResourceARN")]
    resource: String,
    #[serde(default)]
    tags: Vec<TagInput>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

/// Tags as they are kept.
pub(in crate::eventing) fn tags_of(tags: Vec<TagInput>) -> Result<BTreeMap<String, String>, ServiceError> {
    add(BTreeMap::new(), tags)
}

/// Tags with more of them.
pub(in crate::eventing) fn add(
    mut known: BTreeMap<String, String>,
    tags: Vec<TagInput>,
) -> Result<BTreeMap<String, String>, ServiceError> {
    for TagInput { key, value } in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(ServiceError::validation(
                "A tag has a key of 1 to 128 characters and a value of at most 256.",
            ));
        }
        known.insert(key, value);
    }
    if known.len() > TAGS_MAX {
        return Err(ServiceError::validation(format!(
            "A resource has at most {TAGS_MAX} tags."
        )));
    }
    Ok(known)
}

/// A resource by its ARN.
enum Resource {
    Bus(String),
    Rule(String),
}

impl Bridge {
    fn resource(&self, place: &Place, arn: &str) -> Result<Resource, ServiceError> {
        let missing = || {
            let text = format!("Resource {arn} does not exist.");
            ServiceError::new(400, "ResourceNotFoundException", text)
        };
        let own = format!("arn:aws:events:{}:{}:", place.region, place.account);
        let resource = arn.strip_prefix(&own).ok_or_else(missing)?;
        if let Some(name) = resource.strip_prefix("event-bus/") {
            let key = key_of(place, &[name]);
            return self.buses.get(&key).map(|_| Resource::Bus(key)).ok_or_else(missing);
        }
        let rule = resource.strip_prefix("rule/").ok_or_else(missing)?;
        let (bus, name) = rule.split_once('/').unwrap_or((DEFAULT_BUS, rule));
        let key = key_of(place, &[bus, name]);
        self.rules.get(&key).map(|_| Resource::Rule(key)).ok_or_else(missing)
    }

    async fn retag(
        &self,
        place: &Place,
        arn: &str,
        change: impl FnOnce(BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ServiceError>,
    ) -> Answer {
        let _turn = self.turn.lock().await;
        match self.resource(place, arn)? {
            Resource::Bus(key) => {
                if let Some(bus) = self.buses.get(&key) {
                    let tags = change(bus.tags.clone())?;
                    let bus = BusRecord {
                        tags,
                        ..BusRecord::clone(&bus)
                    };
                    self.buses.put(&key, bus).await?;
                }
            }
            Resource::Rule(key) => {
                if let Some(rule) = self.rules.get(&key) {
                    let tags = change(rule.tags.clone())?;
                    let rule = RuleRecord {
                        tags,
                        ..RuleRecord::clone(&rule)
                    };
                    self.rules.put(&key, rule).await?;
                }
            }
        }
        Ok(nothing())
    }

    pub(super) async fn tag(&self, call: &Call<'_>) -> Answer {
        let input: Tagging = call.input()?;
        self.retag(call.place, &input.resource, |known| add(known, input.tags))
            .await
    }

    pub(super) async fn untag(&self, call: &Call<'_>) -> Answer {
        let input: Tagging = call.input()?;
        self.retag(call.place, &input.resource, |mut known| {
            known.retain(|key, _| !input.tag_keys.contains(key));
            Ok(known)
        })
        .await
    }

    pub(super) fn list_tags(&self, call: &Call<'_>) -> Answer {
        let input: Tagging = call.input()?;
        let tags = match self.resource(call.place, &input.resource)? {
            Resource::Bus(key) => self.buses.get(&key).map(|bus| bus.tags.clone()),
            Resource::Rule(key) => self.rules.get(&key).map(|rule| rule.tags.clone()),
        };
        let tags = tags.unwrap_or_default().into_iter();
        let tags: Vec<_> = tags
            .map(|(key, value)| document!({ "Key": key, "Value": value }))
            .collect();
        Ok(shown(document!({ "Tags": tags })))
    }
}
