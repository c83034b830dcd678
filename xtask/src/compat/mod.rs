//! `cargo xtask compat`: what of each provider works here, from what the conformance cases declare and how they ended, and
//! from what is known to differ or to be missing.
//!
//! Three files: `tests/conformance/differences.toml` is written by people; `crates/sonagi/compatibility.json` (shown by
//! `sonagi compat`) and `docs/compatibility.md` are written by this command, and a test says when they are old.

mod cases;
mod page;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::checkout::Checkout;
use crate::{setup, shell};

/// Written by people.
const DIFFERENCES: &str = "tests/conformance/differences.toml";
/// Written by this command.
const DATA: &str = "crates/sonagi/compatibility.json";
/// Written by this command.
const PAGE: &str = "docs/compatibility.md";
/// Below the target directory: what the cases printed when they ran last.
const RESULTS: &str = "target/conformance";

/// The whole table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// In the order in which they are shown.
    pub providers: Vec<Provider>,
}

/// One provider.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its short name.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it offers.
    pub rows: Vec<Row>,
}

/// An operation, or a rule that it follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub area: String,
    /// The operation or rule.
    pub rule: String,
    /// Whether it works.
    pub state: State,
    /// What differs or why it is missing; for what passes: the case that says so.
    pub note: String,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As the provider's own clients want it.
    Passes,
    /// Otherwise than at the provider.
    Differs,
    /// Not at all.
    Missing,
}

/// The file written by people.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Differences {
    provider: Vec<Known>,
}

/// What is known of a provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    title: String,
    /// What names of its cases begin with; the one without gets all others.
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    differs: Vec<Entry>,
    #[serde(default)]
    missing: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    area: String,
    rule: String,
    why: String,
}

/// Runs the conformance cases and writes the table from their ends; `declared`: trusts that what the cases declare passes,
/// which the tests hold.
///
/// # Errors
/// A case failed or has no result, or a file cannot be read or written.
pub fn run(checkout: &Checkout, declared: bool) -> Result<()> {
    let table = table(checkout)?;
    if !declared {
        setup::run(checkout)?;
        shell::run(
            Command::new("cargo")
                .current_dir(checkout.root())
                .args(["build", "--locked", "-p", "sonagi"]),
        )?;
        shell::run(
            Command::new("cargo")
                .current_dir(checkout.root())
                .args(["test", "--locked", "-p", "sonagi-conformance", "--test", "it"])
                .env("SONAGI_BIN", checkout.path("target/debug/sonagi"))
                .env("SONAGI_CONFORMANCE_RESULTS", checkout.path(RESULTS)),
        )?;
        verify(checkout, &table)?;
    }
    fs::write(checkout.path(DATA), data(&table)?).with_context(|| format!("cannot write {DATA}"))?;
    fs::write(checkout.path(PAGE), page::render(&table)).with_context(|| format!("cannot write {PAGE}"))?;
    println!("compat: wrote {DATA} and {PAGE}");
    Ok(())
}

fn data(table: &Table) -> Result<String> {
    Ok(serde_json::to_string_pretty(table)? + "\n")
}

/// What the cases declare, and what people know.
fn table(checkout: &Checkout) -> Result<Table> {
    let text = fs::read_to_string(checkout.path(DIFFERENCES)).with_context(|| format!("cannot read {DIFFERENCES}"))?;
    let known: Differences = toml::from_str(&text).with_context(|| format!("cannot read {DIFFERENCES}"))?;
    let mut declared: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for case in cases::all(checkout)? {
        let at = owner(&known.provider, &case.name).with_context(|| format!("case {} is nobody's", case.name))?;
        declared.entry(at).or_default().extend(case.rows());
    }
    let providers = known.provider.into_iter().enumerate().filter_map(|(at, known)| {
        // One without any case is not here (yet).
        let mut rows = declared.remove(&at)?;
        for (state, entries) in [(State::Differs, known.differs), (State::Missing, known.missing)] {
            rows.extend(entries.into_iter().map(|entry| Row {
                area: entry.area,
                rule: entry.rule,
                state,
                note: entry.why,
            }));
        }
        Some(Provider {
            name: known.name,
            title: known.title,
            rows,
        })
    });
    Ok(Table {
        providers: providers.collect(),
    })
}

/// The provider whose case this is: the one with the longest prefix.
fn owner(providers: &[Known], case: &str) -> Option<usize> {
    let fitting = providers
        .iter()
        .enumerate()
        .filter(|(_, provider)| case.starts_with(&provider.prefix));
    fitting
        .max_by_key(|(_, provider)| provider.prefix.len())
        .map(|(at, _)| at)
}

/// Every rule that passes has been seen to pass.
fn verify(checkout: &Checkout, table: &Table) -> Result<()> {
    let mut unseen = Vec::new();
    for row in table.providers.iter().flat_map(|provider| &provider.rows) {
        if row.state == State::Passes && !cases::passed(checkout, RESULTS, &row.note, &row.rule)? {
            unseen.push(format!("{}: {}", row.note, row.rule));
        }
    }
    if !unseen.is_empty() {
        bail!("declared, but not seen to pass:\n  {}", unseen.join("\n  "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_cases_declare() {
        let checkout = Checkout::locate();
        let table = table(&checkout).unwrap();
        for (file, expected) in [(DATA, data(&table).unwrap()), (PAGE, page::render(&table))] {
            let found = fs::read_to_string(checkout.path(file)).unwrap_or_default();
            assert!(
                found == expected,
                "{file} is old: `cargo xtask compat` writes it anew (`--declared` without running the cases)"
            );
        }
    }
}
