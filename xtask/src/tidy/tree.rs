//! The files of the checkout that git tracks or would track.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::shell;

/// From how many lines on a file is worth a second look.
const LONG: usize = 400;

/// A text file.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the top of the checkout, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// All text files that are tracked, or new and not ignored. Files that are not UTF-8 are left out.
///
/// # Errors
/// git cannot list them.
pub fn files(checkout: &Checkout) -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(checkout.root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = shell::read(&mut git)?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // A file that was deleted but is still in the index cannot be read: it is not there.
    let read = |path: &str| {
        Some(File {
            path: path.to_owned(),
            text: fs::read_to_string(checkout.path(path)).ok()?,
        })
    };
    Ok(paths.filter_map(read).collect())
}

/// Long source files, longest first: a report, not a finding.
pub fn long_files(files: &[File]) -> Vec<String> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    let mut long: Vec<_> = sources.map(|file| (file.text.lines().count(), &file.path)).collect();
    long.retain(|(lines, _)| *lines > LONG);
    long.sort_unstable_by(|a, b| b.cmp(a));
    long.iter()
        .map(|(lines, path)| format!("{path} has {lines} lines, more than {LONG}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sources_are_reported_longest_first() {
        let file = |path: &str, lines: usize| File {
            path: path.to_owned(),
            text: "x\n".repeat(lines),
        };
        let files = [
            file("a.rs", 401),
            file("b.rs", 400),
            file("c.rs", 900),
            file("d.md", 5000),
        ];
        let notes = long_files(&files);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("c.rs has 900"), "{notes:?}");
    }
}
