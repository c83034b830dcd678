//! How many instances to start. Binding is late: a start belongs to nobody until it is done, and whoever has waited
//! longest takes whatever comes first.

/// How many further starts the waiting requests need, so that never more instances are starting than requests wait.
pub(crate) const fn starts_needed(waiting: usize, starting: usize) -> usize {
    waiting.saturating_sub(starting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_start_for_each_waiter_and_no_more() {
        for (waiting, starting, expected) in [(0, 0, 0), (1, 0, 1), (1, 1, 0), (3, 1, 2), (0, 2, 0), (2, 5, 0)] {
            assert_eq!(
                starts_needed(waiting, starting),
                expected,
                "{waiting} waiting, {starting} starting"
            );
        }
    }
}
