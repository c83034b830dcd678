//! Printing: data to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Writes bytes to standard output. When its reader has gone away there is nothing left to do: the command ends quietly.
pub fn data(bytes: &[u8]) -> Result {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::silent(Exit::Success)
        } else {
            Failure::caused(Exit::Failure, "standard output cannot be written", &error)
        }
    })
}

/// Writes a line to standard output.
pub fn line(text: &str) -> Result {
    data(format!("{text}\n").as_bytes())
}

/// Writes a document to standard output, indented.
pub fn json<T: Serialize>(document: &T) -> Result {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::caused(Exit::Failure, "the answer cannot be written as JSON", &error))?;
    line(&text)
}

/// Writes a line to standard error. A reader that went away is nobody's loss.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what one would do next.
pub fn next(text: &str) {
    note(&format!("{} {text}", paint(Paint::Dim, "next:")));
}

/// How a word stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Something is wrong.
    Red,
    /// Something can be done.
    Cyan,
    /// Less important.
    Dim,
}

/// Colors a word for standard error, if that is a terminal and nobody asked for no color.
pub fn paint(paint: Paint, word: &str) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !wanted || !io::stderr().is_terminal() {
        return word.to_owned();
    }
    let code = match paint {
        Paint::Red => 31,
        Paint::Cyan => 36,
        Paint::Dim => 2,
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}

/// A table for people: columns as wide as their widest cell, two spaces apart, no lines.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let joined = lines.iter().map(|line| {
        let padded: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    });
    joined.collect::<Vec<_>>().join("\n")
}

/// Names and values, one pair a line, values in one column.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Prints a failure the way the user asked for output.
pub fn failure(failure: &Failure, format: crate::context::Format) {
    if failure.message.is_empty() {
        return;
    }
    match format {
        crate::context::Format::Text => {
            note(&format!("{} {}", paint(Paint::Red, "error:"), failure.message));
            if let Some(hint) = &failure.hint {
                note(&format!("{} {hint}", paint(Paint::Cyan, "hint:")));
            }
        }
        crate::context::Format::Json => {
            let document = serde_json::json!({
                "error": { "exit": failure.exit as u8, "message": failure.message, "hint": failure.hint }
            });
            note(&document.to_string());
        }
    }
}

/// Microseconds as milliseconds for people.
pub fn milliseconds(micros: u64) -> String {
    let millis = micros as f64 / 1000.0;
    if millis >= 100.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.2} ms")
    }
}

/// Bytes for people.
pub fn bytes(bytes: u64) -> String {
    let kibibytes = bytes as f64 / 1024.0;
    if bytes < 1024 {
        format!("{bytes} B")
    } else if kibibytes < 1024.0 {
        format!("{kibibytes:.1} KiB")
    } else {
        format!("{:.1} MiB", kibibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_readable() {
        assert_eq!(
            [0, 950, 12_345, 1_234_567].map(milliseconds),
            ["0.00 ms", "0.95 ms", "12.35 ms", "1235 ms"]
        );
        assert_eq!(
            [0, 1023, 1536, 5 << 20].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]
        );
    }

    #[test]
    fn tables_have_straight_columns() {
        let text = table(
            ["A", "LONG"],
            [["xyz".to_owned(), "1".to_owned()], ["x".to_owned(), String::new()]],
        );
        assert_eq!(text, "A    LONG\nxyz  1\nx");
        assert_eq!(
            pairs(&[("a", "1".to_owned()), ("long", "2".to_owned())]),
            "a     1\nlong  2"
        );
    }
}
