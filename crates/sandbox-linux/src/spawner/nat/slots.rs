//! Places of cells among the addresses of a node.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// Places of a node.
pub(super) const COUNT: u16 = 8192;

#[derive(Debug, Default)]
struct State {
    taken: HashSet<u16>,
    next: u16,
}

/// All places. One that was given back is taken again last: the kernel needs a moment to take the interfaces down.
#[derive(Debug, Default)]
pub(super) struct Slots(Rc<RefCell<State>>);

/// One place, given back when dropped.
#[derive(Debug)]
pub(in crate::spawner) struct Slot {
    number: u16,
    all: Rc<RefCell<State>>,
}

impl Slots {
    /// One that nobody has.
    pub(super) fn take(&self) -> Option<Slot> {
        let mut state = self.0.borrow_mut();
        let first = state.next;
        let number = (0..COUNT)
            .map(|step| (first + step) % COUNT)
            .find(|number| !state.taken.contains(number))?;
        state.taken.insert(number);
        state.next = (number + 1) % COUNT;
        Some(Slot {
            number,
            all: Rc::clone(&self.0),
        })
    }
}

impl Slot {
    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.all.borrow_mut().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_rest_before_they_are_taken_again() {
        let slots = Slots::default();
        let (first, second) = (slots.take().unwrap(), slots.take().unwrap());
        assert_eq!((first.number(), second.number()), (0, 1));
        drop(first);
        let rest: Vec<Slot> = (0..COUNT - 1).map_while(|_| slots.take()).collect();
        assert_eq!(rest.len(), usize::from(COUNT) - 1);
        assert_eq!((rest[0].number(), rest[rest.len() - 1].number()), (2, 0));
        assert!(slots.take().is_none());
    }
}
