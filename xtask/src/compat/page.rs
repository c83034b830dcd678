//! The table as a page.

use super::{Provider, Row, State, Table};

/// The text of the page.
pub fn render(table: &Table) -> String {
    let mut page = "# Compatibility\n\n\
        What of each provider works here. Written by `cargo xtask compat` from the conformance cases, which drive the\n\
        providers' own clients unmodified, and from what is known to differ; `sonagi compat` shows the same. Each line that\n\
        passes names the case below `tests/conformance/cases/` that holds it.\n"
        .to_owned();
    for provider in &table.providers {
        section(&mut page, provider);
    }
    page
}

fn section(page: &mut String, provider: &Provider) {
    let count = |state| provider.rows.iter().filter(|row| row.state == state).count();
    page.push_str(&format!(
        "\n## {}\n\n{} pass, {} differ, {} missing.\n",
        provider.title,
        count(State::Passes),
        count(State::Differs),
        count(State::Missing)
    ));
    for (state, heading, columns) in [
        (State::Passes, "Passes", ("operation or rule", "case")),
        (State::Differs, "Differs", ("operation or rule", "here")),
        (State::Missing, "Missing", ("operation or rule", "why")),
    ] {
        let rows: Vec<&Row> = provider.rows.iter().filter(|row| row.state == state).collect();
        if rows.is_empty() {
            continue;
        }
        page.push_str(&format!(
            "\n### {}: {heading}\n\n| area | {} | {} |\n| --- | --- | --- |\n",
            provider.title, columns.0, columns.1
        ));
        for row in rows {
            let note = if state == State::Passes {
                format!("`{}`", row.note)
            } else {
                cell(&row.note)
            };
            page.push_str(&format!("| {} | {} | {note} |\n", cell(&row.area), cell(&row.rule)));
        }
    }
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
