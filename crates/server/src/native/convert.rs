//! The core's nouns in the words of the wire.

use std::time::Duration;

use sonagi_api as api;
use sonagi_model::{Mebibytes, Outside, RunRecord, RunStatus, Start};
use sonagi_ports::{
    AccountView, AliasView, Deployed, FunctionView, LogLine, LogSource, ProjectDeployed, ProvisionedView, Settings,
    UrlAccess, UsageRow, VersionView,
};

use super::moment;

pub(super) fn settings(settings: api::Settings) -> Settings {
    Settings {
        runtime: settings.runtime,
        handler: settings.handler,
        memory: settings.memory_mib.map(Mebibytes),
        timeout: settings.timeout_ms.map(Duration::from_millis),
        scratch: settings.scratch_mib.map(Mebibytes),
        outside: settings.egress.map(|egress| match egress {
            api::FunctionEgress::Default => Outside::Open,
            api::FunctionEgress::None => Outside::Closed,
        }),
        set_environment: settings.set_environment,
        unset_environment: settings.unset_environment,
        reserved_concurrency: settings.reserved_concurrency,
        provisioned: settings.provisioned,
        description: settings.description,
    }
}

pub(super) const fn url(access: api::UrlAccess) -> UrlAccess {
    match access {
        api::UrlAccess::None => UrlAccess::None,
        api::UrlAccess::Public => UrlAccess::Public,
        api::UrlAccess::Signed => UrlAccess::Signed,
    }
}

pub(super) fn deployed(deployed: Deployed) -> api::Deployed {
    api::Deployed {
        namespace: deployed.namespace.to_string(),
        name: deployed.name,
        revision: deployed.revision.to_string(),
        digest: deployed.digest,
        size: deployed.size,
        created: deployed.created,
        url: deployed.url,
    }
}

pub(super) fn project_deployed(deployed: ProjectDeployed) -> api::ProjectDeployed {
    let made = deployed.made.into_iter().map(|made| api::Made {
        kind: made.kind,
        name: made.name,
        created: made.created,
        url: made.url,
    });
    api::ProjectDeployed {
        namespace: deployed.namespace.to_string(),
        made: made.collect(),
        notes: deployed.notes,
    }
}

/// Whether the values of variables leave the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Shown,
    Hidden,
}

pub(super) fn function(view: FunctionView, values: Values) -> api::Function {
    let shown = |value: String| (values == Values::Shown).then_some(value);
    api::Function {
        namespace: view.namespace.to_string(),
        name: view.name,
        provider_name: view.provider_name,
        contract: view.contract,
        runtime: view.runtime,
        handler: view.handler,
        memory_mib: view.memory.0,
        timeout_ms: view.timeout_ms,
        scratch_mib: view.scratch.0,
        egress: match view.outside {
            Outside::Open => api::FunctionEgress::Default,
            Outside::Closed => api::FunctionEgress::None,
        },
        environment: view
            .environment
            .into_iter()
            .map(|(name, value)| (name, shown(value)))
            .collect(),
        revision: view.revision.to_string(),
        digest: view.digest,
        size: view.size,
        modified: view.modified,
        url: view.url,
        reserved_concurrency: view.reserved_concurrency,
        provisioned: view.provisioned.into_iter().map(provisioned).collect(),
        versions: view.versions.into_iter().map(version).collect(),
        aliases: view.aliases.into_iter().map(alias).collect(),
    }
}

fn provisioned(view: ProvisionedView) -> api::Provisioned {
    api::Provisioned {
        qualifier: view.qualifier,
        wanted: view.wanted,
        ready: view.ready,
        status: view.status,
    }
}

pub(super) fn version(view: VersionView) -> api::Version {
    api::Version {
        label: view.label,
        revision: view.revision.to_string(),
        digest: view.digest,
        created: view.created,
        live: view.live,
    }
}

pub(super) fn alias(view: AliasView) -> api::Alias {
    let split = view.split.map(|(version, share)| api::Split { version, share });
    api::Alias {
        name: view.name,
        version: view.version,
        split,
    }
}

pub(super) fn account(provider: &str, view: AccountView) -> api::Account {
    api::Account {
        provider: provider.to_owned(),
        id: view.id,
        key: view.key,
        namespace: view.namespace.to_string(),
    }
}

pub(super) fn run(record: RunRecord) -> api::Run {
    api::Run {
        invocation: record.invocation.to_string(),
        attempt: record.attempt,
        namespace: record.namespace.to_string(),
        name: record.name.to_string(),
        revision: record.revision.to_string(),
        version: record.label,
        instance: record.instance.map(|instance| instance.to_string()),
        started: moment::text(record.started),
        start: match record.start {
            Start::Cold => api::Start::Cold,
            Start::Warm => api::Start::Warm,
        },
        phases: record.phases.map(|phases| api::Phases {
            queue_us: phases.queue_us,
            artifact_us: phases.artifact_us,
            cell_us: phases.cell_us,
            process_us: phases.process_us,
            init_us: phases.init_us,
        }),
        init_us: record.init_us,
        duration_us: record.duration_us,
        billed_ms: record.billed_ms,
        memory_mib: record.memory.0,
        memory_peak_mib: record.memory_peak.0,
        response_bytes: record.response_bytes,
        status: status(record.status),
        error_kind: record.error_kind,
    }
}

const fn status(status: RunStatus) -> api::RunStatus {
    match status {
        RunStatus::Success => api::RunStatus::Success,
        RunStatus::FunctionError => api::RunStatus::FunctionError,
        RunStatus::Timeout => api::RunStatus::Timeout,
        RunStatus::Crash => api::RunStatus::Crash,
        RunStatus::OutOfMemory => api::RunStatus::OutOfMemory,
        RunStatus::InitError => api::RunStatus::InitError,
        RunStatus::ResponseTooLarge => api::RunStatus::ResponseTooLarge,
        RunStatus::ProtocolViolation => api::RunStatus::ProtocolViolation,
        RunStatus::CallerGone => api::RunStatus::CallerGone,
        RunStatus::Platform => api::RunStatus::Platform,
        RunStatus::Lost => api::RunStatus::Lost,
    }
}

pub(super) fn log_line(line: &LogLine) -> api::LogLine {
    api::LogLine {
        time: moment::text(line.time),
        version: line.label.clone(),
        instance: line.instance.to_string(),
        invocation: line.invocation.map(|invocation| invocation.to_string()),
        source: match line.source {
            LogSource::Function => api::LogSource::Function,
            LogSource::Platform => api::LogSource::Platform,
        },
        text: line.text.clone(),
        truncated: line.truncated,
    }
}

pub(super) fn usage_row(row: UsageRow, amount: Option<api::Amount>) -> api::UsageRow {
    api::UsageRow {
        namespace: row.namespace.to_string(),
        name: row.name.to_string(),
        memory_mib: row.memory.0,
        scratch_mib: row.scratch.0,
        attempts: row.attempts,
        errors: row.errors,
        cold_starts: row.cold_starts,
        duration_us: row.duration_us,
        billed_ms: row.billed_ms,
        response_bytes: row.response_bytes,
        amount,
    }
}
