//! What a program or library asks of the dynamic loader, read from its file. Nothing is executed.
//!
//! Source: System V gABI, chapters 4 and 5; only 64-bit little-endian files of this machine's kind are read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;

const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const OLD_SEARCH_PATH: u64 = 15;
const SEARCH_PATH: u64 = 29;

/// Longest table and longest string that are believed.
const MOST_HEADERS: u16 = 256;
const MOST_DYNAMIC_BYTES: u64 = 1 << 20;
const LONGEST_STRING: usize = 4096;

/// One program or library.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Elf {
    /// The dynamic loader, for a program that needs one.
    pub(super) loader: Option<String>,
    /// Names of the libraries it needs.
    pub(super) needed: Vec<String>,
    /// Folders in which they are looked for first; may begin with `$ORIGIN`.
    pub(super) search: Vec<String>,
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Elf {
    /// Reads one; `None` when the file is something else, or for another machine.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let mut header = [0; 64];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        // Magic, 64 bits, little-endian.
        if header[..6] != *b"\x7fELF\x02\x01" || u16_at(&header, 18) != MACHINE {
            return Ok(None);
        }
        let (table, size, count) = (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
        if size != 56 || count > MOST_HEADERS {
            return Ok(None);
        }
        let segments = segments(&file, table, count)?;
        let mut elf = Self::default();
        for segment in &segments {
            match segment.kind {
                INTERPRETER => elf.loader = Some(string(&file, segment.offset)?),
                DYNAMIC if segment.size <= MOST_DYNAMIC_BYTES => elf.read_dynamic(&file, segment, &segments)?,
                _ => {}
            }
        }
        Ok(Some(elf))
    }

    fn read_dynamic(&mut self, file: &File, dynamic: &Segment, segments: &[Segment]) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(dynamic.size).unwrap_or(0)];
        file.read_exact_at(&mut bytes, dynamic.offset)?;
        let entries: Vec<(u64, u64)> = bytes
            .chunks_exact(16)
            .map(|entry| (u64_at(entry, 0), u64_at(entry, 8)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let Some(strings) = entries
            .iter()
            .find(|(tag, _)| *tag == STRINGS)
            .map(|(_, address)| *address)
        else {
            return Ok(());
        };
        let loaded = segments.iter().find(|segment| {
            segment.kind == LOAD && strings >= segment.address && strings - segment.address < segment.size
        });
        let Some(loaded) = loaded else { return Ok(()) };
        let strings = loaded.offset + (strings - loaded.address);
        let newer = entries.iter().any(|(tag, _)| *tag == SEARCH_PATH);
        for (tag, value) in entries {
            let at = strings.saturating_add(value);
            match tag {
                NEEDED => self.needed.push(string(file, at)?),
                // The old one counts only without the new one.
                SEARCH_PATH => self.search.extend(folders(&string(file, at)?)),
                OLD_SEARCH_PATH if !newer => self.search.extend(folders(&string(file, at)?)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn folders(list: &str) -> Vec<String> {
    list.split(':')
        .filter(|folder| !folder.is_empty())
        .map(str::to_owned)
        .collect()
}

fn segments(file: &File, table: u64, count: u16) -> io::Result<Vec<Segment>> {
    let mut bytes = vec![0; usize::from(count) * 56];
    file.read_exact_at(&mut bytes, table)?;
    let segment = |header: &[u8]| Segment {
        kind: u32_at(header, 0),
        offset: u64_at(header, 8),
        address: u64_at(header, 16),
        size: u64_at(header, 32),
    };
    Ok(bytes.chunks_exact(56).map(segment).collect())
}

fn string(file: &File, at: u64) -> io::Result<String> {
    let mut bytes = vec![0; LONGEST_STRING];
    let got = file.read_at(&mut bytes, at)?;
    let end = bytes[..got].iter().position(|byte| *byte == 0).unwrap_or(got);
    bytes.truncate(end);
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_needs_the_c_library() {
        let elf = Elf::read(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.so")), "{elf:?}");
        assert!(
            elf.loader.as_ref().is_some_and(|loader| loader.starts_with('/')),
            "{elf:?}"
        );
    }

    #[test]
    fn other_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let other_machine = {
            let mut header = [0_u8; 64];
            header[..6].copy_from_slice(b"\x7fELF\x02\x01");
            header[18] = 3;
            header.to_vec()
        };
        let cases: [&[u8]; 4] = [b"", b"#!/usr/bin/env bash\nexec pyenv", &[0x7f; 200], &other_machine];
        for (i, content) in cases.iter().enumerate() {
            let path = dir.path().join(i.to_string());
            std::fs::write(&path, content).unwrap();
            assert_eq!(Elf::read(&path).unwrap(), None, "{i}");
        }
    }

    #[test]
    fn a_truncated_one_is_an_error_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [63, 64, 100, 500, 4096] {
            let path = dir.path().join("cut");
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(
                !matches!(Elf::read(&path), Ok(Some(elf)) if !elf.needed.is_empty()),
                "{length}"
            );
        }
    }
}
