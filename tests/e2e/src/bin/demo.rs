//! The demonstration: three functions in three languages go through all six steps on a temporary platform, driven by the
//! real clients, and at the end nothing of it is left. `cargo xtask demo` builds what it needs and runs it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Client, Platform, Setup, checkout, until};
use tokio::time::Instant;

/// The example functions: folder, language.
const EXAMPLES: &[(&str, &str)] = &[
    ("python-hello", "Python"),
    ("node-hello", "Node.js"),
    ("rust-hello", "Rust"),
];

/// How long an idle instance is kept in this demonstration.
const KEEP_ALIVE: &str = "3s";

/// Calls the function three times and prints what each call took; boto3 as anybody uses it.
const BOTO3: &str = r#"
import json, sys, time, boto3
client = boto3.client("lambda")
client.list_functions()
for _ in range(3):
    begun = time.perf_counter()
    answer = client.invoke(FunctionName=sys.argv[1], Payload=json.dumps({"name": "boto3"}))
    body = json.loads(answer["Payload"].read())
    took = (time.perf_counter() - begun) * 1e6
    print(json.dumps({"id": answer["ResponseMetadata"]["RequestId"], "took_us": took, "answer": body}))
"#;

/// The same with the JavaScript SDK.
const JAVASCRIPT: &str = r#"
const { LambdaClient, InvokeCommand, ListFunctionsCommand } = require("@aws-sdk/client-lambda");
(async () => {
  const client = new LambdaClient({});
  await client.send(new ListFunctionsCommand({}));
  for (let i = 0; i < 2; i++) {
    const begun = performance.now();
    const answer = await client.send(new InvokeCommand({ FunctionName: process.argv[1], Payload: JSON.stringify({ name: "JavaScript" }) }));
    const took_us = (performance.now() - begun) * 1000;
    const id = answer.$metadata.requestId;
    console.log(JSON.stringify({ id, took_us, answer: JSON.parse(Buffer.from(answer.Payload)) }));
  }
})();
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let begun = Instant::now();
    let mut platform = Setup::new().set("keep-alive", KEEP_ALIVE).start().await;
    println!(
        "\nsonagi is up at {} on {} ({:.0} ms)",
        platform.endpoint(),
        platform.data().display(),
        ms(begun.elapsed())
    );

    for (folder, language) in EXAMPLES {
        deploy(&platform, folder, language).await?;
    }
    for (name, language) in EXAMPLES {
        let environment = platform.aws().await;
        let program = Client::Boto3.run(["-c", BOTO3, name], &environment).await;
        println!("\n{language}: {name}, called by boto3");
        steps(&platform, &calls(&program.expect("boto3"))?).await?;
    }
    let environment = platform.aws().await;
    let program = Client::JavaScript
        .run(["-e", JAVASCRIPT, "python-hello"], &environment)
        .await;
    println!("\nPython: python-hello, called by the JavaScript SDK");
    steps(&platform, &calls(&program.expect("the JavaScript SDK"))?).await?;

    reclaim(&platform).await;
    let begun = Instant::now();
    platform.stop().await;
    println!("\nstopped in {:.0} ms", ms(begun.elapsed()));
    let left = platform.leftovers();
    ensure!(left.is_empty(), "left behind: {left:?}");
    println!("nothing is left: 0 processes, 0 control groups, 0 mounts");
    Ok(())
}

/// One call as its client saw it.
struct Call {
    id: String,
    took_us: f64,
    answer: Value,
}

fn calls(printed: &str) -> Result<Vec<Call>> {
    let call = |line: &str| {
        let value: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
        let id = value["id"].as_str().context("an id")?.to_owned();
        let took_us = value["took_us"].as_f64().context("a time")?;
        Ok(Call {
            id,
            took_us,
            answer: value["answer"].clone(),
        })
    };
    printed.lines().map(call).collect()
}

async fn deploy(platform: &Platform, folder: &str, language: &str) -> Result<()> {
    let path = checkout("examples").join(folder);
    let path = path.to_str().context("a path in UTF-8")?;
    println!("\n$ sonagi deploy examples/{folder}    ({language})");
    let begun = Instant::now();
    let deployed = platform.cli().json(&["deploy", path]).await;
    let took = ms(begun.elapsed());
    let text = |name: &str| deployed[name].as_str().unwrap_or("none").to_owned();
    println!(
        "  digest {}\n  revision {}, {} bytes, live after {took:.0} ms",
        text("digest"),
        text("revision"),
        deployed["size"]
    );
    println!("  {}", text("url"));
    Ok(())
}

/// Shows where the time of each call went, step by step, from the platform's own record.
async fn steps(platform: &Platform, calls: &[Call]) -> Result<()> {
    println!("  answer {}", calls[0].answer);
    println!("  step, milliseconds {:>39}", "");
    for call in calls {
        // The record is there when the answer is; the question may still overtake its last microseconds.
        let run = until("the record", PATIENCE, async || {
            let found = platform.native("GET", &format!("/runs/{}", call.id), "").await;
            found["runs"].get(0).cloned()
        })
        .await;
        let of = |name: &str| run[name].as_f64().unwrap_or(0.0);
        let phase = |name: &str| run["phases"][name].as_f64().unwrap_or(0.0);
        let allocate = phase("queue_us") + phase("cell_us") + phase("process_us");
        let load = phase("artifact_us") + phase("init_us");
        let rest = (call.took_us - allocate - load - of("duration_us")).max(0.0);
        println!(
            "  - {} start, request {}",
            run["start"].as_str().unwrap_or("?"),
            call.id
        );
        let rows = [
            ("1 trigger, 5 result: client, signature, decoding, answer", rest),
            ("2 allocate: queue, namespaces, groups, mounts, process", allocate),
            ("3 fetch, check digest, register, call: artifact, init", load),
            ("4 run the handler", of("duration_us")),
            ("  all, as the client saw it", call.took_us),
        ];
        for (name, us) in rows {
            println!("    {name:<58} {:>9.2}", us / 1e3);
        }
    }
    Ok(())
}

/// Waits until no program of a function is left, and says how long that took.
async fn reclaim(platform: &Platform) {
    let begun = Instant::now();
    let running = platform.leftovers().of_functions();
    println!(
        "\n6 reclaim: an instance goes {KEEP_ALIVE} after its last call; {running} processes of functions are there"
    );
    until("the end of all instances", PATIENCE, async || {
        (platform.leftovers().of_functions() == 0).then_some(())
    })
    .await;
    let waited = begun.elapsed().as_secs_f64();
    let empty = platform.leftovers().processes.len();
    println!(
        "  after {waited:.1} s: 0 processes of functions; {empty} processes wait in prepared cells that have run nothing"
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
