//! Words that must not stand in any file, and files that must stand alone.

use super::tree::File;

/// A piece of text that must stay out, assembled so that this file does not hold it.
struct Forbidden {
    text: &'static str,
    why: &'static str,
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        text: concat!("/wo", "rk/"),
        why: "a path of one machine",
    },
    Forbidden {
        text: concat!("/ro", "ot/"),
        why: "a path of one machine",
    },
    Forbidden {
        text: concat!("/ho", "me/"),
        why: "a path of one machine",
    },
    Forbidden {
        text: concat!("registry.", "npmjs"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("py", "pi.org"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("python", "hosted.org"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("index.", "crates.io"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("static.", "crates.io"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("deb.", "debian.org"),
        why: "the host of a package registry",
    },
    Forbidden {
        text: concat!("<<<<", "<<< "),
        why: "an unresolved merge",
    },
    Forbidden {
        text: concat!(">>>>", ">>> "),
        why: "an unresolved merge",
    },
];

/// Where a forbidden text is meant: part of the path, the text, why.
const MEANT: &[(&str, &str, &str)] = &[
    (
        "crates/sandbox-linux/",
        concat!("/ro", "ot/"),
        "what must be hidden from a sandbox",
    ),
    (
        "crates/sonagi/src/build/",
        concat!("/ho", "me/"),
        "the home of a build, and homes in tables of tests",
    ),
    (
        "crates/sandbox-linux/",
        concat!("/ho", "me/"),
        "what must be hidden from a sandbox",
    ),
];

/// Findings over all files.
pub fn check(files: &[File]) -> Vec<String> {
    files.iter().flat_map(file).collect()
}

fn file(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for forbidden in FORBIDDEN.iter().filter(|forbidden| line.contains(forbidden.text)) {
            let meant = |(path, text, _): &&(&str, &str, &str)| file.path.starts_with(path) && *text == forbidden.text;
            if !MEANT.iter().any(|entry| meant(&entry)) {
                findings.push(format!("{}:{}: {}", file.path, number + 1, forbidden.why));
            }
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(format!("{}: does not end with a line break", file.path));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[File {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .len()
    }

    #[test]
    fn every_forbidden_text_is_found() {
        assert_eq!(count("a.md", "nothing\n"), 0);
        for forbidden in FORBIDDEN {
            assert_eq!(
                count("a.md", &format!("x {}y\n", forbidden.text)),
                1,
                "{}",
                forbidden.text
            );
        }
        assert_eq!(count("crates/sandbox-linux/src/a.rs", concat!("/ro", "ot/\n")), 0);
        assert_eq!(count("a.md", "no line break"), 1);
    }
}
