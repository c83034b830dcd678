//! Which cells to keep ready. Pure decisions about values of any type: the tests use numbers for cells.

use sonagi_ports::CellKind;

/// Cells that wait for a program, by their kind.
#[derive(Debug)]
pub(crate) struct Ready<C> {
    /// Most cells, ready and wanted together.
    max: usize,
    /// The one expected last comes first.
    shelves: Vec<Shelf<C>>,
}

#[derive(Debug)]
struct Shelf<C> {
    kind: CellKind,
    wanted: usize,
    making: usize,
    cells: Vec<C>,
}

impl<C> Ready<C> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            shelves: Vec::new(),
        }
    }

    /// From now on, keep `cells` ready of this kind. When that makes too many, those that were expected the
    /// longest ago are kept no more. Returns the cells that are not wanted any more.
    pub(crate) fn expect(&mut self, kind: &CellKind, cells: usize) -> Vec<C> {
        let found = self.shelves.iter().position(|shelf| shelf.kind == *kind);
        let mut shelf = found.map_or_else(
            || Shelf {
                kind: kind.clone(),
                wanted: 0,
                making: 0,
                cells: Vec::new(),
            },
            |at| self.shelves.remove(at),
        );
        shelf.wanted = cells.min(self.max);
        self.shelves.insert(0, shelf);
        let mut left = self.max;
        let mut surplus = Vec::new();
        for shelf in &mut self.shelves {
            shelf.wanted = shelf.wanted.min(left);
            left -= shelf.wanted;
            surplus.extend(shelf.cells.drain(shelf.wanted.min(shelf.cells.len())..));
        }
        self.shelves.retain(|shelf| shelf.wanted > 0 || shelf.making > 0);
        surplus
    }

    /// A ready cell of exactly this kind.
    pub(crate) fn take(&mut self, kind: &CellKind) -> Option<C> {
        self.shelves.iter_mut().find(|shelf| shelf.kind == *kind)?.cells.pop()
    }

    /// The kind of which a cell is to be made now. [`Ready::put`] or [`Ready::failed`] must follow.
    pub(crate) fn next(&mut self) -> Option<CellKind> {
        let shelf = self
            .shelves
            .iter_mut()
            .find(|shelf| shelf.cells.len() + shelf.making < shelf.wanted)?;
        shelf.making += 1;
        Some(shelf.kind.clone())
    }

    /// A cell is made. Returns it when it is not wanted any more.
    pub(crate) fn put(&mut self, kind: &CellKind, cell: C) -> Option<C> {
        let Some(shelf) = self.made(kind) else {
            return Some(cell);
        };
        if shelf.cells.len() >= shelf.wanted {
            return Some(cell);
        }
        shelf.cells.push(cell);
        None
    }

    /// A cell could not be made.
    pub(crate) fn failed(&mut self, kind: &CellKind) {
        self.made(kind);
    }

    fn made(&mut self, kind: &CellKind) -> Option<&mut Shelf<C>> {
        let shelf = self.shelves.iter_mut().find(|shelf| shelf.kind == *kind)?;
        shelf.making = shelf.making.saturating_sub(1);
        Some(shelf)
    }

    /// Cells that are ready.
    pub(crate) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.cells.len()).sum()
    }

    /// Wants nothing any more; all cells.
    pub(crate) fn clear(&mut self) -> Vec<C> {
        self.max = 0;
        self.shelves.drain(..).flat_map(|shelf| shelf.cells).collect()
    }
}

#[cfg(test)]
mod tests {
    use sonagi_ports::Mount;

    use super::*;

    fn kind(name: &str) -> CellKind {
        CellKind {
            mounts: vec![Mount {
                source: name.into(),
                target: name.to_owned(),
                executable: true,
            }],
            stem: None,
        }
    }

    fn fill(ready: &mut Ready<u32>, from: u32) -> u32 {
        let mut next = from;
        while let Some(kind) = ready.next() {
            assert_eq!(ready.put(&kind, next), None);
            next += 1;
        }
        next - from
    }

    #[test]
    fn what_is_expected_is_made_once_and_taken_once() {
        let mut ready = Ready::new(8);
        assert_eq!(ready.take(&kind("a")), None);
        assert!(ready.expect(&kind("a"), 2).is_empty());
        assert_eq!((fill(&mut ready, 1), ready.len()), (2, 2));
        assert_eq!(ready.take(&kind("b")), None);
        assert_eq!(ready.take(&kind("a")), Some(2));
        assert_eq!(fill(&mut ready, 3), 1, "the one taken is replaced");
    }

    #[test]
    fn the_bound_holds_and_the_newest_expectation_wins() {
        let mut ready = Ready::new(3);
        ready.expect(&kind("a"), 9);
        assert_eq!(fill(&mut ready, 1), 3);
        assert_eq!(ready.expect(&kind("b"), 2), [2, 3]);
        assert_eq!(fill(&mut ready, 4), 2);
        assert_eq!((ready.take(&kind("a")), ready.take(&kind("a"))), (Some(1), None));
    }

    #[test]
    fn what_is_expected_no_more_goes() {
        let mut ready = Ready::new(8);
        ready.expect(&kind("a"), 2);
        assert_eq!(ready.next(), Some(kind("a")));
        assert!(ready.expect(&kind("a"), 0).is_empty());
        assert_eq!(ready.put(&kind("a"), 1), Some(1), "it came too late");
        ready.expect(&kind("a"), 1);
        assert_eq!(ready.next(), Some(kind("a")));
        ready.failed(&kind("a"));
        assert_eq!(fill(&mut ready, 5), 1, "tried again");
        assert_eq!(ready.clear(), [5]);
        assert!(ready.expect(&kind("a"), 1).is_empty());
        assert_eq!(ready.next(), None);
    }
}
