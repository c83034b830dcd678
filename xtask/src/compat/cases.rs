//! What the conformance cases declare, read from their scripts, and what they printed.

use std::fs;

use anyhow::{Context, Result};

use super::{Row, State};
use crate::checkout::Checkout;

/// Where the cases are.
const FOLDER: &str = "tests/conformance/cases";

/// One case.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// Its folder.
    pub name: String,
    title: String,
    parts: Vec<String>,
}

impl Case {
    /// Its rows of the table.
    pub fn rows(self) -> impl Iterator<Item = Row> {
        let Self { name, title, parts } = self;
        parts.into_iter().map(move |rule| Row {
            area: title.clone(),
            rule,
            state: State::Passes,
            note: name.clone(),
        })
    }
}

/// Every case, by name.
///
/// # Errors
/// A folder or script cannot be read, or declares nothing.
pub fn all(checkout: &Checkout) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(checkout.path(FOLDER)).context("cannot read the folder of cases")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let folder = checkout.path(&format!("{FOLDER}/{name}"));
        let scripts = ["py", "cjs", "sh"].map(|end| (end, folder.join(format!("case.{end}"))));
        let (kind, path) = scripts
            .into_iter()
            .find(|(_, path)| path.is_file())
            .with_context(|| format!("{name} has no script"))?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let case = Case {
            title: title(kind, &text),
            parts: parts(kind, &text),
            name,
        };
        anyhow::ensure!(!case.parts.is_empty(), "{} declares nothing", path.display());
        cases.push(case);
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// The first sentence of a script, without its end and what is in brackets.
fn title(kind: &str, text: &str) -> String {
    let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
    let first = match kind {
        "py" => first.trim_matches('"'),
        "cjs" => first.trim_start_matches("//"),
        _ => first.trim_start_matches('#'),
    };
    let first = first.split([':', '(']).next().unwrap_or_default();
    first.trim().trim_end_matches('.').to_owned()
}

/// The names of its parts, as it prints them when they pass.
fn parts(kind: &str, text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines() {
        let part = match kind {
            "py" => line
                .strip_prefix("def test_")
                .and_then(|rest| rest.split('(').next())
                .map(|name| name.replace('_', " ")),
            "cjs" => line
                .strip_prefix("  async ")
                .and_then(|rest| quoted(rest))
                .filter(|(_, rest)| rest.starts_with('('))
                .map(|(name, _)| name),
            _ => line.strip_prefix("same ").and_then(|rest| match quoted(rest) {
                Some((name, _)) => Some(name),
                None => rest.split(' ').next().map(str::to_owned),
            }),
        };
        if let Some(part) = part.filter(|part| !parts.contains(part)) {
            parts.push(part);
        }
    }
    parts
}

/// A quoted text at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some((name, &text[at + 1..]));
        }
        escaped = c == '\\' && !escaped;
        if !escaped {
            name.push(c);
        }
    }
    None
}

/// Whether a part of a case was printed as passed.
///
/// # Errors
/// The case has left no result.
pub fn passed(checkout: &Checkout, results: &str, case: &str, part: &str) -> Result<bool> {
    let path = checkout.path(&format!("{results}/{case}.txt"));
    let text = fs::read_to_string(&path).with_context(|| format!("case {case} left no result"))?;
    Ok(text.lines().filter_map(printed).any(|found| found == part))
}

/// The part of which a line says that it passed.
fn printed(line: &str) -> Option<String> {
    let rest = line.strip_prefix("ok ")?.trim_start();
    let name = match (rest.strip_prefix("test_"), rest.rsplit_once(" (")) {
        (Some(_), Some((name, _))) => name.strip_prefix("test_")?.replace('_', " "),
        (Some(name), None) => name.replace('_', " "),
        (None, _) => rest.to_owned(),
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_from_every_kind_of_script() {
        let python = "\"\"\"Policies and tags (contract 3).\"\"\"\n\ndef test_a_b():\n    pass\n\ndef other():\n";
        assert_eq!(parts("py", python), ["a b"]);
        assert_eq!(title("py", python), "Policies and tags");
        let script = "// Rules.\n'use strict';\ncases({\n  async 'one\\'s own'() {\n  },\n  async \"two\"() {\n    async 'no'() {\n";
        assert_eq!(parts("cjs", script), ["one's own", "two"]);
        assert_eq!(title("cjs", script), "Rules");
        let shell =
            "#!/bin/bash\n# The line.\nsame() { x; }\nsame invoke \"$a\" 2\nsame 'two words' b c\nsame invoke x y\n";
        assert_eq!(parts("sh", shell), ["invoke", "two words"]);
        assert_eq!(title("sh", shell), "The line");
        assert_eq!(title("cjs", "// Routes: a, b."), "Routes");
    }

    #[test]
    fn results_are_read_from_every_kind_of_line() {
        for (line, expected) in [
            ("ok     test_a_b (0.12 s)", Some("a b")),
            ("ok node echoes (really)", Some("node echoes (really)")),
            ("ok     invoke", Some("invoke")),
            ("FAILED x", None),
            ("3 of 3 ok", None),
        ] {
            assert_eq!(printed(line).as_deref(), expected, "{line}");
        }
    }
}
