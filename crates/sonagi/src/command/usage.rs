//! `sonagi usage`: what was used, and what the provider would have charged for it.

use clap::Args;
use sonagi_api::{Amount, Usage as Answer};

use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// Show what functions used, with the amount by the provider's published tariff
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi usage                                         the last 30 days
  sonagi usage --since 24h
  sonagi usage --since 2026-10-01 --until 2026-11-01   October, in UTC
  sonagi usage --account 111122223333 --output json")]
pub struct Usage {
    /// Attempts begun at or after this moment: an age, a date, or RFC 3339
    #[arg(long, value_name = "MOMENT", default_value = "30d")]
    since: String,

    /// Attempts begun before this moment [default: now]
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
}

impl Usage {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        let usage = global
            .client()?
            .usage(&global.scope(), Some(&self.since), self.until.as_deref())
            .await?;
        global.format().print(&usage, || table(&usage))?;
        let since = usage.since.as_deref().unwrap_or("the beginning");
        output::note(&format!("from {since} until {}", usage.until));
        Ok(())
    }
}

fn amount(amount: &Amount) -> String {
    format!("{} {}", amount.value, amount.currency)
}

fn table(usage: &Answer) -> String {
    let mut rows: Vec<[String; 8]> = usage
        .rows
        .iter()
        .map(|row| {
            [
                row.name.clone(),
                format!("{} MiB", row.memory_mib),
                row.attempts.to_string(),
                row.errors.to_string(),
                row.cold_starts.to_string(),
                format!("{:.3} s", row.duration_us as f64 / 1e6),
                format!("{:.3} s", row.billed_ms as f64 / 1e3),
                row.amount.as_ref().map(amount).unwrap_or_default(),
            ]
        })
        .collect();
    rows.extend(usage.totals.iter().map(|total| {
        let mut row: [String; 8] = Default::default();
        row[0] = "total".to_owned();
        row[7] = amount(total);
        row
    }));
    output::table(
        [
            "FUNCTION", "MEMORY", "RUNS", "ERRORS", "COLD", "TIME", "BILLED", "AMOUNT",
        ],
        rows,
    )
}
