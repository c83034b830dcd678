//! What the platform uses when it has many functions and nothing to do.

use std::time::Duration;

use anyhow::{Result, ensure};
use sonagi_testkit::{Client, Platform};
use tokio::time::sleep;

use super::{Context, platform};
use crate::process::{self, Usage};
use crate::report::{Figure, Target};
use crate::stats::Samples;

/// Functions that are deployed.
const FUNCTIONS: u32 = 1000;

/// How long nothing happens.
const TIME: Duration = Duration::from_secs(20);

/// How long what the deployments left to do may take.
const SETTLE: Duration = Duration::from_secs(5);

/// Clock ticks a second, the unit of CPU time in `/proc`.
const TICKS: f64 = 100.0;

/// Makes the functions through the real client.
const SCRIPT: &str = r#"
import io, sys, zipfile, boto3
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as out:
    out.writestr("app.py", "def handler(event, context):\n    return event\n")
client = boto3.client("lambda")
for number in range(int(sys.argv[1])):
    client.create_function(FunctionName=f"idle-{number}", Runtime="python3.11", Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": buffer.getvalue()})
"#;

pub async fn run(context: &Context) -> Result<Vec<Figure>> {
    let platform = platform().await;
    eprintln!("bench: idle: nothing deployed");
    let empty = measure(&platform, context.time(TIME)).await;
    eprintln!("bench: idle: deploying {FUNCTIONS} functions");
    let number = FUNCTIONS.to_string();
    let made = Client::Boto3
        .run(["-c", SCRIPT, number.as_str()], &platform.aws().await)
        .await;
    ensure!(made.success, "deploying failed: {}", made.stderr);
    eprintln!("bench: idle: waiting");
    let full = measure(&platform, context.time(TIME)).await;
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let with = |name: &str| format!("{FUNCTIONS} functions, idle: {name}");
    Ok(vec![
        Figure::alone(
            &with("resident memory"),
            "MiB",
            &one(full.resident_mib),
            Target::AtMost(60.0),
        ),
        Figure::alone(
            &with("CPU, share of a core"),
            "%",
            &one(full.cpu_percent),
            Target::AtMost(0.5),
        ),
        Figure::alone(&with("written to disk"), "B", &one(full.written), Target::AtMost(0.0)),
        Figure::alone(
            "nothing deployed: resident memory",
            "MiB",
            &one(empty.resident_mib),
            Target::None,
        ),
        Figure::alone(
            "nothing deployed: CPU, share of a core",
            "%",
            &one(empty.cpu_percent),
            Target::None,
        ),
    ])
}

struct Idle {
    resident_mib: f64,
    cpu_percent: f64,
    written: f64,
}

async fn measure(platform: &Platform, time: Duration) -> Idle {
    sleep(SETTLE).await;
    let before = process::usage(platform.id());
    sleep(time).await;
    let after: Usage = process::usage(platform.id());
    Idle {
        resident_mib: after.resident_kib as f64 / 1024.0,
        cpu_percent: after.ticks.saturating_sub(before.ticks) as f64 / TICKS / time.as_secs_f64() * 100.0,
        written: after.written.saturating_sub(before.written) as f64,
    }
}
