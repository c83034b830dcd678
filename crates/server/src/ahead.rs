//! Cells made ahead of demand: some for each runtime that deployed functions use, none where nothing is deployed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sonagi_model::{Outside, Revision, RevisionSpec};
use sonagi_pool::Contracts;
use sonagi_ports::{CellKind, Sandbox};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Contract, runtime, memory in MiB and what is reached outside: what a cell is made for.
type Kind = (String, String, u32, Outside);

/// How long cells of a runtime are kept that no function uses any more.
const LINGER: Duration = Duration::from_secs(20);

/// How many live revisions use which runtime.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    uses: Mutex<BTreeMap<Kind, Use>>,
    changed: Notify,
}

#[derive(Debug)]
struct Use {
    functions: usize,
    spec: RevisionSpec,
}

fn kind(revision: &Revision) -> Kind {
    (
        revision.spec.contract.clone(),
        revision.spec.runtime.clone(),
        revision.spec.memory.0,
        revision.spec.outside,
    )
}

/// Cells for each of `kinds` runtimes out of `cells` in all.
fn share(cells: usize, kinds: usize) -> usize {
    cells.checked_div(kinds).map_or(0, |each| each.max(1))
}

impl Ahead {
    /// A function runs another revision from now on.
    pub(crate) fn live(&self, old: Option<&Revision>, new: Option<&Revision>) {
        let mut uses = self.uses.lock();
        let before = uses.len();
        if let Some(new) = new {
            uses.entry(kind(new))
                .or_insert_with(|| Use {
                    functions: 0,
                    spec: new.spec.clone(),
                })
                .functions += 1;
        }
        let added = uses.len() != before;
        let mut gone = false;
        if let Some(old) = old
            && let Some(found) = uses.get_mut(&kind(old))
        {
            found.functions -= 1;
            gone = found.functions == 0;
            if gone {
                uses.remove(&kind(old));
            }
        }
        if added || gone {
            self.changed.notify_one();
        }
    }

    /// Keeps the sandbox told. Sleeps until the set of runtimes changes. What is not used any more is kept for a while:
    /// whoever replaces a function by another of its runtime does not wait for the runtime to boot.
    pub(crate) async fn run(self: Arc<Self>, contracts: Contracts, sandbox: Arc<dyn Sandbox>, cells: usize) {
        let mut told = Told::default();
        loop {
            let due = told.due();
            let wait = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {
                    let Some(wanted) = self.kinds(&contracts).await else { continue };
                    told.want(&wanted, Instant::now());
                    for kind in &wanted {
                        sandbox.expect(kind, share(cells, wanted.len()));
                    }
                }
                () = wait => {}
            }
            for gone in told.gone(Instant::now()) {
                sandbox.expect(&gone, 0);
            }
        }
    }

    /// The kinds of cells that live revisions need, each once.
    async fn kinds(&self, contracts: &Contracts) -> Option<Vec<CellKind>> {
        let kinds: Vec<(Kind, RevisionSpec)> = self
            .uses
            .lock()
            .iter()
            .map(|(kind, found)| (kind.clone(), found.spec.clone()))
            .collect();
        let contracts = contracts.clone();
        // Making an interpreter ready for the first time copies files.
        let wanted = tokio::task::spawn_blocking(move || {
            let mut wanted = Vec::new();
            let cells = kinds
                .iter()
                .filter_map(|((contract, ..), spec)| contracts.get(contract)?.cell(spec));
            for cell in cells {
                if !wanted.contains(&cell) {
                    wanted.push(cell);
                }
            }
            wanted
        });
        wanted.await.ok()
    }
}

/// What the sandbox was told to expect, and since when it is not needed any more.
#[derive(Debug, Default)]
struct Told(Vec<(CellKind, Option<Instant>)>);

impl Told {
    fn want(&mut self, wanted: &[CellKind], now: Instant) {
        for (kind, unused) in &mut self.0 {
            match (wanted.contains(kind), &unused) {
                (true, _) => *unused = None,
                (false, None) => *unused = Some(now),
                (false, Some(_)) => {}
            }
        }
        for kind in wanted {
            if self.0.iter().all(|(known, _)| known != kind) {
                self.0.push((kind.clone(), None));
            }
        }
    }

    /// When the next one goes.
    fn due(&self) -> Option<Instant> {
        let unused = self.0.iter().filter_map(|(_, unused)| *unused);
        unused.min().map(|since| since + LINGER)
    }

    /// Those that go now.
    fn gone(&mut self, now: Instant) -> Vec<CellKind> {
        let is_over = |unused: &Option<Instant>| unused.is_some_and(|since| since + LINGER <= now);
        let gone = self.0.iter().filter(|(_, unused)| is_over(unused));
        let gone = gone.map(|(kind, _)| kind.clone()).collect();
        self.0.retain(|(_, unused)| !is_over(unused));
        gone
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::fake::sample;

    use super::*;

    fn revision(runtime: &str) -> Revision {
        let mut revision = sample::revision(&sample::function("f"));
        runtime.clone_into(&mut revision.spec.runtime);
        revision
    }

    #[test]
    fn runtimes_count_while_something_live_uses_them() {
        let ahead = Ahead::default();
        let kinds = || {
            ahead
                .uses
                .lock()
                .keys()
                .map(|(_, runtime, ..)| runtime.clone())
                .collect::<Vec<_>>()
        };
        let (a, b) = (revision("a"), revision("b"));
        ahead.live(None, Some(&a));
        ahead.live(None, Some(&a));
        ahead.live(Some(&a), Some(&b));
        assert_eq!(kinds(), ["a", "b"]);
        ahead.live(Some(&b), Some(&b));
        ahead.live(Some(&a), None);
        assert_eq!(kinds(), ["b"]);
        ahead.live(Some(&b), None);
        assert!(kinds().is_empty());
    }

    #[test]
    fn every_runtime_gets_its_share() {
        for (cells, kinds, each) in [(8, 0, 0), (8, 1, 8), (8, 3, 2), (8, 20, 1), (0, 3, 1)] {
            assert_eq!(share(cells, kinds), each, "{cells} cells, {kinds} runtimes");
        }
    }

    #[test]
    fn what_is_not_used_any_more_lingers() {
        let kind = |name: &str| CellKind {
            mounts: vec![sonagi_ports::Mount {
                source: name.into(),
                target: name.to_owned(),
                executable: false,
            }],
            stem: None,
            outside: Outside::Open,
        };
        let (mut told, now) = (Told::default(), Instant::now());
        told.want(&[kind("a"), kind("b")], now);
        assert_eq!(told.due(), None);
        told.want(&[kind("b")], now);
        assert_eq!(told.due(), Some(now + LINGER));
        assert!(told.gone(now).is_empty());
        told.want(&[kind("a")], now + LINGER / 2);
        assert_eq!(told.due(), Some(now + LINGER / 2 + LINGER), "a is used again, b is not");
        assert_eq!(told.gone(now + LINGER * 2), [kind("b")]);
        assert_eq!(told.due(), None);
    }
}
