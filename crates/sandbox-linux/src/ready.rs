//! Which cells to keep ready. Pure decisions about values of any type: the tests use numbers for cells.
//!
//! Of each kind that is expected at least so many are kept as were asked for; when more are taken, more are kept, for as
//! long as that lasts: as many as were taken in about the last [`HALF_LIFE`]. When none was taken or newly asked for during
//! [`REST`], [`RESTING`] are kept until one is: a platform that nobody uses holds no memory for a burst. All together they
//! stay within a number and within an amount of memory.

use std::time::Duration;

use sonagi_ports::{CellKind, Prepared, Readiness};
use tokio::time::Instant;

/// After this time a start counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// After so long without a start or a new expectation a kind rests.
const REST: Duration = Duration::from_secs(120);
/// Most cells that are kept of a kind that rests.
const RESTING: usize = 1;
/// Memory of one ready cell in MiB: without a runtime, with one that was forked, with one that was executed.
const BARE_MIB: usize = 1;
const FORKED_MIB: usize = 4;
const EXECUTED_MIB: usize = 24;

/// Bounds of all ready cells together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most cells.
    pub(crate) cells: usize,
    /// Most memory, as estimated here, in MiB.
    pub(crate) memory_mib: usize,
}

/// Cells that wait for a program, by their kind.
#[derive(Debug)]
pub(crate) struct Ready<C> {
    bounds: Bounds,
    /// The one expected last comes first.
    shelves: Vec<Shelf<C>>,
    counts: [Readiness; 2],
}

#[derive(Debug)]
struct Shelf<C> {
    kind: CellKind,
    /// Asked for.
    base: usize,
    demand: Demand,
    /// When one was last taken or asked for.
    used: Instant,
    wanted: usize,
    making: usize,
    cells: Vec<C>,
}

/// Starts of late, each worth less the longer ago it was.
#[derive(Debug, Default)]
struct Demand {
    sum: f64,
    at: Option<Instant>,
}

impl<C> Shelf<C> {
    /// Least that is to be kept.
    fn base(&self, now: Instant) -> usize {
        let rests = now.saturating_duration_since(self.used) >= REST;
        if rests { self.base.min(RESTING) } else { self.base }
    }
}

impl Demand {
    fn now(&self, now: Instant) -> f64 {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.sum * 0.5_f64.powf(elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64())
    }

    fn note(&mut self, now: Instant) {
        self.sum = self.now(now) + 1.0;
        self.at = Some(now);
    }

    /// As a number of cells.
    fn cells(&self, now: Instant) -> usize {
        // A sum of decayed ones is small and never negative; the cast saturates anyway.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let cells = self.now(now).round() as usize;
        cells
    }
}

/// What is to be made next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) kind: CellKind,
    /// None of the kind is ready.
    pub(crate) urgent: bool,
}

const fn level(kind: &CellKind) -> Prepared {
    match kind.stem {
        Some(_) => Prepared::Stem,
        None => Prepared::Cell,
    }
}

fn cost_mib(kind: &CellKind) -> usize {
    match &kind.stem {
        None => BARE_MIB,
        Some(stem) if stem.forks => FORKED_MIB,
        Some(_) => EXECUTED_MIB,
    }
}

