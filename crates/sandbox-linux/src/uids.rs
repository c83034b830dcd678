//! Host user ids for instances: each live one has its own, so that what the kernel counts per user is counted per
//! instance, and nobody can signal or inspect anybody else.

use std::collections::VecDeque;
use std::ops::Range;

/// Ids of one node. Those given back are used again last.
#[derive(Debug)]
pub(crate) struct Uids {
    free: VecDeque<u32>,
    total: usize,
}

impl Uids {
    pub(crate) fn new(range: Range<u32>) -> Self {
        let free: VecDeque<u32> = range.collect();
        Self {
            total: free.len(),
            free,
        }
    }

    /// An id that nobody has.
    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop_front()
    }

    /// Takes an id back. Only when nothing of its instance is left.
    pub(crate) fn give_back(&mut self, uid: u32) {
        self.free.push_back(uid);
    }

    /// How many there are, free or not.
    pub(crate) fn total(&self) -> usize {
        self.total
    }
}

/// The line of `/etc/passwd` or `/etc/subuid` that claims an id of the range, if there is one.
pub(crate) fn claimed<'a>(range: &Range<u32>, passwd: &'a str, subuid: &'a str) -> Option<&'a str> {
    let overlaps =
        |first: u64, count: u64| first < u64::from(range.end) && u64::from(range.start) < first.saturating_add(count);
    let number = |field: Option<&str>| field.and_then(|text| text.trim().parse::<u64>().ok());
    let user = passwd
        .lines()
        .find(|line| number(line.split(':').nth(2)).is_some_and(|uid| overlaps(uid, 1)));
    user.or_else(|| {
        subuid.lines().find(|line| {
            let mut fields = line.split(':').skip(1);
            match (number(fields.next()), number(fields.next())) {
                (Some(first), Some(count)) => overlaps(first, count),
                _ => false,
            }
        })
    })
}

/// The part of `reserved` that a node takes: so many ids, at a place that follows from its name, `attempt` parts further.
/// `None` when `reserved` is too small.
pub(crate) fn block(reserved: &Range<u32>, count: u32, name_hash: u64, attempt: u64) -> Option<Range<u32>> {
    let blocks = u64::from(reserved.end.checked_sub(reserved.start)?.checked_div(count)?);
    let index = name_hash.checked_rem(blocks)?.wrapping_add(attempt) % blocks;
    let first = reserved.start + u32::try_from(index).ok()? * count;
    Some(first..first + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_rest_before_they_are_used_again() {
        let mut uids = Uids::new(10..12);
        assert_eq!((uids.take(), uids.take(), uids.take()), (Some(10), Some(11), None));
        uids.give_back(11);
        uids.give_back(10);
        assert_eq!((uids.take(), uids.total()), (Some(11), 2));
    }

    #[test]
    fn ids_of_others_are_found() {
        let passwd = "root:x:0:0::/:/bin/sh\nmallory:x:105:1::/:/bin/sh\nbroken\n";
        let subuid = "carol:1000:100\nbroken:x\n";
        for (range, expected) in [
            (1..100, None),
            (100..106, Some("mallory:x:105:1::/:/bin/sh")),
            (106..1000, None),
            (500..1001, Some("carol:1000:100")),
            (1099..2000, Some("carol:1000:100")),
            (1100..2000, None),
        ] {
            assert_eq!(claimed(&range, passwd, subuid), expected, "{range:?}");
        }
    }

    #[test]
    fn blocks_stay_within_what_is_reserved() {
        assert_eq!(block(&(100..200), 30, 0, 0), Some(100..130));
        assert_eq!(block(&(100..200), 30, 2, 0), Some(160..190));
        assert_eq!(block(&(100..200), 30, 2, 1), Some(100..130), "around the end");
        assert_eq!(block(&(100..200), 30, u64::MAX, 0), Some(100..130));
        assert_eq!(block(&(100..110), 30, 0, 0), None);
        assert_eq!(block(&(100..110), 0, 0, 0), None);
    }
}
