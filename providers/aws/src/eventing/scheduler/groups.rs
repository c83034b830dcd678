//! Operations on groups of schedules, and their tags.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json as document};
use sonagi_model::Timestamp;

use super::super::bridge::{TagInput, add_tags};
use super::super::{epoch, json, key_of, page, prefix_of};
use super::input::check_name;
use super::record::{DEFAULT_GROUP, GroupRecord, group_arn};
use super::{Answer, Call, GROUPS_MAX, JSON, Scheduler, ServiceError, nothing};
use crate::place::Place;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GroupInput {
    tags: Vec<TagInput>,
    client_token: Option<String>,
}

fn missing(name: &str) -> ServiceError {
    ServiceError::new(
        404,
        "ResourceNotFoundException",
        format!("Schedule group {name} does not exist."),
    )
}

fn view(place: &Place, group: &GroupRecord) -> Value {
    document!({
        "Arn": group_arn(place, &group.name),
        "Name": group.name,
        "State": "ACTIVE",
        "CreationDate": epoch(group.created),
        "LastModificationDate": epoch(group.modified),
    })
}

impl Scheduler {
    /// A group that must exist.
    pub(super) fn group(&self, place: &Place, name: &str) -> Result<GroupRecord, ServiceError> {
        if let Some(group) = self.groups.get(&key_of(place, &[name])) {
            return Ok(GroupRecord::clone(&group));
        }
        if name != DEFAULT_GROUP {
            return Err(missing(name));
        }
        Ok(GroupRecord {
            name: DEFAULT_GROUP.to_owned(),
            tags: BTreeMap::new(),
            created: Timestamp::EPOCH,
            modified: Timestamp::EPOCH,
            client_token: None,
        })
    }

    pub(super) async fn create_group(&self, call: &Call<'_>, name: &str) -> Answer {
        check_name(name, "name")?;
        let input: GroupInput = call.input()?;
        let _turn = self.turn.lock().await;
        let arn = document!({ "ScheduleGroupArn": group_arn(call.place, name) });
        if let Ok(known) = self.group(call.place, name) {
            if input.client_token.is_some() && known.client_token == input.client_token {
                return Ok(json(JSON, &arn));
            }
            let text = format!("Schedule group {name} already exists.");
            return Err(ServiceError::new(409, "ConflictException", text));
        }
        if self.groups.with_prefix(&prefix_of(call.place, &[])).len() >= GROUPS_MAX {
            let text = format!("There are {GROUPS_MAX} schedule groups already, which is the limit.");
            return Err(ServiceError::new(402, "ServiceQuotaExceededException", text));
        }
        let now = self.clock.now();
        let group = GroupRecord {
            name: name.to_owned(),
            tags: add_tags(BTreeMap::new(), input.tags)?,
            created: now,
            modified: now,
            client_token: input.client_token,
        };
        self.groups.put(&key_of(call.place, &[name]), group).await?;
        Ok(json(JSON, &arn))
    }

    pub(super) fn get_group(&self, call: &Call<'_>, name: &str) -> Answer {
        Ok(json(JSON, &view(call.place, &self.group(call.place, name)?)))
    }

    /// With all schedules in it.
    pub(super) async fn delete_group(&self, call: &Call<'_>, name: &str) -> Answer {
        if name == DEFAULT_GROUP {
            return Err(ServiceError::validation(
                "The default schedule group cannot be deleted.",
            ));
        }
        let _turn = self.turn.lock().await;
        self.group(call.place, name)?;
        let own = self.schedules.with_prefix(&prefix_of(call.place, &[name]));
        let keys: Vec<String> = own.iter().map(|(key, _)| key.clone()).collect();
        self.schedules.remove(&keys).await?;
        for (_, schedule) in &own {
            self.deactivate(schedule).await;
        }
        self.groups.remove(&[key_of(call.place, &[name])]).await?;
        Ok(nothing())
    }

    pub(super) fn list_groups(&self, call: &Call<'_>) -> Answer {
        let own = self.groups.with_prefix(&prefix_of(call.place, &[]));
        let mut all: BTreeMap<String, Value> = own
            .iter()
            .map(|(_, group)| (group.name.clone(), view(call.place, group)))
            .collect();
        if let Ok(default) = self.group(call.place, DEFAULT_GROUP) {
            all.insert(default.name.clone(), view(call.place, &default));
        }
        let prefix = call.query.get("NamePrefix").unwrap_or_default();
        all.retain(|name, _| name.starts_with(prefix));
        let (groups, next) = page(all.into_iter().collect(), call.query.get("NextToken"), call.limit()?)?;
        let mut answer = document!({ "ScheduleGroups": groups });
        if let Some(next) = next {
            answer["NextToken"] = next.into();
        }
        Ok(json(JSON, &answer))
    }

    fn by_arn(&self, place: &Place, arn: &str) -> Result<GroupRecord, ServiceError> {
        let name = arn.strip_prefix(&group_arn(place, "")).ok_or_else(|| missing(arn))?;
        self.group(place, name)
    }

    pub(super) fn list_tags(&self, call: &Call<'_>, arn: &str) -> Answer {
        let tags = self.by_arn(call.place, arn)?.tags.into_iter();
        let tags: Vec<Value> = tags
            .map(|(key, value)| document!({ "Key": key, "Value": value }))
            .collect();
        Ok(json(JSON, &document!({ "Tags": tags })))
    }

    pub(super) async fn tag(&self, call: &Call<'_>, arn: &str) -> Answer {
        let input: GroupInput = call.input()?;
        let _turn = self.turn.lock().await;
        let mut group = self.by_arn(call.place, arn)?;
        group.tags = add_tags(group.tags, input.tags)?;
        self.groups
            .put(&key_of(call.place, &[&group.name.clone()]), group)
            .await?;
        Ok(nothing())
    }

    pub(super) async fn untag(&self, call: &Call<'_>, arn: &str) -> Answer {
        let _turn = self.turn.lock().await;
        let mut group = self.by_arn(call.place, arn)?;
        for key in call.query.all("TagKeys") {
            group.tags.remove(key);
        }
        self.groups
            .put(&key_of(call.place, &[&group.name.clone()]), group)
            .await?;
        Ok(nothing())
    }
}