impl<C> Ready<C> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            shelves: Vec::new(),
            counts: [Readiness::default(); 2],
        }
    }

    /// From now on, keep at least `cells` ready of this kind. When that makes too many, those that were expected the
    /// longest ago are kept no more. Returns the cells that are not wanted any more.
    pub(crate) fn expect(&mut self, kind: &CellKind, cells: usize, now: Instant) -> Vec<C> {
        let found = self.shelves.iter().position(|shelf| shelf.kind == *kind);
        let mut shelf = found.map_or_else(
            || Shelf {
                kind: kind.clone(),
                base: 0,
                demand: Demand::default(),
                used: now,
                wanted: 0,
                making: 0,
                cells: Vec::new(),
            },
            |at| self.shelves.remove(at),
        );
        shelf.base = cells;
        shelf.used = now;
        self.shelves.insert(0, shelf);
        self.trim(now)
    }

    /// Decides anew how many are wanted of each kind; the cells that are not wanted any more.
    pub(crate) fn trim(&mut self, now: Instant) -> Vec<C> {
        let mut left = self.bounds;
        let mut grant = |kind: &CellKind, cells: usize| {
            let cost = cost_mib(kind);
            let granted = cells.min(left.cells).min(left.memory_mib / cost);
            left.cells -= granted;
            left.memory_mib -= granted * cost;
            granted
        };
        // What was asked for comes before what the demand of one kind would have.
        for shelf in &mut self.shelves {
            shelf.wanted = grant(&shelf.kind, shelf.base(now));
        }
        for shelf in self.shelves.iter_mut().filter(|shelf| shelf.base > 0) {
            let more = shelf.demand.cells(now).saturating_sub(shelf.wanted);
            shelf.wanted += grant(&shelf.kind, more);
        }
        let mut surplus = Vec::new();
        for shelf in &mut self.shelves {
            // The first one was made before there was one to fork it from, and shares no memory with others.
            let beyond = shelf.cells.len().saturating_sub(shelf.wanted);
            surplus.extend(shelf.cells.drain(..beyond));
        }
        self.shelves.retain(|shelf| shelf.wanted > 0 || shelf.making > 0);
        surplus
    }

    /// A ready cell of exactly this kind.
    pub(crate) fn take(&mut self, kind: &CellKind, now: Instant) -> Option<C> {
        let shelf = self.shelves.iter_mut().find(|shelf| shelf.kind == *kind);
        let cell = shelf.and_then(|shelf| {
            shelf.demand.note(now);
            shelf.used = now;
            shelf.cells.pop()
        });
        let counts = self.counts_of(kind);
        match &cell {
            Some(_) => counts.hits += 1,
            None => counts.misses += 1,
        }
        cell
    }

    /// What is to be made now: kinds of which none is ready come first. [`Ready::put`] or [`Ready::failed`] must follow.
    pub(crate) fn next(&mut self) -> Option<Next> {
        let lacking = |shelf: &Shelf<C>| shelf.cells.len() + shelf.making < shelf.wanted;
        let empty = |shelf: &Shelf<C>| shelf.cells.is_empty() && shelf.making == 0;
        let urgent = self.shelves.iter().position(|shelf| lacking(shelf) && empty(shelf));
        let at = urgent.or_else(|| self.shelves.iter().position(lacking))?;
        let shelf = &mut self.shelves[at];
        shelf.making += 1;
        Some(Next {
            kind: shelf.kind.clone(),
            urgent: urgent.is_some(),
        })
    }

    /// A cell is made, which took so long. Returns it when it is not wanted any more.
    pub(crate) fn put(&mut self, kind: &CellKind, cell: C, took: Duration) -> Option<C> {
        let counts = self.counts_of(kind);
        counts.made += 1;
        counts.making += took;
        let Some(shelf) = self.made(kind) else {
            return Some(cell);
        };
        if shelf.cells.len() >= shelf.wanted {
            return Some(cell);
        }
        shelf.cells.push(cell);
        None
    }

    /// Takes a kind that [`Ready::next`] gave back if it is not wanted any more, and says so.
    pub(crate) fn called_off(&mut self, kind: &CellKind) -> bool {
        let wanted = self.shelves.iter().any(|shelf| shelf.kind == *kind && shelf.wanted > 0);
        if !wanted {
            self.made(kind);
            self.shelves.retain(|shelf| shelf.wanted > 0 || shelf.making > 0);
        }
        !wanted
    }

    /// A cell could not be made.
    pub(crate) fn failed(&mut self, kind: &CellKind) {
        self.counts_of(kind).failed += 1;
        self.made(kind);
    }

    fn made(&mut self, kind: &CellKind) -> Option<&mut Shelf<C>> {
        let shelf = self.shelves.iter_mut().find(|shelf| shelf.kind == *kind)?;
        shelf.making = shelf.making.saturating_sub(1);
        Some(shelf)
    }

    fn counts_of(&mut self, kind: &CellKind) -> &mut Readiness {
        &mut self.counts[level(kind) as usize]
    }

    /// Cells that are ready.
    pub(crate) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.cells.len()).sum()
    }

    /// Whether fewer will be wanted if nobody starts anything: then [`Ready::trim`] is to be called after a while.
    pub(crate) fn is_swollen(&self) -> bool {
        self.shelves.iter().any(|shelf| shelf.wanted > shelf.base.min(RESTING))
    }

    /// How each level stands.
    pub(crate) fn readiness(&self) -> Vec<(Prepared, Readiness)> {
        let of = |wanted: Prepared| {
            let mut counts = self.counts[wanted as usize];
            for shelf in self.shelves.iter().filter(|shelf| level(&shelf.kind) == wanted) {
                counts.ready += shelf.cells.len();
                counts.wanted += shelf.wanted;
            }
            (wanted, counts)
        };
        [Prepared::Cell, Prepared::Stem].map(of).to_vec()
    }

    /// Wants nothing any more; all cells.
    pub(crate) fn clear(&mut self) -> Vec<C> {
        self.bounds.cells = 0;
        self.shelves.drain(..).flat_map(|shelf| shelf.cells).collect()
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::{Mount, Stem};

    use super::*;

    const NO_TIME: Duration = Duration::ZERO;

    fn ready(cells: usize) -> Ready<u32> {
        Ready::new(Bounds {
            cells,
            memory_mib: 1000,
        })
    }

    fn kind(name: &str) -> CellKind {
        CellKind {
            mounts: vec![Mount {
                source: name.into(),
                target: name.to_owned(),
                executable: true,
            }],
            stem: None,
            outside: sonagi_model::Outside::Open,
        }
    }

    fn fill(ready: &mut Ready<u32>, from: u32) -> u32 {
        let mut next = from;
        while let Some(Next { kind, .. }) = ready.next() {
            assert_eq!(ready.put(&kind, next, NO_TIME), None);
            next += 1;
        }
        next - from
    }

    #[test]
    fn what_is_expected_is_made_once_and_taken_once() {
        let (mut ready, now) = (ready(8), Instant::now());
        assert_eq!(ready.take(&kind("a"), now), None);
        assert!(ready.expect(&kind("a"), 2, now).is_empty());
        assert_eq!((fill(&mut ready, 1), ready.len()), (2, 2));
        assert_eq!(ready.take(&kind("b"), now), None);
        assert_eq!(ready.take(&kind("a"), now), Some(2));
        assert_eq!(fill(&mut ready, 3), 1, "the one taken is replaced");
        let (_, counts) = ready.readiness()[0];
        assert_eq!((counts.hits, counts.misses, counts.made, counts.ready), (1, 2, 3, 2));
    }

    #[test]
    fn the_bound_holds_and_the_newest_expectation_wins() {
        let (mut ready, now) = (ready(3), Instant::now());
        ready.expect(&kind("a"), 9, now);
        assert_eq!(fill(&mut ready, 1), 3);
        assert_eq!(ready.expect(&kind("b"), 2, now), [1, 2]);
        assert_eq!(fill(&mut ready, 4), 2);
        assert_eq!(
            (ready.take(&kind("a"), now), ready.take(&kind("a"), now)),
            (Some(3), None)
        );
    }

    #[test]
    fn a_kind_that_nobody_uses_rests_until_it_is_used() {
        let (mut ready, now) = (ready(8), Instant::now());
        ready.expect(&kind("a"), 4, now);
        assert_eq!(fill(&mut ready, 1), 4);
        let almost = now + REST - Duration::from_millis(1);
        assert_eq!((ready.trim(almost), ready.is_swollen()), (vec![], true));
        assert_eq!(ready.trim(now + REST), [1, 2, 3]);
        assert_eq!((ready.len(), ready.is_swollen(), ready.next()), (1, false, None));
        let later = now + REST * 3;
        assert_eq!(ready.take(&kind("a"), later), Some(4));
        ready.trim(later);
        assert_eq!(fill(&mut ready, 5), 4, "as many as were asked for");
        ready.expect(&kind("b"), 0, later);
        assert!(ready.trim(later + REST).len() == 3 && ready.len() == 1);
    }

    #[test]
    fn memory_is_a_bound_as_well() {
        let now = Instant::now();
        let mut ready = Ready::<u32>::new(Bounds {
            cells: 100,
            memory_mib: 100,
        });
        let mut heavy = kind("a");
        heavy.stem = Some(Stem {
            program: Vec::new(),
            environment: Vec::new(),
            forks: false,
        });
        ready.expect(&heavy, 50, now);
        assert_eq!(fill(&mut ready, 1), 4);
        ready.expect(&kind("b"), 50, now);
        assert_eq!(ready.readiness()[0].1.wanted, 50, "the newest wins");
        assert_eq!(ready.readiness()[1].1.wanted, 2);
    }

    #[test]
    fn demand_makes_more_and_fades() {
        let (mut ready, now) = (ready(20), Instant::now());
        ready.expect(&kind("a"), 2, now);
        fill(&mut ready, 1);
        for _ in 0..12 {
            ready.take(&kind("a"), now);
        }
        assert!(ready.trim(now).is_empty());
        assert!(ready.is_swollen());
        assert_eq!(fill(&mut ready, 10), 12);
        assert_eq!(
            ready.trim(now + HALF_LIFE).len(),
            6,
            "half of them counts after that time"
        );
        assert_eq!(ready.trim(now + HALF_LIFE * 11).len(), 4);
        assert_eq!(ready.len(), 2, "what was asked for stays");
    }

    #[test]
    fn a_kind_without_any_comes_first() {
        let (mut ready, now) = (ready(8), Instant::now());
        ready.expect(&kind("a"), 2, now);
        ready.expect(&kind("b"), 2, now);
        let order = [("b", true), ("a", true), ("b", false), ("a", false)];
        for (name, urgent) in order {
            let next = Next {
                kind: kind(name),
                urgent,
            };
            assert_eq!(ready.next().as_ref(), Some(&next));
            ready.put(&kind(name), 1, NO_TIME);
        }
        assert_eq!(ready.next(), None);
    }

    #[test]
    fn what_is_expected_no_more_goes() {
        let (mut ready, now) = (ready(8), Instant::now());
        ready.expect(&kind("a"), 2, now);
        assert!(ready.next().is_some());
        assert!(ready.expect(&kind("a"), 0, now).is_empty());
        assert_eq!(ready.put(&kind("a"), 1, NO_TIME), Some(1), "it came too late");
        ready.expect(&kind("a"), 1, now);
        assert!(ready.next().is_some());
        ready.failed(&kind("a"));
        assert_eq!(fill(&mut ready, 5), 1, "tried again");
        assert_eq!(ready.clear(), [5]);
        assert!(ready.expect(&kind("a"), 1, now).is_empty());
        assert_eq!(ready.next(), None);
    }
}
