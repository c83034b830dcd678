//! A store in memory that loses what was not flushed, and refuses what must not happen.

use std::collections::{BTreeMap, BTreeSet};

use sonagi_events::Verdict;
use sonagi_model::{EventId, Timestamp};
use sonagi_ports::{EventHead, EventStatus, Lane, Progress};

/// One event as it is on disk.
#[derive(Debug, Clone)]
pub struct Row {
    pub head: EventHead,
    pub leased: bool,
}

/// What is on disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub pending: BTreeMap<EventId, Row>,
    pub ended: BTreeMap<EventId, (EventStatus, Progress)>,
    /// One for each attempt that began: the event and the attempt's number.
    pub records: BTreeSet<(EventId, u32)>,
}

/// A write on its way to disk.
#[derive(Debug, Clone)]
pub enum Write {
    Accept {
        head: EventHead,
        leased: bool,
    },
    Lease(Vec<EventHead>),
    /// With the number of the attempt that began, if one did.
    Keep {
        head: EventHead,
        verdict: Verdict,
        began: Option<u32>,
    },
}

impl Disk {
    /// Applies a write that has reached the disk; the ids that it leased.
    pub fn apply(&mut self, write: &Write) -> Vec<EventId> {
        match write {
            Write::Accept { head, leased } => {
                let row = Row {
                    head: head.clone(),
                    leased: *leased,
                };
                assert!(self.pending.insert(head.id, row).is_none(), "accepted twice");
                Vec::new()
            }
            Write::Lease(heads) => {
                let mut lease = |head: &&EventHead| {
                    let row = self.pending.get_mut(&head.id);
                    let row =
                        row.filter(|row| !row.leased && (row.head.due, row.head.progress) == (head.due, head.progress));
                    row.map(|row| row.leased = true).is_some()
                };
                heads.iter().filter(|head| lease(head)).map(|head| head.id).collect()
            }
            Write::Keep { head, verdict, began } => {
                self.keep(head, *verdict, *began);
                Vec::new()
            }
        }
    }

    fn keep(&mut self, head: &EventHead, verdict: Verdict, began: Option<u32>) {
        let id = head.id;
        let row = self.pending.get_mut(&id).expect("only pending events are changed");
        assert!(row.leased, "{id} is changed without a lease");
        let (Verdict::Settle { progress, .. } | Verdict::Postpone { progress, .. }) = verdict;
        if let Some(number) = began {
            assert!(
                self.records.insert((id, number)),
                "{id} attempt {number} is metered twice"
            );
            assert_eq!(number, progress.started, "attempts are numbered without gaps");
            assert_eq!(
                number,
                row.head.progress.started + 1,
                "attempts are numbered without gaps"
            );
        } else {
            assert_eq!(
                progress.started, row.head.progress.started,
                "what did not begin has no number"
            );
        }
        match verdict {
            Verdict::Postpone { due, progress } => {
                row.head.due = due;
                row.head.progress = progress;
                row.leased = false;
            }
            Verdict::Settle { status, progress } => {
                self.pending.remove(&id);
                let before = self.ended.insert(id, (status, progress));
                assert!(before.is_none(), "{id} ended twice");
            }
        }
    }

    /// What a start finds: attempts that were under way are metered as lost, and due again.
    pub fn recover(&mut self, now: Timestamp) {
        for row in self.pending.values_mut().filter(|row| row.leased) {
            row.leased = false;
            row.head.progress.started += 1;
            row.head.due = now;
            let fresh = self.records.insert((row.head.id, row.head.progress.started));
            assert!(fresh, "a lost attempt is metered twice");
        }
    }

    pub fn lanes(&self) -> Vec<(Lane, Timestamp)> {
        let mut lanes: BTreeMap<Lane, Timestamp> = BTreeMap::new();
        for row in self.pending.values().filter(|row| !row.leased) {
            let due = lanes.entry(row.head.lane.clone()).or_insert(row.head.due);
            *due = row.head.due.min(*due);
        }
        lanes.into_iter().collect()
    }

    pub fn due(&self, lane: &Lane, now: Timestamp, limit: usize) -> (Vec<EventHead>, Option<Timestamp>) {
        let free = self
            .pending
            .values()
            .filter(|row| !row.leased && row.head.lane == *lane);
        let mut heads: Vec<_> = free.map(|row| row.head.clone()).collect();
        heads.sort_by_key(|head| (head.due, head.id));
        let due = heads.iter().take_while(|head| head.due <= now).count().min(limit);
        let next = heads.get(due).map(|head| head.due);
        heads.truncate(due);
        (heads, next)
    }
}
