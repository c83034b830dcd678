//! What can be seen of the platform's instances from outside, through the kernel's tables: the check that a cold call was
//! cold does not ask the platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Result, ensure};
use sonagi_testkit::Platform;
use tokio::time::{Duration, Instant, sleep};

/// Where unpacked code lies, within the state directory.
const TREES: &str = "/artifacts/trees/";

/// Longest wait for the platform's own preparations.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// How often they are looked at, and how often in a row nothing may have changed.
const LOOK: Duration = Duration::from_millis(15);
const QUIET_LOOKS: usize = 4;

/// Which code the platform's processes have, at one moment: each unpacked artifact that is in the mount namespace of a
/// process, with those processes. Every process of a revision has its code, whatever the process is called; one that was
/// prepared for any function has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code(BTreeMap<String, Vec<u32>>);

impl Code {
    /// Looks at every process in the platform's control groups.
    #[must_use]
    pub fn look(platform: &Platform) -> Self {
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for id in platform.leftovers().processes {
            let table = fs::read_to_string(format!("/proc/{id}/mountinfo")).unwrap_or_default();
            let trees: BTreeSet<&str> = table.lines().filter_map(tree).collect();
            for tree in trees {
                found.entry(tree.to_owned()).or_default().push(id);
            }
        }
        Self(found)
    }

    /// Fails unless code came into processes since this look that no process had then. After a call of a function with
    /// code of its own, that is its code: the call was cold, and this check saw it become warm.
    ///
    /// # Errors
    /// All code that processes have now was there already.
    pub fn ensure_cold(&self, platform: &Platform) -> Result<()> {
        let now = Self::look(platform);
        ensure!(
            now.0.keys().any(|tree| !self.0.contains_key(tree)),
            "not seen to be cold: before the request processes had the code of {} artifacts, after it no other: {now:?}",
            self.0.len()
        );
        Ok(())
    }

    /// Processes that have the code of a function.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.0.values().flatten().copied().collect()
    }
}

/// The unpacked artifact that a line of `mountinfo` shows: its fourth field is the folder within its file system.
fn tree(line: &str) -> Option<&str> {
    let (_, name) = line.split(' ').nth(3)?.split_once(TREES)?;
    name.split('/').next().filter(|name| !name.is_empty())
}

/// Waits until the platform has done what it does ahead of demand: until its processes stay the same for a while. What is
/// measured next meets full pools, and no refill of them.
pub async fn settle(platform: &Platform) {
    let end = Instant::now() + SETTLE_MAX;
    let mut before = Vec::new();
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && Instant::now() < end {
        sleep(LOOK).await;
        let now = platform.leftovers().processes;
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_known_by_the_folder_it_is_mounted_from() {
        let line = "612 540 8:1 /srv/data/artifacts/trees/00ff /var/task ro,nosuid - ext4 /dev/root rw";
        assert_eq!(tree(line), Some("00ff"));
        assert_eq!(
            tree("612 540 8:1 /srv/artifacts/trees/ab/lib /var/task ro - ext4 /x rw"),
            Some("ab")
        );
        assert_eq!(tree("612 540 8:1 / /artifacts/trees/00ff ro - ext4 /x rw"), None);
        assert_eq!(tree(""), None);
    }
}
