//! Decides what an archive's entries become, before anything is written: which paths, of which kind, below which others.

use std::collections::BTreeMap;

use sonagi_model::ArchiveLimits;
use sonagi_ports::ArchiveProblem;

use super::headers::Header;

/// Longest name of one file, as Linux file systems have it.
const NAME_MAX: usize = 255;
/// Symbolic links followed on the way to a target, as Linux does.
const LINKS_MAX: usize = 40;

const TYPE: u32 = 0o170_000;
const ANY_EXECUTE: u32 = 0o111;

/// What a path becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A folder; `listed`: an entry of its own names it.
    Folder { listed: bool },
    /// A file out of the entry at `index`. Of its mode only this is kept.
    File { index: usize, executable: bool },
    /// A symbolic link, whose target is the content of the entry at `index`.
    Link { index: usize },
}

/// Every path of the tree, below its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) nodes: BTreeMap<String, Node>,
}

/// Checks every entry against the rules and the limits.
///
/// # Errors
/// [`ArchiveProblem`].
pub(super) fn plan(headers: &[Header], packed: u64, limits: &ArchiveLimits) -> Result<Plan, ArchiveProblem> {
    let mut unpacked = 0_u64;
    let mut plan = Plan { nodes: BTreeMap::new() };
    for (index, header) in headers.iter().enumerate() {
        let path = path(header, limits)?;
        let node = node(header, index)?;
        match node {
            Node::File { .. } => unpacked = unpacked.saturating_add(header.size),
            Node::Link { .. } if header.size > limits.path_bytes as u64 => {
                return Err(ArchiveProblem::Path {
                    entry: header.shown(),
                    reason: "its target is too long",
                });
            }
            Node::Folder { .. } | Node::Link { .. } => {}
        }
        check_size(unpacked, packed, limits)?;
        if path.is_empty() {
            // The root itself, as some writers list it.
            continue;
        }
        plan.add_parents(header, &path)?;
        plan.add(header, path, node)?;
        // Folders that no entry lists come on top, and many could be hidden in few deep paths.
        if plan.nodes.len() > limits.entries.saturating_mul(2) {
            return Err(ArchiveProblem::Entries {
                actual: plan.nodes.len(),
                limit: limits.entries,
            });
        }
    }
    Ok(plan)
}

/// Checks the bytes of all files together, claimed or counted.
pub(super) fn check_size(unpacked: u64, packed: u64, limits: &ArchiveLimits) -> Result<(), ArchiveProblem> {
    if unpacked > limits.unpacked {
        return Err(ArchiveProblem::UnpackedSize { limit: limits.unpacked });
    }
    if unpacked > packed.saturating_mul(limits.ratio) {
        return Err(ArchiveProblem::Ratio { limit: limits.ratio });
    }
    Ok(())
}

/// The path of an entry below the root, without a slash at its end.
fn path(header: &Header, limits: &ArchiveLimits) -> Result<String, ArchiveProblem> {
    let refuse = |reason| {
        Err(ArchiveProblem::Path {
            entry: header.shown(),
            reason,
        })
    };
    let Ok(name) = std::str::from_utf8(&header.name) else {
        return refuse("its name is not UTF-8");
    };
    if name.len() > limits.path_bytes {
        return refuse("its path is too long");
    }
    if let Some(reason) = bad_characters(name) {
        return refuse(reason);
    }
    if name.starts_with('/') {
        return refuse("its path is absolute");
    }
    if name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic() {
        return refuse("its path begins with a drive letter");
    }
    let mut parts = Vec::new();
    for part in name.strip_suffix('/').unwrap_or(name).split('/') {
        match part {
            "." => {}
            "" => return refuse("its path has an empty part"),
            ".." => return refuse("its path leaves the archive"),
            part if part.len() > NAME_MAX => return refuse("its path has a part that is too long"),
            part => parts.push(part),
        }
    }
    if parts.len() > limits.depth + 1 {
        return refuse("its path is too deep");
    }
    Ok(parts.join("/"))
}

fn bad_characters(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("its path is empty");
    }
    if text.contains('\\') {
        return Some("its path has a backslash");
    }
    text.chars()
        .any(char::is_control)
        .then_some("its path has a control character")
}

