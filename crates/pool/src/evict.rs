//! Which idle instances go when memory is needed: those that have been idle longest.

use tokio::time::Instant;

/// An idle instance that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate<K> {
    /// Which.
    pub key: K,
    /// Since when it has been idle.
    pub idle_since: Instant,
    /// What it is charged, MiB.
    pub charge: u64,
}

/// The longest idle candidates whose charges cover `shortage` MiB; `None` if all of them together do not.
pub(crate) fn choose<K>(mut candidates: Vec<Candidate<K>>, shortage: u64) -> Option<Vec<K>> {
    candidates.sort_by_key(|candidate| candidate.idle_since);
    let mut freed = 0;
    let mut chosen = Vec::new();
    for candidate in candidates {
        if freed >= shortage {
            break;
        }
        if candidate.charge > 0 {
            freed += candidate.charge;
            chosen.push(candidate.key);
        }
    }
    (freed >= shortage).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn longest_idle_first_and_no_more_than_needed() {
        let start = Instant::now();
        let candidates: Vec<_> = [('a', 3, 64), ('b', 1, 64), ('c', 2, 100), ('d', 0, 0)]
            .map(|(key, idle_since, charge)| Candidate {
                key,
                idle_since: start + Duration::from_secs(idle_since),
                charge,
            })
            .into();
        let table: [(u64, Option<&[char]>); 6] = [
            (0, Some(&[])),
            (1, Some(&['b'])),
            (64, Some(&['b'])),
            (65, Some(&['b', 'c'])),
            (228, Some(&['b', 'c', 'a'])),
            (229, None),
        ];
        for (shortage, expected) in table {
            assert_eq!(choose(candidates.clone(), shortage).as_deref(), expected, "{shortage}");
        }
    }
}
