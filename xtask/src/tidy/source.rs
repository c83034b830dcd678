//! Rules about Rust files: what each opens with, what none has, and that the core names no provider.

use super::tree::File;

/// Words that no file under `crates/` has in its code.
const PROVIDERS: &[&str] = &["aws", "lambda", "azure", "openwhisk", "knative", "riff", "gcp"];

/// Where a provider is named on purpose: path, why.
const NAMED_ON_PURPOSE: &[(&str, &str)] = &[
    ("crates/server/", "the composition root registers each provider"),
    (
        "crates/sonagi/",
        "the command line recognizes projects by their provider's conventions",
    ),
];

/// Macros that mark unfinished code, without their exclamation mark.
const UNFINISHED: &[&str] = &["todo", "unimplemented"];

/// Findings over all Rust files.
pub fn check(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(file)
        .collect()
}

fn file(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//! ") {
        findings.push(format!(
            "{}: does not open with a line that says what it is for (//!)",
            file.path
        ));
    }
    let code = without_comments(&file.text);
    for (number, line) in code.lines().enumerate() {
        for name in UNFINISHED.iter().filter(|name| line.contains(&format!("{name}!"))) {
            findings.push(format!("{}:{}: {name}! marks unfinished code", file.path, number + 1));
        }
    }
    if is_core(&file.path) {
        let shipped = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            for name in words(line).filter(|word| PROVIDERS.contains(&word.as_str())) {
                findings.push(format!(
                    "{}:{}: the core names a provider: {name}",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    findings
}

fn is_core(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && !NAMED_ON_PURPOSE.iter().any(|(folder, _)| path.starts_with(folder))
}

/// Words of a line in lower case; `AwsName` and `aws_name` both have the word `aws`.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in line.chars() {
        if !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && previous.is_ascii_lowercase()) {
            words.push(String::new());
        }
        if c.is_ascii_alphabetic() {
            words.last_mut().expect("never empty").push(c.to_ascii_lowercase());
        }
        previous = c;
    }
    words.into_iter()
}

/// The text with comments blanked out, line by line in place. Strings stay: a name in a string is a name.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            &rest[..end]
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
            code.extend(rest[..end].chars().filter(|c| *c == '\n'));
            &rest[..end]
        } else {
            let taken = if first == '"' {
                string(rest)
            } else {
                &rest[..first.len_utf8()]
            };
            code.push_str(taken);
            taken
        };
        rest = &rest[taken.len()..];
    }
    code
}

/// The string literal at the beginning of the text, so that `//` in it begins no comment.
fn string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // The character literal '"' looks like the beginning of a string; a string on one line ends there.
            '"' | '\n' => return &text[..=at],
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[File {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn a_file_without_purpose_and_unfinished_code_are_found() {
        assert!(found("a.rs", "//! For x.\nfn f() {}\n").is_empty());
        assert_eq!(found("a.rs", "fn f() {}\n").len(), 1);
        for name in UNFINISHED {
            let text = format!("//! For x.\nfn f() {{ {name}!() }}\n");
            assert_eq!(found("a.rs", &text).len(), 1, "{text}");
            assert!(found("a.rs", &format!("//! Never {name}!\n")).is_empty());
        }
    }

    #[test]
    fn a_provider_in_the_core_is_found_in_names_and_strings() {
        let cases = [
            ("let aws_key = 1;", 1),
            ("struct LambdaError;", 1),
            ("if provider == \"azure\" {}", 1),
            ("use sonagi_aws::x;", 1),
            ("// as AWS does", 0),
            ("/* as\nAWS */ let x = 1;", 0),
            ("let jaws = claws;", 0),
            ("let url = \"http://x\"; // aws", 0),
            ("let url = \"http://aws\";", 1),
            ("let quote = '\"';\n// aws", 0),
            ("#[cfg(test)]\nmod tests { const NAME: &str = \"aws\"; }", 0),
        ];
        for (code, count) in cases {
            let text = format!("//! For x.\n{code}\n");
            assert_eq!(found("crates/pool/src/a.rs", &text).len(), count, "{code}");
            assert!(found("crates/server/src/a.rs", &text).is_empty(), "{code}");
            assert!(found("providers/aws/src/a.rs", &text).is_empty(), "{code}");
            assert!(found("crates/pool/tests/it/a.rs", &text).is_empty(), "{code}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let findings = found("crates/pool/src/a.rs", "//! For x.\n/* a\nb */\nlet aws = 1;\n");
        assert!(findings[0].starts_with("crates/pool/src/a.rs:4:"), "{findings:?}");
    }
}
