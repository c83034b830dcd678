//! Reading and writing the small text files of a control group through a descriptor of its folder.
//!
//! No path is ever walked here, so nothing that happens to the tree above can redirect a write, and no call allocates
//! except those that return text.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Longest file read: `memory.stat` is the largest one used, about 3 KiB on Linux 6.18.
const LONGEST: usize = 16 * 1024;

/// Opens a folder for use with the other functions.
pub(super) fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens one file of a group.
pub(super) fn open(dir: BorrowedFd<'_>, name: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, access | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` in one call, which is how the kernel wants it.
pub(super) fn write(dir: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Errno> {
    let file = open(dir, name, OFlags::WRONLY)?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes())).map(drop)
}

/// Writes `value`; a file that this kernel does not have is no error.
pub(super) fn write_if_present(dir: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Errno> {
    match write(dir, name, value) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Reads a whole file.
pub(super) fn read(dir: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    read_from_start(open(dir, name, OFlags::RDONLY)?.as_fd())
}

/// Reads an open file from its beginning, whatever its position.
pub(super) fn read_from_start(file: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while text.len() < LONGEST {
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer, text.len() as u64))?;
        if got == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..got]);
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

/// Reads a file that holds one number. `max`, which means no limit, reads as the largest one.
pub(super) fn read_number(dir: BorrowedFd<'_>, name: &str) -> Result<u64, Errno> {
    number(&read(dir, name)?).ok_or(Errno::INVAL)
}

/// Reads an open file that holds one number from its beginning, in one call. `max` reads as the largest one.
pub(super) fn read_number_from_start(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    // The longest is a number of twenty digits and the end of its line.
    let mut buffer = [0; 32];
    let got = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer, 0))?;
    let text = std::str::from_utf8(&buffer[..got]).map_err(|_| Errno::ILSEQ)?;
    number(text).ok_or(Errno::INVAL)
}

/// The number in a one-line file.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

/// The number after `key` in a file of `key value` lines.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "oom 3\noom_kill 7\noom_group_kill 0\n";
        for (key, expected) in [
            ("oom", Some(3)),
            ("oom_kill", Some(7)),
            ("oom_group", None),
            ("kill", None),
        ] {
            assert_eq!(field(text, key), expected, "{key}");
        }
        assert_eq!(number("max\n"), Some(u64::MAX));
        assert_eq!(number("12\n"), Some(12));
        assert_eq!(number("-1\n"), None);
    }
}
