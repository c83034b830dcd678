//! Functions, versions and accounts as the native API shows them.

use sonagi_control::FunctionEntry;
use sonagi_model::Revision;
use sonagi_ports::{AccountView, AliasView, FunctionView, VersionView};

use crate::arn::LATEST;
use crate::assembly::Aws;
use crate::auth::Account;
use crate::control::aliases::label;
use crate::control::versions::shown_revisions;
use crate::place::Place;
use crate::records::{FunctionRecord, RevisionRecord, read};

impl Aws {
    pub(super) fn url_of(&self, entry: &FunctionEntry, place: &Place) -> Option<String> {
        let record: FunctionRecord = read(&entry.function.document).ok()?;
        let url = record.urls.get(LATEST)?;
        Some(self.control.address.of(&url.id, &place.region))
    }

    pub(super) fn view(&self, entry: &FunctionEntry, place: &Place) -> FunctionView {
        let latest = entry.latest();
        let aliases = entry.aliases.values().map(|alias| AliasView {
            name: alias.name.to_string(),
            version: label(entry, alias.route.primary),
            split: alias
                .route
                .secondary
                .map(|(revision, weight)| (label(entry, revision), weight)),
        });
        let mut versions: Vec<VersionView> = shown_revisions(entry)
            .skip(1)
            .map(|revision| version_view(entry, revision))
            .collect();
        versions.push(version_view(entry, latest));
        FunctionView {
            namespace: entry.function.namespace.clone(),
            name: entry.function.name.to_string(),
            provider_name: crate::arn::of_function(place, &entry.function.name),
            contract: latest.spec.contract.clone(),
            runtime: latest.spec.runtime.clone(),
            handler: latest.spec.handler.clone(),
            memory: latest.spec.memory,
            timeout_ms: u64::try_from(latest.spec.timeout.as_millis()).unwrap_or(u64::MAX),
            scratch: latest.spec.scratch,
            outside: latest.spec.outside,
            environment: latest.spec.environment.clone(),
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            modified: modified(latest),
            url: self.url_of(entry, place),
            reserved_concurrency: entry.function.reserved_concurrency,
            provisioned: self.control.provisioned_of(entry),
            versions,
            aliases: aliases.collect(),
        }
    }

    pub(super) fn account_view(&self, account: &Account) -> AccountView {
        let place = Place {
            account: account.id.clone(),
            region: self.default.region.clone(),
        };
        AccountView {
            id: account.id.to_string(),
            key: account.access_key.clone(),
            namespace: place.namespace(),
        }
    }
}

/// When a revision was last changed, RFC 3339.
fn modified(revision: &Revision) -> String {
    let record = read::<RevisionRecord>(&revision.document);
    crate::control::url_time(record.map_or(revision.created, |record| record.modified))
}

pub(super) fn version_view(entry: &FunctionEntry, revision: &Revision) -> VersionView {
    VersionView {
        label: revision.label.clone(),
        revision: revision.id,
        digest: revision.artifact.digest,
        created: crate::control::url_time(revision.created),
        live: entry.function.latest == revision.id,
    }
}
