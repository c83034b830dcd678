//! How many batches of a mapping are run at once: more while all places are taken, fewer when the function is throttled.

/// Places at the beginning, and how many are added at a time. Source: "Configuring scaling behavior" of the Lambda guide.
const STEP: u32 = 5;
/// Places at most where the mapping says nothing: what a batch holds is in memory.
const MOST: u32 = 60;

/// The places of one mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    limit: u32,
    most: u32,
}

impl Scale {
    pub(super) fn new(concurrency: Option<u32>) -> Self {
        let most = concurrency.unwrap_or(MOST).max(1);
        Self {
            limit: STEP.min(most),
            most,
        }
    }

    /// How many batches may run now.
    pub(super) const fn limit(self) -> usize {
        self.limit as usize
    }

    /// All places were taken, and there was more to do.
    pub(super) fn grow(&mut self) {
        self.limit = (self.limit + STEP).min(self.most);
    }

    /// The function had no room.
    pub(super) fn shrink(&mut self) {
        self.limit = (self.limit / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_work() {
        let mut scale = Scale::new(None);
        let grown = |scale: &mut Scale| {
            scale.grow();
            scale.limit()
        };
        assert_eq!((scale.limit(), grown(&mut scale), grown(&mut scale)), (5, 10, 15));
        for _ in 0..20 {
            scale.grow();
        }
        assert_eq!(scale.limit(), 60);
        scale.shrink();
        assert_eq!(scale.limit(), 30);
        for _ in 0..9 {
            scale.shrink();
        }
        assert_eq!(scale.limit(), 1);
        let mut bounded = Scale::new(Some(2));
        assert_eq!((bounded.limit(), grown(&mut bounded)), (2, 2));
    }
}
