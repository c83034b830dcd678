//! `sonagi compat`: what of each provider works here.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Written by `cargo xtask compat` from the conformance cases.
const DATA: &str = include_str!("../../compatibility.json");

/// Show what of each provider works here, what differs and what is missing
///
/// The table is that of this program's version; it was made from tests that drive the providers' own clients.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi compat                          how much of each provider
  sonagi compat openwhisk                every operation and rule of one
  sonagi compat openwhisk --only differs,missing
  sonagi compat --output json")]
pub struct Compat {
    /// The provider
    provider: Option<String>,

    /// Only what passes, differs or is missing
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_enum)]
    only: Vec<State>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Table {
    providers: Vec<Provider>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Provider {
    name: String,
    title: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    area: String,
    rule: String,
    state: State,
    note: String,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As the provider's own clients want it
    Passes,
    /// Otherwise than at the provider
    Differs,
    /// Not at all
    Missing,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Differs => "differs",
            Self::Missing => "missing",
        }
    }
}

impl Compat {
    /// Does it.
    pub fn run(self, global: &Global) -> Result {
        let mut table: Table = serde_json::from_str(DATA)
            .map_err(|error| Failure::caused(Exit::Failure, "the table of this program cannot be read", &error))?;
        if let Some(wanted) = &self.provider {
            let names: Vec<String> = table.providers.iter().map(|provider| provider.name.clone()).collect();
            table.providers.retain(|provider| provider.name == *wanted);
            if table.providers.is_empty() {
                return Err(Failure::new(Exit::NotFound, format!("there is no provider {wanted:?}"))
                    .hint(format!("the table has: {}", names.join(", "))));
            }
        }
        if !self.only.is_empty() {
            for provider in &mut table.providers {
                provider.rows.retain(|row| self.only.contains(&row.state));
            }
        }
        let whole = self.provider.is_some() || !self.only.is_empty();
        global
            .format()
            .print(&table, || if whole { rows(&table) } else { counts(&table) })?;
        if !whole {
            output::next("sonagi compat PROVIDER --only differs,missing");
        }
        Ok(())
    }
}

fn counts(table: &Table) -> String {
    output::table(
        ["PROVIDER", "PASSES", "DIFFERS", "MISSING", ""],
        table.providers.iter().map(|provider| {
            let count = |state| {
                provider
                    .rows
                    .iter()
                    .filter(|row| row.state == state)
                    .count()
                    .to_string()
            };
            [
                provider.name.clone(),
                count(State::Passes),
                count(State::Differs),
                count(State::Missing),
                provider.title.clone(),
            ]
        }),
    )
}

fn rows(table: &Table) -> String {
    let all = table
        .providers
        .iter()
        .flat_map(|provider| provider.rows.iter().map(move |row| (provider, row)));
    output::table(
        ["PROVIDER", "STATE", "RULE", "NOTE"],
        all.map(|(provider, row)| {
            let note = match row.state {
                State::Passes => format!("conformance {}", row.note),
                State::Differs | State::Missing => row.note.clone(),
            };
            [
                provider.name.clone(),
                row.state.name().to_owned(),
                row.rule.clone(),
                note,
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_program_is_read() {
        let table: Table = serde_json::from_str(DATA).unwrap();
        assert!(table.providers.len() >= 2);
        let text = counts(&table);
        assert!(
            text.contains("AWS Lambda") && text.contains("Apache OpenWhisk"),
            "{text}"
        );
        assert_eq!(
            rows(&table).lines().count(),
            1 + table
                .providers
                .iter()
                .map(|provider| provider.rows.len())
                .sum::<usize>()
        );
    }
}
