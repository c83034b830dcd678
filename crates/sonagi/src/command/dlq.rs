//! `sonagi dlq`: events that did not do what they were sent for.

use clap::{Args, Subcommand};
use sonagi_api::{Client, Event, EventsFilter, Scope};

use super::events;
use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Letters that are asked for at once.
const PAGE: usize = 1000;

/// List, show, redrive and drop dead letters
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi dlq ls                     the newest 50
  sonagi dlq ls hello               of one function
  sonagi dlq show evt_0191e8a0000070008000000000000001
  sonagi dlq redrive evt_0191e8a0000070008000000000000001
  sonagi dlq redrive --all --function hello
  sonagi dlq drop evt_0191e8a0000070008000000000000001")]
pub struct Dlq {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List dead letters, newest first
    Ls {
        /// Of this function only
        function: Option<String>,

        /// Older than this one only
        #[arg(long, value_name = "EVENT")]
        before: Option<String>,

        /// At most so many
        #[arg(long, value_name = "EVENTS", default_value_t = 50)]
        limit: usize,
    },
    /// Show why a letter is dead, and its content
    Show {
        /// The letter
        event: String,
    },
    /// Accept letters once more, as new events
    Redrive(Which),
    /// Throw letters away
    Drop(Which),
}

/// Which letters.
#[derive(Debug, Args)]
struct Which {
    /// The letters
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "EVENT")]
    events: Vec<String>,

    /// All letters that are there now
    #[arg(long)]
    all: bool,

    /// With --all: of this function only
    #[arg(long, requires = "all", value_name = "FUNCTION")]
    function: Option<String>,
}

impl Dlq {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let (client, scope) = (global.client()?, global.scope());
        match self.action {
            Action::Ls {
                function,
                before,
                limit,
            } => {
                let filter = EventsFilter {
                    function,
                    before,
                    limit: Some(limit),
                };
                let letters = client.letters(&scope, &filter).await?;
                global.format().print(&letters, || table(&letters.events))?;
                if let Some(letter) = letters.events.first() {
                    output::next(&format!("sonagi dlq show {}", letter.id));
                }
                Ok(())
            }
            Action::Show { event } => show(global, &client, &event).await,
            Action::Redrive(which) => {
                for id in which.ids(&client, &scope).await? {
                    let repeated = client.redrive(&id).await?;
                    global
                        .format()
                        .print(&repeated, || format!("{} again as {}", repeated.origin, repeated.id))?;
                }
                output::next("sonagi events");
                Ok(())
            }
            Action::Drop(which) => {
                let ids = which.ids(&client, &scope).await?;
                for id in &ids {
                    client.drop_letter(id).await?;
                }
                match global.format() {
                    Format::Text => output::line(&format!("dropped {}", ids.len())),
                    Format::Json => output::json(&serde_json::json!({ "dropped": ids })),
                }
            }
        }
    }
}

impl Which {
    async fn ids(self, client: &Client, scope: &Scope) -> Result<Vec<String>> {
        if !self.all {
            return Ok(self.events);
        }
        let mut ids: Vec<String> = Vec::new();
        loop {
            let filter = EventsFilter {
                function: self.function.clone(),
                before: ids.last().cloned(),
                limit: Some(PAGE),
            };
            let page = client.letters(scope, &filter).await?.events;
            let whole = page.len() < PAGE;
            ids.extend(page.into_iter().map(|letter| letter.id));
            if whole {
                return Ok(ids);
            }
        }
    }
}

async fn show(global: &Global, client: &Client, event: &str) -> Result {
    let life = client.event(event).await?;
    if !life.event.dead {
        let text = format!("event {} is no dead letter: {}", life.event.id, life.event.state);
        return Err(Failure::new(Exit::NotFound, text).hint("`sonagi dlq ls` lists dead letters"));
    }
    let content = client.event_content(event).await?;
    global.format().print(&life, || {
        format!("{}\n\n{}", events::text(&life), String::from_utf8_lossy(&content))
    })?;
    output::next(&format!("sonagi dlq redrive {}", life.event.id));
    Ok(())
}

fn table(letters: &[Event]) -> String {
    let rows = letters.iter().map(|letter| {
        let reason: String = letter.reason.chars().filter(|c| !c.is_control()).take(60).collect();
        [
            letter.ended.clone().unwrap_or_default(),
            letter.id.clone(),
            letter.name.clone(),
            letter.attempts.to_string(),
            letter.state.replace('_', " "),
            reason,
        ]
    });
    output::table(["ENDED", "EVENT", "FOR", "ATTEMPTS", "STATE", "REASON"], rows)
}
