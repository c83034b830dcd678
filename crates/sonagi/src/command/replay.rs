//! `sonagi replay`: run an event again.

use clap::Args;

use crate::context::Global;
use crate::failure::Result;
use crate::output;

/// Run ended events again, as new events
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi replay evt_0191e8a0000070008000000000000001
  sonagi replay 0191e8a0-0000-7000-8000-00000000000a     by its invocation

The contents of the newest ended events are kept for this; `sonagi events` tells which. The contents of
synchronous calls are not kept. A dead letter that is replayed leaves the dead letters.")]
pub struct Replay {
    /// The events, or their invocations
    #[arg(required = true, value_name = "EVENT")]
    events: Vec<String>,
}

impl Replay {
    /// Does it. Stops at the first that cannot be run again.
    pub async fn run(self, global: &Global) -> Result {
        let client = global.client()?;
        let mut last = None;
        for event in &self.events {
            let repeated = client.replay(event).await?;
            global
                .format()
                .print(&repeated, || format!("{} again as {}", repeated.origin, repeated.id))?;
            last = Some(repeated.id);
        }
        if let Some(id) = last {
            output::next(&format!("sonagi events {id}"));
        }
        Ok(())
    }
}
