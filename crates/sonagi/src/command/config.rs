//! `sonagi config`: settings of a function, or, without a name, of the platform.

use clap::Args;
use sonagi_api::{self as api, FunctionEgress, Origin, Settings};

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;
use crate::values::{self, NumberOrNone};

/// Show or change settings: of a function, or (without a name, show only) of the platform itself
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi config                                     the platform's settings, and where each comes from
  sonagi config hello                               a function's settings
  sonagi config hello --values                      with the values of its variables
  sonagi config hello --memory 512 --env MODE=fast --unset OLD
  sonagi config hello --egress none                 it reaches nothing outside; `default` takes that back
  sonagi config hello --concurrency 10              at most ten calls at once; `none` removes the limit
  sonagi config hello --provisioned prod=2          two instances of alias prod are always loaded")]
pub struct Config {
    /// The function
    function: Option<String>,

    /// Show the values of variables
    #[arg(long, requires = "function")]
    values: bool,

    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Args)]
#[group(id = "changes", multiple = true, requires = "function")]
struct Changes {
    /// Runtime, in the provider's words
    #[arg(long)]
    runtime: Option<String>,

    /// Entry point, in the provider's words
    #[arg(long)]
    handler: Option<String>,

    /// Memory of an instance, MiB
    #[arg(long, value_name = "SIZE", value_parser = values::mebibytes)]
    memory: Option<u32>,

    /// Longest time of a call
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<std::time::Duration>,

    /// Size of /tmp, MiB
    #[arg(long, value_name = "SIZE", value_parser = values::mebibytes)]
    scratch: Option<u32>,

    /// What it reaches outside: what all functions do (default), or nothing (none)
    #[arg(long, value_name = "REACH", value_parser = values::egress())]
    egress: Option<FunctionEgress>,

    /// Set a variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::variable)]
    env: Vec<(String, String)>,

    /// Remove a variable; may be repeated
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,

    /// Reserved concurrency, or `none`
    #[arg(long, value_name = "CALLS", value_parser = values::number_or_none)]
    concurrency: Option<NumberOrNone>,

    /// Keep so many instances of a version or alias loaded, or `none`; may be repeated
    #[arg(long, value_name = "VERSION|ALIAS=INSTANCES", value_parser = values::instances)]
    provisioned: Vec<(String, NumberOrNone)>,

    /// A sentence about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl Changes {
    fn settings(self) -> Settings {
        Settings {
            runtime: self.runtime,
            handler: self.handler,
            memory_mib: self.memory,
            timeout_ms: self.timeout.map(values::milliseconds),
            scratch_mib: self.scratch,
            egress: self.egress,
            set_environment: self.env.into_iter().collect(),
            unset_environment: self.unset,
            reserved_concurrency: self.concurrency.map(|NumberOrNone(limit)| limit),
            provisioned: (self.provisioned.into_iter())
                .map(|(qualifier, NumberOrNone(count))| (qualifier, count))
                .collect(),
            description: self.description,
        }
    }
}

impl Config {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        let Some(function) = self.function else {
            let config = client.config().await?;
            return global.format().print(&config, || platform(&config));
        };
        let settings = self.changes.settings();
        if !settings.unset_environment.is_empty() {
            known_variables(&client.function(&scope, &function).await?, &settings.unset_environment)?;
        }
        let changed = settings != Settings::default();
        if changed {
            client.configure(&scope, &function, &settings).await?;
        }
        let view = if self.values {
            client.function_with_values(&scope, &function).await?
        } else {
            client.function(&scope, &function).await?
        };
        global.format().print(&view, || output::pairs(&lines(&view)))?;
        if changed {
            output::next(&format!("sonagi invoke {function}"));
        }
        Ok(())
    }
}

/// What is to be removed has to be there: a name that was mistyped would stay set without a word.
fn known_variables(view: &api::Function, unset: &[String]) -> Result {
    let Some(unknown) = unset.iter().find(|name| !view.environment.contains_key(*name)) else {
        return Ok(());
    };
    let names: Vec<&str> = view.environment.keys().map(String::as_str).collect();
    let hint = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}; nothing was changed", names.join(", "))
    };
    Err(Failure::new(
        Exit::NotFound,
        format!("function {} has no variable {unknown}", view.name),
    )
    .hint(hint))
}

fn platform(config: &api::Config) -> String {
    let origin = |origin| match origin {
        Origin::Flag => "flag",
        Origin::Environment => "environment",
        Origin::File => "file",
        Origin::Default => "default",
    };
    let rows = config.settings.iter().map(|setting| {
        [
            setting.name.clone(),
            setting.value.clone(),
            origin(setting.origin).to_owned(),
        ]
    });
    output::table(["SETTING", "VALUE", "FROM"], rows)
}

/// A function's settings, one a line.
pub fn lines(view: &api::Function) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("runtime", view.runtime.clone()),
        ("handler", view.handler.clone()),
        ("memory", format!("{} MiB", view.memory_mib)),
        (
            "timeout",
            values::duration_text(std::time::Duration::from_millis(view.timeout_ms)),
        ),
        ("scratch", format!("{} MiB", view.scratch_mib)),
        ("egress", view.egress.name().to_owned()),
        (
            "concurrency",
            view.reserved_concurrency
                .map_or_else(|| "shared".to_owned(), |limit| format!("{limit} reserved")),
        ),
    ];
    for kept in &view.provisioned {
        lines.push((
            "provisioned",
            format!(
                "{} of {} for {} ({})",
                kept.ready, kept.wanted, kept.qualifier, kept.status
            ),
        ));
    }
    for (name, value) in &view.environment {
        lines.push((
            "env",
            value
                .as_ref()
                .map_or_else(|| name.clone(), |value| format!("{name}={value}")),
        ));
    }
    lines
}
