//! `sonagi on`: functions that run by a schedule, by the events of a bus, by a queue or a bucket.

mod services;

use clap::{Args, Subcommand};
use serde_json::Value;
use sonagi_api::{Binding, BindingSource, NewBinding};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Run functions by a schedule, the events of a bus, a queue or a bucket
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi on cron '*/5 * * * *' hello
  sonagi on cron 'rate(1 hour)' hello --payload '{\"full\": true}'
  sonagi on cron '0 9 * * 1-5' report --zone Europe/Berlin
  sonagi on bus hello --filter '{\"type\": [\"order.created\"]}'
  sonagi on queue jobs hello
  sonagi on s3 photos thumbnail --suffix .jpg
  sonagi on ls
  sonagi on rm hello")]
pub struct On {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Cron(Cron),
    Bus(Bus),
    Queue(services::Queue),
    S3(services::S3),
    /// List bindings
    Ls,
    /// Remove a binding
    Rm {
        /// Its name
        name: String,
    },
}

/// Run a function by a schedule
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi on cron '*/5 * * * *' hello              every five minutes
  sonagi on cron '*/10 * * * * *' hello           six fields: every ten seconds
  sonagi on cron '0 9 * * 1-5' report --zone Europe/Berlin
  sonagi on cron 'cron(0 12 L * ? *)' bill        noon of the last day of each month
  sonagi on cron 'at(2027-01-01T00:00:00)' hello  once

A tick runs its function once, whatever happens to the platform meanwhile. A time that a change of the clocks
leaves out is skipped; one that comes twice counts once.")]
struct Cron {
    /// Five or six fields (with seconds first), cron(…) with six, rate(…), or at(…)
    schedule: String,

    /// The function
    function: String,

    #[command(flatten)]
    common: Common,

    /// Time zone of the schedule
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,

    /// What the function gets, as JSON [default: the moment, and the binding's name]
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,

    /// What becomes of ticks while the platform was down: none is made up for; the newest, within 5 minutes; all of
    /// the last hour
    #[arg(long, value_name = "POLICY", default_value = "once", value_parser = ["skip", "once", "all"])]
    missed: String,
}

/// Run a function by the events of a bus
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi on bus hello                             every event of the bus `default`
  sonagi on bus hello --filter '{\"type\": [{\"prefix\": \"order.\"}], \"data\": {\"total\": [{\"numeric\": [\">\", 10]}]}}'
  curl -X POST $SERVER/sonagi/v1/bus/default/events -H \"Authorization: Bearer $TOKEN\" \\
    -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shop' -H 'ce-type: order.created' \\
    -H 'content-type: application/json' -d '{\"total\": 50}'

The function gets the CloudEvent as a JSON document. The bus is the one that a provider's own clients put
events on, too.")]
struct Bus {
    /// The function
    function: String,

    #[command(flatten)]
    common: Common,

    /// The bus
    #[arg(long, value_name = "BUS", default_value = "default")]
    bus: String,

    /// Which events: an event pattern for the CloudEvent, as JSON [default: all]
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
}

#[derive(Debug, Args)]
struct Common {
    /// Version or alias of the function [default: the live one]
    #[arg(long, value_name = "QUALIFIER")]
    qualifier: Option<String>,

    /// Name of the binding [default: made of the function's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl On {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Cron(cron) => {
                let source = BindingSource::Schedule {
                    expression: cron.schedule,
                    zone: Some(cron.zone),
                    payload: json("--payload", cron.payload.as_deref())?,
                    missed: Some(cron.missed),
                };
                bind(global, cron.function, cron.common, source).await
            }
            Action::Bus(bus) => {
                let source = BindingSource::Bus {
                    bus: bus.bus,
                    filter: json("--filter", bus.filter.as_deref())?,
                };
                bind(global, bus.function, bus.common, source).await
            }
            Action::Queue(queue) => {
                let source = queue.source()?;
                bind(global, queue.function, queue.common, source).await
            }
            Action::S3(bucket) => {
                let source = bucket.source();
                bind(global, bucket.function, bucket.common, source).await
            }
            Action::Ls => {
                let found = global.client()?.bindings(&global.scope()).await?;
                global.format().print(&found, || table(&found.bindings))?;
                if let Some(binding) = found.bindings.first() {
                    output::next(&format!("sonagi events {}", binding.function));
                }
                Ok(())
            }
            Action::Rm { name } => {
                let removed = global.client()?.unbind(&global.scope(), &name).await;
                removed
                    .map_err(|error| Failure::from(error).hint_if(Exit::NotFound, "`sonagi on ls` lists bindings"))?;
                match global.format() {
                    Format::Text => output::line(&format!("removed {name}")),
                    Format::Json => output::json(&serde_json::json!({ "removed": name })),
                }
            }
        }
    }
}

fn json(flag: &str, text: Option<&str>) -> Result<Option<Value>> {
    let read = text.map(serde_json::from_str).transpose();
    read.map_err(|error| Failure::usage(format!("{flag} is no JSON: {error}")))
}

async fn bind(global: &Global, function: String, common: Common, source: BindingSource) -> Result {
    let new = NewBinding {
        name: common.name,
        function,
        qualifier: common.qualifier,
        source,
    };
    let binding = global.client()?.bind(&global.scope(), &new).await?;
    global.format().print(&binding, || text(&binding))?;
    output::next(&format!("sonagi events {}", binding.function));
    Ok(())
}

/// What a binding listens to, in a few words.
fn words(source: &BindingSource) -> String {
    match source {
        BindingSource::Schedule { expression, zone, .. } => {
            format!("{expression} {}", zone.as_deref().unwrap_or("UTC"))
        }
        BindingSource::Bus { bus, filter: None } => format!("bus {bus}"),
        BindingSource::Bus {
            bus,
            filter: Some(filter),
        } => format!("bus {bus} {filter}"),
        BindingSource::Queue { queue, filter, .. } => match filter {
            None => format!("queue {queue}"),
            Some(filter) => format!("queue {queue} {filter}"),
        },
        BindingSource::Objects {
            bucket,
            events,
            prefix,
            suffix,
        } => format!("bucket {bucket} {} {prefix}*{suffix}", events.join(" ")),
    }
}

fn text(binding: &Binding) -> String {
    let mut pairs = vec![
        ("binding", binding.name.clone()),
        ("function", binding.function.clone()),
        ("runs on", words(&binding.source)),
    ];
    if let Some(next) = &binding.next {
        pairs.push(("next", next.clone()));
    }
    if let Some(state) = &binding.state {
        pairs.push(("state", state.clone()));
    }
    output::pairs(&pairs)
}

fn table(bindings: &[Binding]) -> String {
    let rows = bindings.iter().map(|binding| {
        [
            binding.name.clone(),
            binding.function.clone(),
            words(&binding.source),
            binding
                .next
                .clone()
                .or_else(|| binding.state.clone())
                .unwrap_or_default(),
        ]
    });
    output::table(["BINDING", "FUNCTION", "RUNS ON", "NEXT, STATE"], rows)
}
