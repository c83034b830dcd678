//! `sonagi invoke`: calls a function.

use std::io::Read as _;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use sonagi_api::{Invoked, Run, Start};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::watch;

/// The largest event that is read from a file or from standard input, bytes: the platform's own limit.
const EVENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Call a function; its answer goes to standard output, where the time went to standard error
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi invoke hello '{\"name\":\"you\"}'
  sonagi invoke hello @event.json          the event is in a file
  generate | sonagi invoke hello -         the event comes from standard input
  sonagi invoke hello --qualifier prod     a version or an alias
  sonagi invoke hello --async '{}'         accept the event durably, run it later
  sonagi invoke hello --tail               show the end of its log, too

Exit code 5: the function ran and failed.")]
pub struct Invoke {
    /// The function
    function: String,

    /// The event: text, @FILE, or - for standard input
    #[arg(default_value = "{}", hide_default_value = true, allow_hyphen_values = true)]
    event: String,

    /// Version or alias to call
    #[arg(long, value_name = "VERSION|ALIAS")]
    qualifier: Option<String>,

    /// Return when the event is accepted; the function runs later
    #[arg(long = "async", conflicts_with = "tail")]
    later: bool,

    /// Show the end of its log on standard error
    #[arg(long)]
    tail: bool,
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    invocation: &'a str,
    failed: bool,
    /// The answer: itself if it is JSON, else its text.
    answer: serde_json::Value,
    run: &'a Run,
    log: String,
}

impl Invoke {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let event = event(&self.event)?;
        let (client, scope) = (global.client()?, global.scope());
        if self.later {
            let accepted = client
                .send(&scope, &self.function, self.qualifier.as_deref(), event)
                .await?;
            global.format().print(&accepted, || accepted.invocation.clone())?;
            output::next(&format!("sonagi runs {}", accepted.invocation));
            return Ok(());
        }
        let call = client.invoke(&scope, &self.function, self.qualifier.as_deref(), event);
        let invoked = watch("waiting for the answer", call).await?;
        print(&invoked, global.format())?;
        if self.tail {
            output::note(String::from_utf8_lossy(&invoked.log_tail).trim_end());
        }
        output::note(&summary(&invoked.run));
        if invoked.failed {
            output::next(&format!(
                "sonagi logs {} --run {}",
                super::deploy::shell(&self.function),
                invoked.invocation
            ));
            return Err(Failure::silent(Exit::FunctionFailed));
        }
        Ok(())
    }
}

fn event(text: &str) -> Result<Bytes> {
    let failed = |what: String, error: &std::io::Error| Failure::caused(Exit::Usage, what, error);
    let mut bytes = Vec::new();
    if text == "-" {
        let read = std::io::stdin()
            .lock()
            .take(EVENT_BYTES_MAX + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| failed("standard input cannot be read".to_owned(), &error))?;
    } else if let Some(path) = text.strip_prefix('@') {
        let opened = std::fs::File::open(path).and_then(|file| file.take(EVENT_BYTES_MAX + 1).read_to_end(&mut bytes));
        opened.map_err(|error| failed(format!("{path} cannot be read"), &error))?;
    } else {
        bytes = text.as_bytes().to_vec();
    }
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        return Err(Failure::new(
            Exit::Refused,
            format!("the event has more than {EVENT_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes.into())
}

fn print(invoked: &Invoked, format: Format) -> Result {
    match format {
        Format::Text => {
            output::data(&invoked.body)?;
            if invoked.body.ends_with(b"\n") {
                Ok(())
            } else {
                output::data(b"\n")
            }
        }
        Format::Json => {
            let text = || serde_json::Value::String(String::from_utf8_lossy(&invoked.body).into_owned());
            output::json(&Report {
                invocation: &invoked.invocation,
                failed: invoked.failed,
                answer: serde_json::from_slice(&invoked.body).unwrap_or_else(|_| text()),
                run: &invoked.run,
                log: String::from_utf8_lossy(&invoked.log_tail).into_owned(),
            })
        }
    }
}

/// One line about where the time went.
fn summary(run: &Run) -> String {
    let mut text = match run.start {
        Start::Warm => "warm:".to_owned(),
        Start::Cold => "cold:".to_owned(),
    };
    for (name, micros) in run.phases.iter().flat_map(sonagi_api::Phases::named) {
        text.push_str(&format!(" {name} {} ·", output::milliseconds(micros)));
    }
    text.push_str(&format!(
        " run {}; billed {} ms; memory {} of {} MiB; {}",
        output::milliseconds(run.duration_us),
        run.billed_ms,
        run.memory_peak_mib,
        run.memory_mib,
        run.status.words(),
    ));
    text.push_str(
        &run.error_kind
            .as_ref()
            .map(|kind| format!(" ({kind})"))
            .unwrap_or_default(),
    );
    text
}
