//! One ring of records in a mapped file.
//!
//! The file begins with a page that says what it is; the rest is the ring. A position counts the bytes ever written, a
//! sequence the records. A record is a frame: length, CRC-32 over length, sequence and payload, sequence, payload, padded
//! to eight bytes. It never wraps: what is too small at the end is skipped by a frame without payload, or, where not even
//! that fits, silently. Reading stops at the first frame whose checksum or sequence is not the expected one, which is
//! where writing was cut off, or an older lap.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sonagi_ports::LedgerError;

use super::mapped::Mapped;
use crate::database::RingPosition;
use crate::durable;

/// First bytes of the file; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"SNGRING\x01";
/// Bytes before the ring.
const PREFIX: usize = 4096;
/// Bytes of a frame before its payload.
const HEADER: usize = 16;
/// Length that marks a frame which only skips to the beginning.
const SKIP: u32 = u32::MAX;
/// Longest payload, bytes.
pub(super) const PAYLOAD_MAX: usize = 64 * 1024;

/// A ring. Callers take turns: a lock around it is held for a copy of one record, or of a few while draining.
#[derive(Debug)]
pub(super) struct Ring {
    map: Mapped,
    capacity: u64,
    /// Where the next record goes.
    write: RingPosition,
    /// Where the first record is that was not taken over.
    taken: RingPosition,
}

/// Records read from a ring.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) payloads: Vec<Vec<u8>>,
    /// What to take over up to, once they are kept.
    pub(super) reached: RingPosition,
}

/// What is at a position.
enum Frame {
    Record { payload: std::ops::Range<usize>, next: u64 },
    Skip { next: u64 },
    Nothing,
}

impl Ring {
    /// Opens a ring, or makes one with `capacity` bytes, and looks for the end of what an earlier process wrote after
    /// `taken`.
    pub(super) fn open(path: &Path, capacity: u64, taken: RingPosition) -> io::Result<Self> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, capacity)?,
            Err(error) => return Err(error),
        };
        let map = Mapped::new(&file)?;
        let length = map.bytes().len();
        if length < PREFIX + 2 * PAYLOAD_MAX || !length.is_multiple_of(8) || !map.bytes().starts_with(&MAGIC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a ring of the usage ledger, or a damaged one",
            ));
        }
        let capacity = (length - PREFIX) as u64;
        // Positions are multiples of eight; one that is not can only come from a damaged database.
        let taken = RingPosition {
            position: taken.position.next_multiple_of(8),
            ..taken
        };
        let mut ring = Self {
            map,
            capacity,
            write: taken,
            taken,
        };
        ring.write = ring.end(taken);
        Ok(ring)
    }

    /// Bytes of the ring.
    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether every record was taken over.
    pub(super) const fn is_drained(&self) -> bool {
        self.taken.position == self.write.position
    }

    /// Whether it is time to drain without further delay.
    pub(super) const fn is_half_full(&self) -> bool {
        (self.write.position - self.taken.position) * 2 >= self.capacity
    }

    /// Stores a record. When this returns, the end of the process cannot undo it.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), LedgerError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(LedgerError::TooLarge);
        }
        let needed = frame_size(payload.len());
        let left = self.capacity - self.write.position % self.capacity;
        let skipped = if left < needed { left } else { 0 };
        if self.write.position + skipped + needed > self.taken.position + self.capacity {
            return Err(LedgerError::Full);
        }
        if skipped >= HEADER as u64 {
            self.put(SKIP, &[]);
            self.write.sequence += 1;
        }
        self.write.position += skipped;
        self.put(payload.len() as u32, payload);
        self.write.position += needed;
        self.write.sequence += 1;
        Ok(())
    }

    fn put(&mut self, length: u32, payload: &[u8]) {
        let (at, sequence) = (self.offset(self.write.position), self.write.sequence);
        let crc = checksum(length, sequence, payload);
        let bytes = &mut self.map.bytes_mut()[at..at + HEADER + payload.len()];
        bytes[HEADER..].copy_from_slice(payload);
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes[..4].copy_from_slice(&length.to_le_bytes());
    }

    const fn offset(&self, position: u64) -> usize {
        PREFIX + (position % self.capacity) as usize
    }

    fn frame(&self, position: u64, sequence: u64) -> Frame {
        let left = self.capacity - position % self.capacity;
        if left < HEADER as u64 {
            // Nothing was written here; the frame is at the beginning.
            return self.frame(position + left, sequence);
        }
        let at = self.offset(position);
        let bytes = self.map.bytes();
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (length, crc) = (word(at), word(at + 4));
        let payload = at + HEADER..at + HEADER + if length == SKIP { 0 } else { length as usize };
        let plausible = length == SKIP || (length as usize <= PAYLOAD_MAX && frame_size(length as usize) <= left);
        if !plausible || checksum(length, sequence, &bytes[payload.clone()]) != crc {
            return Frame::Nothing;
        }
        match length {
            SKIP => Frame::Skip { next: position + left },
            _ => Frame::Record {
                next: position + frame_size(length as usize),
                payload,
            },
        }
    }

    /// Follows the frames from a position to where they end.
    fn end(&self, from: RingPosition) -> RingPosition {
        let mut at = from;
        loop {
            match self.frame(at.position, at.sequence) {
                Frame::Record { next, .. } | Frame::Skip { next } if next - from.position <= self.capacity => {
                    at = RingPosition {
                        position: next,
                        sequence: at.sequence + 1,
                        ..at
                    };
                }
                Frame::Record { .. } | Frame::Skip { .. } | Frame::Nothing => return at,
            }
        }
    }

    /// Copies out records from `from` on (the position taken over, or what an earlier batch reached) until a batch has
    /// `bytes` bytes, or no more are there.
    pub(super) fn read(&self, from: Option<RingPosition>, bytes: usize) -> Batch {
        let mut at = from.unwrap_or(self.taken);
        let mut batch = Batch {
            payloads: Vec::new(),
            reached: at,
        };
        let mut copied = 0;
        while at.position < self.write.position && copied < bytes {
            let next = match self.frame(at.position, at.sequence) {
                Frame::Record { payload, next } => {
                    copied += payload.len();
                    batch.payloads.push(self.map.bytes()[payload].to_vec());
                    next
                }
                Frame::Skip { next } => next,
                Frame::Nothing => break,
            };
            at = RingPosition {
                position: next,
                sequence: at.sequence + 1,
                ..at
            };
            batch.reached = at;
        }
        batch
    }

    /// Gives the room of records that were taken over to new ones.
    pub(super) fn release(&mut self, reached: RingPosition) {
        self.taken = reached;
    }
}

