//! `sonagi events`: accepted events, and the life of one.

use clap::Args;
use sonagi_api::{Event, EventLife, EventsFilter, Run};

use crate::context::{Format, Global};
use crate::failure::Result;
use crate::output;

/// List accepted events, show the life of one, or end one early
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi events                     the last 50 events
  sonagi events hello               of one function
  sonagi events evt_0191e8a0000070008000000000000001
  sonagi events 0191e8a0-0000-7000-8000-00000000000a     by its invocation
  sonagi events evt_0191e8a0000070008000000000000001 --cancel
  sonagi events --totals            accepted = pending + ended, over all time")]
pub struct Events {
    /// A function, or the id of an event or of its invocation
    #[arg(value_name = "FUNCTION|EVENT")]
    what: Option<String>,

    /// Only the content of the event, as it was accepted
    #[arg(long, conflicts_with_all = ["cancel", "totals"])]
    content: bool,

    /// End the event: at once if it waits, after the attempt under way otherwise
    #[arg(long, conflicts_with = "totals")]
    cancel: bool,

    /// Sums over all events
    #[arg(long, conflicts_with = "what")]
    totals: bool,

    /// Older than this event only
    #[arg(long, value_name = "EVENT")]
    before: Option<String>,

    /// At most so many, newest first
    #[arg(long, value_name = "EVENTS", default_value_t = 50)]
    limit: usize,
}

impl Events {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        if self.totals {
            return totals(global).await;
        }
        if let Some(id) = self.what.as_deref().filter(|what| is_event(what)) {
            return self.one(global, id).await;
        }
        let filter = EventsFilter {
            function: self.what,
            before: self.before,
            limit: Some(self.limit),
        };
        let events = global.client()?.events(&global.scope(), &filter).await?;
        global.format().print(&events, || table(&events.events))?;
        if let Some(event) = events.events.first() {
            output::next(&format!("sonagi events {}", event.id));
        }
        Ok(())
    }

    async fn one(&self, global: &Global, id: &str) -> Result {
        let client = global.client()?;
        if self.content {
            return output::data(&client.event_content(id).await?);
        }
        if self.cancel {
            let cancelled = client.cancel_event(id).await?;
            return match global.format() {
                Format::Json => output::json(&cancelled),
                Format::Text if cancelled.over => output::line(&format!("cancelled {}", cancelled.id)),
                Format::Text => output::line(&format!("{} ends with the attempt under way", cancelled.id)),
            };
        }
        let life = client.event(id).await?;
        global.format().print(&life, || text(&life))?;
        if life.event.dead {
            output::next(&format!("sonagi dlq redrive {}", life.event.id));
        } else if life.event.kept && life.event.ended.is_some() {
            output::next(&format!("sonagi replay {}", life.event.id));
        }
        Ok(())
    }
}

async fn totals(global: &Global) -> Result {
    let totals = global.client()?.event_totals().await?;
    global.format().print(&totals, || {
        let mut pairs = vec![
            ("accepted", totals.accepted.to_string()),
            ("pending", totals.pending.to_string()),
        ];
        pairs.extend(
            totals
                .ended
                .iter()
                .map(|(status, number)| (status.as_str(), number.to_string())),
        );
        pairs.push(("dead letters", totals.letters.to_string()));
        pairs.push(("missing", totals.missing.to_string()));
        output::pairs(&pairs)
    })
}

/// Whether a word is the id of an event, or of an invocation: a UUID with hyphens.
pub fn is_event(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_uuid = lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    let prefixed = text.strip_prefix("evt_");
    is_uuid || prefixed.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Events as people read them.
pub fn table(events: &[Event]) -> String {
    let rows = events.iter().map(|event| {
        [
            event.accepted.clone(),
            event.id.clone(),
            event.name.clone(),
            event.attempts.to_string(),
            format!("{} B", event.bytes),
            event.state.replace('_', " "),
        ]
    });
    output::table(["ACCEPTED", "EVENT", "FOR", "ATTEMPTS", "SIZE", "STATE"], rows)
}

/// The life of one event.
pub fn text(life: &EventLife) -> String {
    let event = &life.event;
    let mut pairs = vec![
        ("event", event.id.clone()),
        ("invocation", event.invocation.clone()),
        ("for", event.name.clone()),
    ];
    let optional = [
        ("kind", &event.destination),
        ("made by", &event.origin),
        ("due", &event.due),
        ("ended", &event.ended),
    ];
    pairs.push(("accepted", event.accepted.clone()));
    pairs.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    pairs.push(("state", event.state.replace('_', " ")));
    if !event.reason.is_empty() {
        pairs.push(("reason", event.reason.clone()));
    }
    let content = if event.kept { "stored" } else { "not stored any more" };
    pairs.push(("content", format!("{} B, {content}", event.bytes)));
    let mut parts = vec![output::pairs(&pairs)];
    if !life.attempts.is_empty() {
        parts.push(attempts(&life.attempts));
    }
    if !life.sent.is_empty() {
        parts.push(format!("sent\n{}", table(&life.sent)));
    }
    parts.join("\n\n")
}

fn attempts(runs: &[Run]) -> String {
    let rows = runs.iter().map(|run| {
        [
            run.attempt.to_string(),
            run.started.clone(),
            output::milliseconds(run.duration_us),
            run.status.words().to_owned(),
        ]
    });
    output::table(["ATTEMPT", "STARTED", "RUN", "STATUS"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_told_apart() {
        for id in [
            "evt_0191e8a0000070008000000000000001",
            "0191e8a0-0000-7000-8000-00000000000a",
        ] {
            assert!(is_event(id), "{id}");
        }
        for name in [
            "hello",
            "evt_hello",
            "evt_0191e8a000007000800000000000000g",
            "a-b-c-d-e",
        ] {
            assert!(!is_event(name), "{name}");
        }
    }
}
