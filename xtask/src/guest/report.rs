//! What a guest says on its console. Pure.

use std::fmt;

/// Before the output of a program.
pub const BEGIN: &str = "guest-begin";
/// After it, with the name and the exit status.
pub const END: &str = "guest-end";

/// How one program ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Result {
    name: String,
    status: i32,
    /// What it says of its tests.
    summary: String,
}

impl Result {
    /// Whether all its tests passed.
    pub fn is_good(&self) -> bool {
        self.status == 0
    }
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (status {})", self.name, self.summary, self.status)
    }
}

/// Reads the console line by line.
#[derive(Debug, Default)]
pub struct Reading {
    /// Programs that have ended, in order.
    pub results: Vec<Result>,
    summary: String,
}

impl Reading {
    /// Takes one line.
    pub fn take(&mut self, line: &str) {
        if let Some((_, summary)) = line.split_once("test result: ") {
            // Colors of a terminal.
            summary
                .replace("\u{1b}[32m", "")
                .replace("\u{1b}[m", "")
                .clone_into(&mut self.summary);
        } else if line.starts_with(BEGIN) {
            self.summary.clear();
        } else if let Some(rest) = line.strip_prefix(END) {
            let mut words = rest.split_whitespace();
            let (name, status) = (words.next(), words.next().and_then(|word| word.parse().ok()));
            if let (Some(name), Some(status)) = (name, status) {
                self.results.push(Result {
                    name: name.to_owned(),
                    status,
                    summary: std::mem::take(&mut self.summary),
                });
            }
        }
    }
}

/// The program that cargo has built, by its messages.
pub fn executable(messages: &str) -> Option<String> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_read() {
        let mut reading = Reading::default();
        for line in [
            "[    3.5] noise",
            "guest-begin it",
            "test result: \u{1b}[32mok\u{1b}[m. 17 passed; 0 failed",
            "guest-end it 0",
            "guest-begin sandbox",
            "guest-end sandbox 101",
            "guest-end",
        ] {
            reading.take(line);
        }
        let shown: Vec<String> = reading.results.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["it: ok. 17 passed; 0 failed (status 0)", "sandbox:  (status 101)"]
        );
        assert_eq!(
            reading.results.iter().map(Result::is_good).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn the_program_that_was_built_last_is_found() {
        let messages = "{\"executable\":null}\nnoise\n{\"executable\":\"/a\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(messages).as_deref(), Some("/a"));
        assert_eq!(executable(""), None);
    }
}
