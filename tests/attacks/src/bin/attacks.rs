//! Runs all attacks and prints a table of what happened: `cargo xtask attacks` starts this.

use std::process::ExitCode;

use sonagi_attacks::{ATTACKS, Arena, Report, story};

#[tokio::main]
async fn main() -> ExitCode {
    // Attacks whose name contains this; all of them without it.
    let filter = std::env::args().nth(1).unwrap_or_default();
    let mut arena = Arena::open().await;
    let mut wrong = 0;
    println!("| # | attack | verdict | what happened |\n|---|---|---|---|");
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&filter)) {
        wrong += usize::from(!print(&arena.run(attack).await));
    }
    for report in story::run_all(&mut arena, &filter).await {
        wrong += usize::from(!print(&report));
    }
    match arena.close().await {
        Ok(seen) => println!(
            "\nneighbor: {} calls, 0 errors, p99 {:?}; host: nothing left",
            seen.took.len(),
            seen.p99()
        ),
        Err(error) => {
            println!("\nafterwards: {error}");
            wrong += 1;
        }
    }
    if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints a row; whether it is as it must be.
fn print(report: &Report) -> bool {
    let (verdict, text) = match &report.wrong {
        None => ("held", &report.happened),
        Some(wrong) => ("BROKEN", wrong),
    };
    let text = text.replace('|', "/").replace('\n', " ");
    println!("| {} | {} | {verdict} | {text} |", report.number, report.name);
    report.wrong.is_none()
}
