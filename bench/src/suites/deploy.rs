//! From source to the first answer, and from a change to the next call that runs it, with the command line as a person
//! uses it; beside the time that this disk needs to make one block durable.

use anyhow::{Result, bail};
use sonagi_testkit::{Platform, Project};
use tokio::time::Instant;

use super::{Context, deploy, platform};
use crate::load::{Connection, Target};
use crate::machine;
use crate::report::{Figure, Target as Asked};
use crate::stats::Samples;

/// Samples per figure.
const ROUNDS: u32 = 30;

pub async fn run(context: &Context) -> Result<Vec<Figure>> {
    let platform = platform().await;
    let (mut first, mut change) = (Samples::default(), Samples::default());
    eprintln!("bench: deploy");
    for round in 0..context.rounds(ROUNDS) {
        let project = source(&format!("deploy-{round}"), "one");
        let begun = Instant::now();
        let target = deploy(&platform, &project).await?;
        expect(&target, "one").await?;
        first.push(begun.elapsed().as_secs_f64() * 1e3);

        project.write("app.py", text("two"));
        let begun = Instant::now();
        update(&platform, &project).await;
        expect(&target, "two").await?;
        change.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let disk = machine::fsync(platform.data(), context.rounds(200))?;
    Ok(vec![
        Figure::beside(
            "deploy of 1 KB of Python to first answer",
            "ms",
            &first,
            ("one fsync", &disk),
            Asked::AtMost(15.0),
        ),
        Figure::beside(
            "change to the next call running it",
            "ms",
            &change,
            ("one fsync", &disk),
            Asked::AtMost(10.0),
        ),
    ])
}

async fn update(platform: &Platform, project: &Project) {
    let _ = platform.cli().run(&["deploy", project.as_str()]).await.expect("deploy");
}

async fn expect(target: &Target, word: &str) -> Result<()> {
    let mut connection = Connection::open(&target.address).await?;
    let body = connection.call(target).await?;
    connection.close().await;
    if body != word.as_bytes() {
        bail!(
            "{}: {:?} instead of {word:?}",
            target.host,
            String::from_utf8_lossy(&body)
        );
    }
    Ok(())
}

fn source(name: &str, word: &str) -> Project {
    Project::python(name, &text(word))
}

/// About 1 KB of Python that answers with a word.
fn text(word: &str) -> String {
    let padding = "# padding so that the file has about one kilobyte\n".repeat(18);
    format!("{padding}def handler(event, context):\n    return {{'statusCode': 200, 'body': '{word}'}}\n")
}