/// Bytes of a frame.
const fn frame_size(payload: usize) -> u64 {
    (HEADER + payload).next_multiple_of(8) as u64
}

fn checksum(length: u32, sequence: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&sequence.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Bytes of a ring for which `bytes` were asked: whole pages, and room for a few of the longest records.
pub(super) fn capacity_for(bytes: u64) -> u64 {
    bytes.max(4 * PAYLOAD_MAX as u64).next_multiple_of(4096)
}

/// Makes a ring with all its blocks allocated, under its name only when it is complete.
fn make(path: &Path, capacity: u64) -> io::Result<File> {
    let length = PREFIX as u64 + capacity_for(capacity);
    let folder = durable::parent(path)?;
    let temporary = folder.join(durable::temporary_name());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let filled = fill(&file, length).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = filled {
        // The first failure is the one to report; a leftover is swept at the next start.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    durable::sync_folder(folder)?;
    Ok(file)
}

fn fill(file: &File, length: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => {}
        // A file system without the call: writing zeros allocates as well.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = [0; 65536];
            let mut at = 0;
            while at < length {
                let piece = (length - at).min(zeros.len() as u64);
                file.write_all_at(&zeros[..piece as usize], at)?;
                at += piece;
            }
        }
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(&MAGIC, 0)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 4 * PAYLOAD_MAX as u64;

    fn open(folder: &Path, taken: RingPosition) -> Ring {
        Ring::open(&folder.join("ring"), CAPACITY, taken).unwrap()
    }

    fn texts(batch: &Batch) -> Vec<String> {
        batch
            .payloads
            .iter()
            .map(|payload| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }

    #[test]
    fn records_survive_without_being_closed_and_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = open(folder.path(), RingPosition::default());
        for i in 0..5 {
            ring.append(format!("record {i}").as_bytes()).unwrap();
        }
        drop(ring);
        let mut ring = open(folder.path(), RingPosition::default());
        let batch = ring.read(None, 1);
        assert_eq!(texts(&batch), ["record 0"]);
        let rest = ring.read(Some(batch.reached), usize::MAX);
        assert_eq!(texts(&rest), ["record 1", "record 2", "record 3", "record 4"]);
        ring.release(rest.reached);
        assert!(ring.is_drained());
        drop(ring);
        let ring = open(folder.path(), rest.reached);
        assert!(ring.is_drained());
    }

    #[test]
    fn many_laps_lose_nothing_and_a_full_ring_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = open(folder.path(), RingPosition::default());
        let (mut written, mut seen) = (0_u64, 0_u64);
        let mut taken = RingPosition::default();
        for round in 0..50 {
            let refused = loop {
                let mut payload = written.to_le_bytes().to_vec();
                payload.resize(8 + (written as usize * 7919) % 3000, b'x');
                match ring.append(&payload) {
                    Ok(()) => written += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, LedgerError::Full);
            if round % 3 == 0 {
                drop(ring);
                ring = open(folder.path(), taken);
            }
            let batch = ring.read(None, if round % 2 == 0 { usize::MAX } else { 100_000 });
            for payload in &batch.payloads {
                assert_eq!(u64::from_le_bytes(payload[..8].try_into().unwrap()), seen);
                seen += 1;
            }
            taken = batch.reached;
            ring.release(taken);
        }
        assert!(seen > 1000 && written > seen, "{seen} of {written}");
        assert_eq!(ring.append(&vec![0; PAYLOAD_MAX + 1]), Err(LedgerError::TooLarge));
    }

    #[test]
    fn a_record_cut_off_anywhere_is_left_out_and_those_before_it_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring");
        let mut ring = open(folder.path(), RingPosition::default());
        ring.append(b"whole").unwrap();
        ring.append(b"this one is cut").unwrap();
        drop(ring);
        let whole = fs::read(&path).unwrap();
        let (start, end) = (PREFIX + 24, PREFIX + 24 + HEADER + 15);
        for at in start..end {
            let mut torn = whole.clone();
            torn[at] ^= 0x40;
            if at % 2 == 0 {
                torn[at..end].fill(0);
            }
            fs::write(&path, &torn).unwrap();
            let ring = open(folder.path(), RingPosition::default());
            // The padding and the sequence's copy are not needed to read a record.
            let batch = ring.read(None, usize::MAX);
            let expected: &[&str] = if torn[start + 8..start + 16] != whole[start + 8..start + 16] && at % 2 == 1 {
                &["whole", "this one is cut"]
            } else {
                &["whole"]
            };
            assert_eq!(texts(&batch), expected, "cut at {at}");
        }
    }
}
