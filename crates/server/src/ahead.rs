//! Cells made ahead of demand: some for each runtime that deployed functions use, none where nothing is deployed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sonagi_model::{Revision, RevisionSpec};
use sonagi_pool::Contracts;
use sonagi_ports::{CellKind, Sandbox};
use tokio::sync::Notify;

/// Contract, runtime and memory in MiB: what a cell is made for.
type Kind = (String, String, u32);

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

    /// Keeps the sandbox told. Sleeps until the set of runtimes changes.
    pub(crate) async fn run(self: Arc<Self>, contracts: Contracts, sandbox: Arc<dyn Sandbox>, cells: usize) {
        let mut told: Vec<CellKind> = Vec::new();
        loop {
            self.changed.notified().await;
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
            let Ok(wanted) = wanted.await else { continue };
            for gone in told.iter().filter(|kind| !wanted.contains(kind)) {
                sandbox.expect(gone, 0);
            }
            for kind in &wanted {
                sandbox.expect(kind, share(cells, wanted.len()));
            }
            told = wanted;
        }
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
                .map(|(_, runtime, _)| runtime.clone())
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
}
