//! Functions and revisions as the native API shows them.

use sonagi_control::FunctionEntry;
use sonagi_model::Revision;
use sonagi_ports::{FunctionView, VersionView};

use crate::accounts::Account;
use crate::assembly::FnProject;
use crate::estate::Held;
use crate::records::time;

impl FnProject {
    /// A function.
    pub(super) fn view(&self, account: &Account, held: &Held) -> FunctionView {
        let (entry, record) = (&held.entry, &held.record);
        let latest = entry.latest();
        FunctionView {
            namespace: entry.function.namespace.clone(),
            name: entry.function.name.to_string(),
            provider_name: held.id(),
            contract: latest.spec.contract.clone(),
            runtime: latest.spec.runtime.clone(),
            handler: latest.spec.handler.clone(),
            memory: latest.spec.memory,
            timeout_ms: u64::from(record.timeout) * 1000,
            scratch: latest.spec.scratch,
            environment: latest.spec.environment.clone(),
            outside: latest.spec.outside,
            revision: latest.id,
            digest: latest.artifact.digest,
            size: latest.artifact.size,
            modified: time(record.updated),
            url: self.url(account, held),
            reserved_concurrency: None,
            provisioned: Vec::new(),
            versions: entry
                .revisions
                .values()
                .map(|revision| version(entry, revision))
                .collect(),
            aliases: Vec::new(),
        }
    }

    /// Where everybody reaches it: its first trigger.
    pub(super) fn url(&self, account: &Account, held: &Held) -> Option<String> {
        let triggers = self.api.estate.triggers_of(&held.record.app);
        let id = held.id();
        let trigger = triggers.iter().find(|trigger| trigger.function == id)?;
        let base = self.api.base_at(format!("http://{}", self.api.address), &account.name);
        Some(base.trigger(&held.record.app_name, &trigger.source))
    }
}

/// A revision.
pub(super) fn version(entry: &FunctionEntry, revision: &Revision) -> VersionView {
    VersionView {
        label: revision.label.clone(),
        revision: revision.id,
        digest: revision.artifact.digest,
        created: time(revision.created.as_millis()),
        live: entry.function.latest == revision.id,
    }
}