/// What an entry is. Its name decides whether it is a folder; its mode has to agree.
fn node(header: &Header, index: usize) -> Result<Node, ArchiveProblem> {
    let refuse = |kind| {
        Err(ArchiveProblem::Kind {
            entry: header.shown(),
            kind,
        })
    };
    if header.hard_link {
        return refuse("hard link");
    }
    let slash = header.name.ends_with(b"/");
    match header.unix_mode & TYPE {
        0 | 0o040_000 | 0o100_000 if slash && header.size == 0 => Ok(Node::Folder { listed: true }),
        0 | 0o040_000 | 0o100_000 if slash => refuse("folder with content"),
        0 | 0o100_000 => Ok(Node::File {
            index,
            executable: header.unix_mode & ANY_EXECUTE != 0,
        }),
        0o040_000 => refuse("folder without a slash at the end of its name"),
        0o120_000 if !slash => Ok(Node::Link { index }),
        0o120_000 => refuse("symbolic link with a slash at the end of its name"),
        0o010_000 => refuse("named pipe"),
        0o020_000 => refuse("character device"),
        0o060_000 => refuse("block device"),
        0o140_000 => refuse("socket"),
        _ => refuse("file of an unknown kind"),
    }
}

impl Plan {
    fn add_parents(&mut self, header: &Header, path: &str) -> Result<(), ArchiveProblem> {
        for (end, _) in path.match_indices('/') {
            match self.nodes.get(&path[..end]) {
                None => drop(
                    self.nodes
                        .insert(path[..end].to_owned(), Node::Folder { listed: false }),
                ),
                Some(Node::Folder { .. }) => {}
                Some(Node::File { .. } | Node::Link { .. }) => {
                    let reason = "is below an entry that is no folder";
                    return Err(ArchiveProblem::Conflict {
                        entry: header.shown(),
                        reason,
                    });
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, header: &Header, path: String, node: Node) -> Result<(), ArchiveProblem> {
        let reason = match (self.nodes.get(&path), &node) {
            (None, _) | (Some(Node::Folder { listed: false }), Node::Folder { .. }) => {
                self.nodes.insert(path, node);
                return Ok(());
            }
            (Some(Node::Folder { .. }), Node::File { .. } | Node::Link { .. }) => {
                "has others below it and is no folder"
            }
            (Some(_), _) => "appears twice",
        };
        Err(ArchiveProblem::Conflict {
            entry: header.shown(),
            reason,
        })
    }

    /// Checks that each link leads to something in the tree, through whatever other links.
    pub(super) fn check_links(&self, targets: &BTreeMap<String, String>) -> Result<(), ArchiveProblem> {
        for (path, target) in targets {
            let mut at: Vec<&str> = path.split('/').collect();
            at.pop();
            let checked = match bad_characters(target) {
                Some(_) => Err("its target has characters that no path may have"),
                None => self.follow(targets, &mut at, target, &mut 0),
            };
            checked.map_err(|reason| ArchiveProblem::Path {
                entry: path.clone(),
                reason,
            })?;
        }
        Ok(())
    }

    /// Goes from the folder `at` to what `target` names.
    fn follow<'a>(
        &self,
        targets: &'a BTreeMap<String, String>,
        at: &mut Vec<&'a str>,
        target: &'a str,
        links: &mut usize,
    ) -> Result<(), &'static str> {
        if target.starts_with('/') {
            return Err("it links to an absolute path");
        }
        for part in target.split('/') {
            let here = at.join("/");
            if !here.is_empty() && !matches!(self.nodes.get(&here), Some(Node::Folder { .. })) {
                return Err("it links to nothing in the archive");
            }
            match part {
                "" | "." => {}
                ".." => drop(at.pop().ok_or("it links to a path outside the archive")?),
                part => at.push(part),
            }
            let here = at.join("/");
            match self.nodes.get(&here) {
                Some(Node::Link { .. }) => {
                    *links += 1;
                    if *links > LINKS_MAX {
                        return Err("it links to itself through others");
                    }
                    at.pop();
                    let next = targets.get(&here).ok_or("it links to nothing in the archive")?;
                    self.follow(targets, at, next, links)?;
                }
                Some(Node::Folder { .. } | Node::File { .. }) => {}
                None if here.is_empty() => {}
                None => return Err("it links to nothing in the archive"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8], unix_mode: u32) -> Header {
        Header {
            name: name.to_vec(),
            unix_mode,
            hard_link: false,
            size: 0,
            offset: 0,
            data: 0..0,
        }
    }

    fn plan_of(names: &[&str]) -> Result<Plan, ArchiveProblem> {
        let headers: Vec<_> = names.iter().map(|name| header(name.as_bytes(), 0)).collect();
        plan(&headers, 100, &ArchiveLimits::default())
    }

    #[test]
    fn paths_that_could_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(34);
        let bad: [&[u8]; 16] = [
            b"/etc/passwd",
            b"../x",
            b"a/../../x",
            b"a/..",
            b"a\\b",
            b"c:/x",
            b"C:x",
            b"a//b",
            b"",
            b"a\0b",
            b"a\nb",
            b"a\x7f",
            b"\xff",
            "a\u{85}b".as_bytes(),
            long.as_bytes(),
            deep.as_bytes(),
        ];
        for name in bad {
            let refused = plan(&[header(name, 0)], 100, &ArchiveLimits::default());
            assert!(
                matches!(refused, Err(ArchiveProblem::Path { .. })),
                "{name:?}: {refused:?}"
            );
        }
        let good = plan_of(&["./", "./a/b", "..c/...", "a/é", "xy:"]).unwrap();
        assert_eq!(
            good.nodes.keys().collect::<Vec<_>>(),
            ["..c", "..c/...", "a", "a/b", "a/é", "xy:"]
        );
    }

    #[test]
    fn two_claims_to_one_path_are_refused() {
        for names in [
            &["a", "a"][..],
            &["a", "./a"],
            &["a/", "a/"],
            &["a", "a/"],
            &["a/", "a"],
            &["a", "a/b"],
            &["a/b", "a"],
        ] {
            let refused = plan_of(names);
            assert!(
                matches!(refused, Err(ArchiveProblem::Conflict { .. })),
                "{names:?}: {refused:?}"
            );
        }
        assert!(plan_of(&["a/b", "a/", "a/c"]).is_ok());
    }

    #[test]
    fn only_files_folders_and_links_have_a_place() {
        for (mode, fits) in [
            (0, true),
            (0o100_644, true),
            (0o104_755, true),
            (0o120_777, true),
            (0o644, true),
            (0o010_644, false),
            (0o020_644, false),
            (0o060_644, false),
            (0o140_644, false),
            (0o040_755, false),
            (0o150_000, false),
        ] {
            let planned = plan(&[header(b"x", mode)], 100, &ArchiveLimits::default());
            assert_eq!(planned.is_ok(), fits, "{mode:o}: {planned:?}");
        }
        assert!(matches!(
            node(&header(b"x", 0o104_711), 0),
            Ok(Node::File { executable: true, .. })
        ));
        assert!(matches!(
            node(&header(b"x", 0o600), 0),
            Ok(Node::File { executable: false, .. })
        ));
    }

    #[test]
    fn links_stay_inside_through_whatever_others() {
        let check = |links: &[(&str, &str)]| {
            let mut headers = vec![header(b"d/f", 0), header(b"d/e/g", 0)];
            headers.extend(links.iter().map(|(path, _)| header(path.as_bytes(), 0o120_777)));
            let plan = plan(&headers, 100, &ArchiveLimits::default()).unwrap();
            let targets = links
                .iter()
                .map(|(path, target)| ((*path).to_owned(), (*target).to_owned()))
                .collect();
            plan.check_links(&targets).is_ok()
        };
        for good in [
            &[("l", "d/f")][..],
            &[("l", "./d//e/")],
            &[("d/l", "../d/f")],
            &[("d/e/l", "../../d/e/../f")],
            &[("l", ".")],
            &[("a", "b"), ("b", "d")],
            &[("a", "d/e"), ("b", "a/g")],
            &[("d/up", ".."), ("x", "d/up/d/f")],
        ] {
            assert!(check(good), "{good:?}");
        }
        for bad in [
            &[("l", "/etc/passwd")][..],
            &[("l", "..")],
            &[("d/l", "../..")],
            &[("l", "d/e/../../../x")],
            &[("l", "none")],
            &[("l", "l")],
            &[("a", "b"), ("b", "a")],
            &[("l", "d/f/..")],
            &[("l", "d/f/")],
            &[("l", "")],
            &[("l", "d\\f")],
            &[("d/up", "../d/.."), ("x", "d/up/..")],
            &[("a", "d"), ("b", "a/../../x")],
        ] {
            assert!(!check(bad), "{bad:?}");
        }
    }
}
