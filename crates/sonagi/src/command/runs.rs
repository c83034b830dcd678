//! `sonagi runs`: what ran, and where its time went.

use clap::Args;
use clap::builder::RangedU64ValueParser;
use sonagi_api::{Run, RunFilter, Start};

use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// List what ran, or show where the time of one invocation went
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi runs                       the last 50 attempts
  sonagi runs hello --failed        of one function, failed ones only
  sonagi runs hello --since 1h --limit 1000
  sonagi runs 0191e8a0-0000-7000-8000-00000000000a")]
pub struct Runs {
    /// A function, or the id of an invocation
    #[arg(value_name = "FUNCTION|INVOCATION")]
    what: Option<String>,

    /// Failed attempts only
    #[arg(long)]
    failed: bool,

    /// Begun at or after this moment
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,

    /// At most so many, newest first
    #[arg(long, value_name = "ATTEMPTS", default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: usize,
}

impl Runs {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let client = global.client()?;
        if let Some(id) = self.what.as_deref().filter(|what| is_invocation(what)) {
            let runs = client.run(id).await?;
            return global.format().print(&runs, || {
                runs.runs.iter().map(timeline).collect::<Vec<_>>().join("\n\n")
            });
        }
        let filter = RunFilter {
            function: self.what,
            since: self.since,
            failed: self.failed,
            limit: Some(self.limit),
        };
        let runs = client.runs(&global.scope(), &filter).await?;
        global.format().print(&runs, || table(&runs.runs))?;
        if let Some(run) = runs.runs.first() {
            output::next(&format!("sonagi runs {}", run.invocation));
        }
        Ok(())
    }
}

/// Whether a word is an invocation's id, a UUID with hyphens.
fn is_invocation(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

const fn start(start: Start) -> &'static str {
    match start {
        Start::Cold => "cold",
        Start::Warm => "warm",
    }
}

fn table(runs: &[Run]) -> String {
    let rows = runs.iter().map(|run| {
        [
            run.started.clone(),
            run.invocation.clone(),
            run.name.clone(),
            run.version.clone(),
            start(run.start).to_owned(),
            output::milliseconds(run.duration_us),
            format!("{} MiB", run.memory_peak_mib),
            run.status.words().to_owned(),
        ]
    });
    output::table(
        [
            "STARTED",
            "INVOCATION",
            "FUNCTION",
            "VERSION",
            "START",
            "RUN",
            "MEMORY",
            "STATUS",
        ],
        rows,
    )
}

/// The width of the longest bar.
const BAR: u64 = 40;

/// One attempt: what is known about it, and its phases to scale.
fn timeline(run: &Run) -> String {
    let mut lines = output::pairs(&[
        ("invocation", run.invocation.clone()),
        ("attempt", run.attempt.to_string()),
        (
            "function",
            format!("{} (version {}, {})", run.name, run.version, run.revision),
        ),
        (
            "instance",
            run.instance.clone().unwrap_or_else(|| "none was reached".to_owned()),
        ),
        ("started", run.started.clone()),
        (
            "status",
            format!(
                "{}{}",
                run.status.words(),
                run.error_kind
                    .as_ref()
                    .map(|kind| format!(" ({kind})"))
                    .unwrap_or_default()
            ),
        ),
        ("memory", format!("{} of {} MiB", run.memory_peak_mib, run.memory_mib)),
        ("answer", output::bytes(run.response_bytes)),
        ("billed", format!("{} ms", run.billed_ms)),
        ("start", start(run.start).to_owned()),
    ]);
    let mut phases: Vec<(&str, u64)> = run.phases.iter().flat_map(sonagi_api::Phases::named).collect();
    phases.push(("run", run.duration_us));
    let total: u64 = phases.iter().map(|(_, micros)| micros).sum();
    let mut before = 0;
    for (name, micros) in &phases {
        let (from, to) = (scaled(before, total), scaled(before + micros, total));
        let bar = format!("{}{}", " ".repeat(from), "█".repeat((to - from).max(1)));
        lines.push_str(&format!("\n  {name:9}{:>12}  {bar}", output::milliseconds(*micros)));
        before += micros;
    }
    lines.push_str(&format!("\n  {:9}{:>12}", "total", output::milliseconds(total)));
    lines
}

fn scaled(micros: u64, total: u64) -> usize {
    usize::try_from(micros.saturating_mul(BAR) / total.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_names() {
        assert!(is_invocation("0191e8a0-0000-7000-8000-00000000000a"));
        for name in [
            "hello",
            "0191e8a0-0000-7000-8000",
            "0191e8a0-0000-7000-8000-00000000000g",
            "a-b-c-d-e",
        ] {
            assert!(!is_invocation(name), "{name}");
        }
    }

    #[test]
    fn bars_are_to_scale() {
        assert_eq!(
            (scaled(0, 0), scaled(0, 100), scaled(50, 100), scaled(100, 100)),
            (0, 0, 20, 40)
        );
    }
}
