//! A schedule beside the events: it ticks every second, and each tick is to be handed over once, whatever happens.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use sonagi_testkit::{Platform, Project};

/// The function that is called.
pub const NAME: &str = "clock";
/// As many of its events are looked at each time.
const NEWEST: usize = 300;

/// Deploys the function and binds it to every second; ticks that are missed are made up for.
///
/// # Errors
/// The platform refuses.
pub async fn begin(platform: &Platform) -> Result<()> {
    let project = Project::python(NAME, "def handler(event, context):\n    return None\n");
    let deployed = platform.cli().run(&["deploy", project.as_str()]).await;
    ensure!(deployed.success, "{}", deployed.stderr);
    let bound = ["on", "cron", "* * * * * *", NAME, "--missed", "all"];
    let bound = platform.cli().run(&bound).await;
    ensure!(bound.success, "{}", bound.stderr);
    Ok(())
}

/// Lets it tick no longer.
///
/// # Errors
/// The platform refuses.
pub async fn end(platform: &Platform) -> Result<()> {
    let ended = platform.cli().run(&["on", "rm", NAME]).await;
    ensure!(ended.success, "{}", ended.stderr);
    Ok(())
}

/// The ticks that were seen: the moment of each event.
#[derive(Debug, Default)]
pub struct Ticks(BTreeMap<String, i64>);

impl Ticks {
    /// Looks at those that are new. To be called often enough that none is forgotten meanwhile.
    ///
    /// # Errors
    /// A tick cannot be read.
    ///
    /// # Panics
    /// The platform does not answer.
    pub async fn look(&mut self, platform: &Platform) -> Result<()> {
        let path = format!("/events?function={NAME}&limit={NEWEST}");
        let events = platform.native("GET", &path, "").await;
        for event in events["events"].as_array().context("a list of events")? {
            let id = event["id"].as_str().context("an event has an id")?;
            if self.0.contains_key(id) {
                continue;
            }
            let content = platform.native("GET", &format!("/events/{id}/content"), "").await;
            let time: jiff::Timestamp = content["time"].as_str().context("a tick has a time")?.parse()?;
            self.0.insert(id.to_owned(), time.as_second());
        }
        Ok(())
    }

    /// Looks whether some are missing or came twice; how many there were.
    ///
    /// # Errors
    /// What is violated.
    pub fn check(&self) -> Result<usize> {
        let mut moments: Vec<i64> = self.0.values().copied().collect();
        moments.sort_unstable();
        let wrong = moments.windows(2).find(|pair| pair[1] - pair[0] != 1);
        ensure!(wrong.is_none(), "ticks that do not follow one another: {wrong:?}");
        ensure!(!moments.is_empty(), "there were no ticks");
        Ok(moments.len())
    }
}
