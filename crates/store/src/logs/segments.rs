//! The files of one function's lines: numbered segments, of which the newest is written and the oldest go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A function has at most about this many segments.
const SEGMENTS: u64 = 8;
/// Smallest size of a segment, bytes.
const SEGMENT_MIN: u64 = 4096;

/// A segment on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) size: u64,
}

/// Segments of a folder, oldest first; none where there is no folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".jsonl"));
        let Some(number) = name.and_then(|name| name.parse().ok()) else {
            continue;
        };
        match fs::metadata(&path) {
            Ok(metadata) => segments.push(Segment {
                number,
                path,
                size: metadata.len(),
            }),
            // It was the oldest one and went meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// The segments of one function, the newest open for writing.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    limit: u64,
    /// Oldest first; the last one is `file`.
    known: Vec<Segment>,
    file: File,
    /// What is in the file may end within a line.
    torn: bool,
}

impl Segments {
    /// Opens a function's segments, or makes its folder. At most `limit` bytes are kept.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut known = list(folder)?;
        if known.is_empty() {
            known.push(Segment {
                number: 1,
                path: path(folder, 1),
                size: 0,
            });
        }
        let newest = &known[known.len() - 1];
        let file = open(&newest.path)?;
        let torn = ends_within_a_line(&file, newest.size)?;
        Ok(Self {
            folder: folder.to_owned(),
            limit,
            known,
            file,
            torn,
        })
    }

    /// Appends whole lines, each with its end.
    pub(super) fn append(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let room = self.segment_max().saturating_sub(self.newest().size);
            let fitting = whole_lines(lines, room);
            if fitting == 0 && self.newest().size > 0 {
                self.rotate()?;
                continue;
            }
            // A line longer than a segment has one of its own.
            let length = if fitting == 0 { first_line(lines) } else { fitting };
            self.write(&lines[..length])?;
            lines = &lines[length..];
        }
        self.trim()
    }

    fn segment_max(&self) -> u64 {
        (self.limit / SEGMENTS).max(SEGMENT_MIN)
    }

    fn newest(&mut self) -> &mut Segment {
        let last = self.known.len() - 1;
        &mut self.known[last]
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        let written = if torn { self.file.write_all(b"\n") } else { Ok(()) }.and_then(|()| self.file.write_all(bytes));
        // After a failure, part of it may be there.
        self.newest().size = self.file.metadata()?.len();
        self.torn = written.is_err();
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.newest().number + 1;
        let path = path(&self.folder, number);
        self.file = open(&path)?;
        self.torn = false;
        self.known.push(Segment { number, path, size: 0 });
        self.trim()
    }

    /// Removes the oldest segments while all of them together are more than allowed.
    fn trim(&mut self) -> io::Result<()> {
        while self.known.len() > 1 && self.known.iter().map(|segment| segment.size).sum::<u64>() > self.limit {
            fs::remove_file(&self.known[0].path)?;
            self.known.remove(0);
        }
        Ok(())
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.jsonl"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn ends_within_a_line(file: &File, size: u64) -> io::Result<bool> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

fn first_line(lines: &[u8]) -> usize {
    lines
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(lines.len(), |end| end + 1)
}

/// Bytes of the whole lines at the beginning that fit into `room`.
fn whole_lines(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    lines[..room]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_whole_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(folder.path(), 40_000).unwrap();
        let mut written = 0;
        for batch in 0..100 {
            let mut lines = String::new();
            for _ in 0..batch % 7 {
                lines.push_str(&format!("{written:06} {}\n", "x".repeat((written * 37) % 900)));
                written += 1;
            }
            segments.append(lines.as_bytes()).unwrap();
            if batch % 10 == 0 {
                segments = Segments::open(folder.path(), 40_000).unwrap();
            }
            let kept = list(folder.path()).unwrap();
            assert!(kept.iter().map(|segment| segment.size).sum::<u64>() <= 40_000);
            assert!(kept.iter().all(|segment| segment.size <= 5_000));
        }
        let text: String = list(folder.path())
            .unwrap()
            .iter()
            .map(|s| fs::read_to_string(&s.path).unwrap())
            .collect();
        let numbers: Vec<usize> = text.lines().map(|line| line[..6].parse().unwrap()).collect();
        assert_eq!(
            numbers,
            (numbers[0]..written).collect::<Vec<_>>(),
            "nothing is missing in what is kept"
        );
        assert!(numbers.len() > 50 && numbers[0] > 0);
    }

    #[test]
    fn a_line_cut_off_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        Segments::open(folder.path(), 40_000)
            .unwrap()
            .append(b"one\ntwo\n")
            .unwrap();
        let path = list(folder.path()).unwrap()[0].path.clone();
        fs::write(&path, "one\ntw").unwrap();
        Segments::open(folder.path(), 40_000)
            .unwrap()
            .append(b"three\n")
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\n");
    }

    #[test]
    fn a_line_longer_than_a_segment_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(folder.path(), 40_000).unwrap();
        let long = format!("{}\n", "y".repeat(20_000));
        segments.append(format!("a\n{long}b\n").as_bytes()).unwrap();
        let sizes: Vec<u64> = list(folder.path())
            .unwrap()
            .iter()
            .map(|segment| segment.size)
            .collect();
        assert_eq!(sizes, [2, 20_001, 2]);
    }
}
