//! Buses: every account has one, and makes others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json as document};

use super::super::{epoch, is_name, key_of, page, prefix_of};
use super::record::{BusRecord, DEFAULT_BUS, bus_arn};
use super::tags::{TagInput, tags_of};
use super::{Answer, BUSES_MAX, Bridge, Call, ServiceError, limit, nothing, shown};
use crate::place::Place;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BusInput {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    event_source_name: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Named {
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listing {
    name_prefix: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

fn view(place: &Place, bus: &BusRecord) -> Value {
    let mut view = document!({
        "Name": bus.name,
        "Arn": bus_arn(place, &bus.name),
        "CreationTime": epoch(bus.created),
        "LastModifiedTime": epoch(bus.modified),
    });
    if let Some(description) = &bus.description {
        view["Description"] = description.as_str().into();
    }
    view
}

fn the_default(place: &Place) -> Value {
    document!({ "Name": DEFAULT_BUS, "Arn": bus_arn(place, DEFAULT_BUS) })
}

impl Bridge {
    pub(super) async fn create_event_bus(&self, call: &Call<'_>) -> Answer {
        let input: BusInput = call.input()?;
        if input.event_source_name.is_some() {
            return Err(ServiceError::validation(
                "Partner event sources are not offered by this platform.",
            ));
        }
        if !is_name(&input.name, 256, ".-_/") || input.name.contains('/') {
            let constraint = "Member must satisfy regular expression pattern: [/\\.\\-_A-Za-z0-9]+";
            return Err(ServiceError::constraint(&input.name, "name", constraint));
        }
        let _turn = self.turn.lock().await;
        let key = key_of(call.place, &[&input.name]);
        if input.name == DEFAULT_BUS || self.buses.get(&key).is_some() {
            let text = format!("Event bus {} already exists.", input.name);
            return Err(ServiceError::new(400, "ResourceAlreadyExistsException", text));
        }
        if self.buses.with_prefix(&prefix_of(call.place, &[])).len() + 1 >= BUSES_MAX {
            let text = format!("The requested resource exceeds the maximum number allowed: {BUSES_MAX} event buses.");
            return Err(ServiceError::new(400, "LimitExceededException", text));
        }
        let now = self.clock.now();
        let record = BusRecord {
            name: input.name,
            description: input.description,
            tags: tags_of(input.tags)?,
            created: now,
            modified: now,
        };
        let record = self.buses.put(&key, record).await?;
        Ok(shown(document!({
            "EventBusArn": bus_arn(call.place, &record.name),
            "Description": record.description,
        })))
    }

    pub(super) async fn update_event_bus(&self, call: &Call<'_>) -> Answer {
        let input: BusInput = call.input()?;
        let _turn = self.turn.lock().await;
        let bus = self.bus_of(call.place, Some(&input.name))?;
        let key = key_of(call.place, &[&bus]);
        let Some(known) = self.buses.get(&key) else {
            return Err(ServiceError::validation(
                "The default event bus cannot be updated on this platform.",
            ));
        };
        let record = BusRecord {
            description: input.description.or_else(|| known.description.clone()),
            modified: self.clock.now(),
            ..BusRecord::clone(&known)
        };
        let record = self.buses.put(&key, record).await?;
        Ok(shown(document!({
            "Arn": bus_arn(call.place, &bus),
            "Name": bus,
            "Description": record.description,
        })))
    }

    pub(super) async fn delete_event_bus(&self, call: &Call<'_>) -> Answer {
        let input: BusInput = call.input()?;
        if input.name == DEFAULT_BUS {
            return Err(ServiceError::validation("Cannot delete event bus default."));
        }
        let _turn = self.turn.lock().await;
        if !self
            .rules
            .with_prefix(&prefix_of(call.place, &[&input.name]))
            .is_empty()
        {
            return Err(ServiceError::validation(
                "Event bus can't be deleted since it has rules.",
            ));
        }
        // A bus that is not there is as good as deleted, to the service.
        self.buses.remove(&[key_of(call.place, &[&input.name])]).await?;
        Ok(nothing())
    }

    pub(super) fn describe_event_bus(&self, call: &Call<'_>) -> Answer {
        let input: Named = call.input()?;
        let bus = self.bus_of(call.place, input.name.as_deref())?;
        Ok(shown(match self.buses.get(&key_of(call.place, &[&bus])) {
            Some(record) => view(call.place, &record),
            None => the_default(call.place),
        }))
    }

    pub(super) fn list_event_buses(&self, call: &Call<'_>) -> Answer {
        let input: Listing = call.input()?;
        let own = self.buses.with_prefix(&prefix_of(call.place, &[]));
        let mut all: BTreeMap<String, Value> = own
            .iter()
            .map(|(_, bus)| (bus.name.clone(), view(call.place, bus)))
            .collect();
        all.insert(DEFAULT_BUS.to_owned(), the_default(call.place));
        let prefix = input.name_prefix.as_deref().unwrap_or_default();
        all.retain(|name, _| name.starts_with(prefix));
        let (buses, next) = page(
            all.into_iter().collect(),
            input.next_token.as_deref(),
            limit(input.limit)?,
        )?;
        Ok(shown(document!({ "EventBuses": buses, "NextToken": next })))
    }
}
