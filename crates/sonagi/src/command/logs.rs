//! `sonagi logs`: what a function printed.

use clap::Args;
use sonagi_api::{LogFilter, LogLine, LogSource};

use crate::context::{Format, Global};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Show what a function printed, and the platform's words about it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi logs hello                 the last 100 lines
  sonagi logs hello -f              go on as lines come
  sonagi logs hello --since 15m     an age, a date (2026-11-01) or RFC 3339
  sonagi logs hello --run ID        one invocation
  sonagi logs hello --output json   one JSON document per line")]
pub struct Logs {
    /// The function
    function: String,

    /// Go on as lines come
    #[arg(short, long)]
    follow: bool,

    /// Not before this moment
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,

    /// The last so many lines, at most 10000
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    limit: usize,

    /// Of this invocation only
    #[arg(long, value_name = "ID")]
    run: Option<String>,
}

impl Logs {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let filter = LogFilter {
            since: self.since,
            limit: Some(self.limit),
            invocation: self.run,
            follow: self.follow,
        };
        let mut lines = global.client()?.logs(&global.scope(), &self.function, &filter).await?;
        let mut seen = false;
        while let Some(line) = lines.next().await? {
            seen = true;
            match global.format() {
                Format::Text => output::line(&text(&line))?,
                Format::Json => output::line(&json(&line)?)?,
            }
        }
        if !seen {
            output::note("no lines");
        }
        Ok(())
    }
}

fn json(line: &LogLine) -> Result<String> {
    serde_json::to_string(line).map_err(|error| Failure::caused(Exit::Failure, "a line cannot be written", &error))
}

/// A line for people.
pub(super) fn text(line: &LogLine) -> String {
    // Milliseconds are enough for people; the rest is in the JSON form.
    let time = match line.time.split_once('.') {
        Some((seconds, rest)) => format!("{seconds}.{:0<3.3}Z", rest.trim_end_matches('Z')),
        None => line.time.replace('Z', ".000Z"),
    };
    let invocation: String = match &line.invocation {
        // The end of an id: ids that are made one after the other begin alike.
        Some(id) => id.chars().skip(id.len().saturating_sub(8)).collect(),
        None => "-".repeat(8),
    };
    let mark = match line.source {
        LogSource::Function => ' ',
        LogSource::Platform => '*',
    };
    // A function's output must not steer the terminal that shows it.
    let clean: String = line.text.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let cut = if line.truncated { " [cut]" } else { "" };
    format!("{time} {invocation} {mark} {clean}{cut}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_harmless() {
        let line = |time: &str, text: &str| LogLine {
            time: time.to_owned(),
            version: "1".to_owned(),
            instance: "ins_1".to_owned(),
            invocation: Some("0191e8a0-0000-7000-8000-0123456789ab".to_owned()),
            source: LogSource::Function,
            text: text.to_owned(),
            truncated: true,
        };
        for (time, shown) in [
            ("2026-11-24T06:14:05Z", "2026-11-24T06:14:05.000Z"),
            ("2026-11-24T06:14:05.5Z", "2026-11-24T06:14:05.500Z"),
            ("2026-11-24T06:14:05.123456Z", "2026-11-24T06:14:05.123Z"),
        ] {
            assert_eq!(
                text(&line(time, "a\x1b[2J\tb")),
                format!("{shown} 456789ab   a[2J\tb [cut]")
            );
        }
    }
}
