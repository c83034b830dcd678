//! How many instances to start. Binding is late: a start belongs to nobody until it is done, and whoever has waited
//! longest takes whatever comes first.

use std::num::NonZeroU32;

/// How many further starts the waiting requests need, so that each will find a place in an instance that is starting,
/// and never more instances are starting than that takes. `places`: events that one instance may work on at once.
pub(crate) const fn starts_needed(waiting: usize, starting: usize, places: NonZeroU32) -> usize {
    waiting.div_ceil(places.get() as usize).saturating_sub(starting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_start_for_as_many_waiters_as_it_has_places_and_no_more() {
        let alone = [
            (0, 0, 1, 0),
            (1, 0, 1, 1),
            (1, 1, 1, 0),
            (3, 1, 1, 2),
            (0, 2, 1, 0),
            (2, 5, 1, 0),
        ];
        let shared = [
            (0, 0, 4, 0),
            (1, 0, 4, 1),
            (4, 0, 4, 1),
            (5, 0, 4, 2),
            (5, 1, 4, 1),
            (8, 2, 4, 0),
        ];
        for (waiting, starting, places, expected) in alone.into_iter().chain(shared) {
            assert_eq!(
                starts_needed(waiting, starting, NonZeroU32::new(places).unwrap()),
                expected,
                "{waiting} waiting, {starting} starting, {places} places in each"
            );
        }
    }
}
