//! What `sonagi dev` tells: one line for people, or one JSON document a line for programs.

use serde::Serialize;
use serde_json::Value;
use sonagi_api::{Deployed, LogLine, Run};

use crate::command::{invoke, logs};
use crate::context::Format;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Something happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The platform is there.
    Up {
        /// Its address.
        endpoint: &'a str,
        /// Its state directory, if it is this command's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<String>,
    },
    /// A save is live.
    Live {
        #[serde(flatten)]
        deployed: &'a Deployed,
        runtime: &'a str,
        handler: &'a str,
        /// From the end of the save until calls run it, milliseconds.
        took_ms: f64,
    },
    /// A save that changes nothing of the code.
    Same,
    /// A save cannot become live; what was live before still is.
    Broken {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
    },
    /// A line of the function's log.
    Log(&'a LogLine),
    /// A call is over.
    Call(&'a Run),
    /// The answer to the event that is sent after each save.
    Answer { failed: bool, answer: Value },
}

/// Tells it.
pub(super) fn say(format: Format, event: &Event<'_>) -> Result {
    if format == Format::Json {
        let text = serde_json::to_string(event)
            .map_err(|error| Failure::caused(Exit::Failure, "an event cannot be written as JSON", &error))?;
        return output::line(&text);
    }
    match event {
        Event::Up { endpoint, .. } => output::note(&format!("platform  {endpoint}")),
        Event::Live {
            deployed,
            runtime,
            handler,
            took_ms,
        } => {
            let what = if deployed.created { "live" } else { "live again" };
            output::note(&format!(
                "{what}: {} ({runtime}, handler {handler}) after {took_ms:.0} ms",
                deployed.name
            ));
        }
        Event::Same => output::note("saved, nothing of the code has changed"),
        Event::Broken { message, hint } => {
            output::note(&format!("{} {message}", output::paint(output::Paint::Red, "broken:")));
            if let Some(hint) = hint {
                output::note(&format!("{} {hint}", output::paint(output::Paint::Cyan, "hint:")));
            }
        }
        Event::Log(line) => return output::line(&logs::text(line)),
        Event::Call(run) => output::note(&invoke::summary(run)),
        Event::Answer { answer, .. } => return output::line(&answer.to_string()),
    }
    Ok(())
}
