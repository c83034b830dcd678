//! Which files of a project are nobody's source: history, caches, installed packages, build output, and whatever the
//! project's `.gitignore` files name.

/// Folders whose changes never matter.
const FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "target",
    "__pycache__",
    ".venv",
    "venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".idea",
    ".vscode",
];

/// What a project ignores. Paths are relative to its root, with `/` between their parts.
#[derive(Debug, Default)]
pub(super) struct Rules {
    patterns: Vec<Pattern>,
}

/// A path's kind, as patterns tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// One line of a `.gitignore`.
#[derive(Debug)]
struct Pattern {
    /// The folder of its file, with a slash at its end unless it is the root.
    base: String,
    parts: Vec<String>,
    /// Matches at its base only, not anywhere below.
    anchored: bool,
    folders_only: bool,
    negated: bool,
}

impl Rules {
    /// Adds the lines of the `.gitignore` in `folder` (empty: the root).
    pub(super) fn read(&mut self, folder: &str, text: &str) {
        let base = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        self.patterns
            .extend(text.lines().filter_map(|line| Pattern::parse(&base, line)));
    }

    /// Whether nobody cares for changes of this path. Folders above it are looked at by the caller, from the top.
    pub(super) fn ignores(&self, path: &str, kind: Kind) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        if kind == Kind::Folder && FOLDERS.contains(&name) || kind == Kind::File && is_scratch(name) {
            return true;
        }
        let decided = self.patterns.iter().rev().find(|pattern| pattern.matches(path, kind));
        decided.is_some_and(|pattern| !pattern.negated)
    }
}

/// Files that editors and interpreters write beside the real ones.
fn is_scratch(name: &str) -> bool {
    name.ends_with('~')
        || name.ends_with(".pyc")
        || name.starts_with(".#")
        || name == "4913"
        || name == ".DS_Store"
        || name.starts_with('.') && (name.ends_with(".swp") || name.ends_with(".swx"))
}

impl Pattern {
    /// Source of the form: gitignore(5), "Pattern format".
    fn parse(base: &str, line: &str) -> Option<Self> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let line = line.strip_prefix('\\').unwrap_or(line);
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let anchored = line.contains('/');
        let parts: Vec<String> = line.trim_start_matches('/').split('/').map(str::to_owned).collect();
        Some(Self {
            base: base.to_owned(),
            parts,
            anchored,
            folders_only,
            negated,
        })
    }

    fn matches(&self, path: &str, kind: Kind) -> bool {
        if self.folders_only && kind != Kind::Folder {
            return false;
        }
        let Some(below) = path.strip_prefix(&self.base) else {
            return false;
        };
        let names: Vec<&str> = below.split('/').collect();
        if self.anchored {
            parts_match(&self.parts, &names)
        } else {
            names
                .last()
                .is_some_and(|name| name_matches(self.parts[0].as_bytes(), name.as_bytes()))
        }
    }
}

fn parts_match(parts: &[String], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((part, rest)), _) if part == "**" => {
            // At the end it means everything inside.
            (rest.is_empty() && !names.is_empty()) || (0..=names.len()).any(|skip| parts_match(rest, &names[skip..]))
        }
        (Some(_), None) => false,
        (Some((part, parts)), Some((name, names))) => {
            name_matches(part.as_bytes(), name.as_bytes()) && parts_match(parts, names)
        }
    }
}

/// `*`, `?` and `[a-z]` within one name. Linear but for one way back, to the last star.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, of));
            at += 1;
        } else if let Some(length) = one_matches(&pattern[at..], name[of]) {
            at += length;
            of += 1;
        } else if let Some((back, from)) = star {
            star = Some((back, from + 1));
            (at, of) = (back + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether the beginning of a pattern matches one byte, and how long that beginning is.
fn one_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] if rest.contains(&b']') => {
            let end = rest.iter().position(|other| *other == b']')?;
            let (negated, class) = match rest[..end].split_first() {
                Some((b'!' | b'^', class)) => (true, class),
                _ => (false, &rest[..end]),
            };
            let hit = match class {
                [from, b'-', to] => (*from..=*to).contains(&byte),
                others => others.contains(&byte),
            };
            (hit != negated).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_gitignore_mean_what_git_means() {
        for (lines, path, kind, expected) in [
            ("", "app.py", Kind::File, false),
            ("", "node_modules", Kind::Folder, true),
            ("", "lib/__pycache__", Kind::Folder, true),
            ("", "target", Kind::File, false),
            ("", ".app.py.swp", Kind::File, true),
            ("", "app.py~", Kind::File, true),
            ("*.log", "a/b.log", Kind::File, true),
            ("*.log", "a/b.logs", Kind::File, false),
            ("*.log\n!keep.log", "keep.log", Kind::File, false),
            ("build/", "build", Kind::Folder, true),
            ("build/", "build", Kind::File, false),
            ("/dist", "dist", Kind::Folder, true),
            ("/dist", "a/dist", Kind::Folder, false),
            ("a/*.txt", "a/b.txt", Kind::File, true),
            ("a/*.txt", "a/c/b.txt", Kind::File, false),
            ("a/**/b.txt", "a/b.txt", Kind::File, true),
            ("a/**/b.txt", "a/c/d/b.txt", Kind::File, true),
            ("out/**", "out/x", Kind::File, true),
            ("**/tmp", "a/b/tmp", Kind::Folder, true),
            ("[ab].py", "a.py", Kind::File, true),
            ("[!ab].py", "a.py", Kind::File, false),
            ("f?.py", "f1.py", Kind::File, true),
            ("# note", "# note", Kind::File, false),
            ("\\#x", "#x", Kind::File, true),
            ("*a*b*c", "xaxbxc", Kind::File, true),
            ("*a*b*c", "xaxbxd", Kind::File, false),
        ] {
            let mut rules = Rules::default();
            rules.read("", lines);
            assert_eq!(rules.ignores(path, kind), expected, "{lines:?} {path}");
        }
        let mut rules = Rules::default();
        rules.read("sub", "/x");
        assert!(rules.ignores("sub/x", Kind::File) && !rules.ignores("x", Kind::File));
    }
}
