//! `sonagi invoke`: calls a function.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use sonagi_api::{Invoked, Run, Start};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::watch;
use crate::{output, values};

use super::deploy::shell;

/// The largest event that is read from a file or from standard input, bytes: the platform's own limit.
const EVENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Call a function; its answer goes to standard output, where the time went to standard error
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi invoke hello '{\"name\":\"you\"}'
  sonagi invoke hello @event.json          the event is in a file
  generate | sonagi invoke hello -         the event comes from standard input
  sonagi invoke hello --file event.json    the same
  sonagi invoke hello --qualifier prod     a version or an alias; `hello:prod` is the same
  sonagi invoke hello --async '{}'         accept the event durably, run it later
  sonagi invoke hello --tail               show the end of its log, too

Exit code 5: the function ran and failed.")]
pub struct Invoke {
    /// The function
    function: String,

    /// The event: text, @FILE, or - for standard input
    #[arg(default_value = "{}", hide_default_value = true, allow_hyphen_values = true)]
    event: String,

    /// Read the event from this file
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    file: Option<PathBuf>,

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
        let (function, qualifier) = values::qualified(self.function, self.qualifier)?;
        let event = match (&self.file, &*self.event) {
            (Some(path), _) => read(path)?,
            (None, text) => event(&function, text)?,
        };
        let (client, scope) = (global.client()?, global.scope());
        if self.later {
            let accepted = client.send(&scope, &function, qualifier.as_deref(), event).await?;
            global.format().print(&accepted, || accepted.invocation.clone())?;
            output::next(&format!("sonagi runs {}", accepted.invocation));
            return Ok(());
        }
        let call = client.invoke(&scope, &function, qualifier.as_deref(), event);
        let invoked = watch("waiting for the answer", call).await?;
        print(&invoked, global.format())?;
        if self.tail {
            output::note(String::from_utf8_lossy(&invoked.log_tail).trim_end());
        }
        output::note(&summary(&invoked.run));
        if invoked.failed {
            output::next(&format!(
                "sonagi logs {} --run {}",
                shell(&function),
                invoked.invocation
            ));
            return Err(Failure::silent(Exit::FunctionFailed));
        }
        Ok(())
    }
}

/// The event that was written on the command line of this function.
pub(super) fn event(function: &str, text: &str) -> Result<Bytes> {
    if text == "-" {
        return bounded(std::io::stdin().lock(), "standard input");
    }
    if let Some(path) = text.strip_prefix('@') {
        return read(Path::new(path));
    }
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !is_json() && Path::new(text).is_file() {
        return Err(
            Failure::usage(format!("{text:?} is not JSON, but the name of a file")).hint(format!(
                "`sonagi invoke {} {}` sends what is in it",
                shell(function),
                shell(&format!("@{text}"))
            )),
        );
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn read(path: &Path) -> Result<Bytes> {
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::caused(Exit::Usage, format!("{} cannot be read", path.display()), &error))?;
    bounded(file, &path.display().to_string())
}

fn bounded(from: impl std::io::Read, what: &str) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let read = from.take(EVENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::caused(Exit::Usage, format!("{what} cannot be read"), &error))?;
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
pub(super) fn summary(run: &Run) -> String {
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
