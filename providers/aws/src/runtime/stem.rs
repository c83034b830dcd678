//! Runtimes that are booted ahead of demand: what is booted, and which launches it fits.
//!
//! A stem is the interpreter with our bootstrap in it, which waits to be told its function. Whatever an interpreter takes
//! from its environment or command line while it boots is therefore decided before the function is known: a function
//! that wants it otherwise is started anew instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sonagi_model::Mebibytes;
use sonagi_ports::{Interpreter, Language, Stem};

use super::launch::{self, EXEC_WRAPPER};

/// Tells our bootstraps that they are to wait for a function.
pub(super) const STEM_VARIABLE: &str = "_SONAGI_STEM";

/// Beginnings of the names of variables that the loader, the C library or the interpreter read while they boot.
/// Sources: ld.so(8), mallopt(3), locale(7), "Command line and environment" of CPython 3.11, "Command-line API" of Node 22.
const READ_AT_BOOT: &[&str] = &[
    "LD_", "MALLOC_", "GLIBC_", "GCONV_", "LC_", "LANG", "LOCPATH", "NLSPATH",
];
const READ_BY_PYTHON: &[&str] = &["PYTHON"];
const READ_BY_NODE: &[&str] = &["NODE_", "UV_", "OPENSSL_", "SSL_CERT_", "ICU_"];

/// What to boot for functions with this memory; `environment` is the platform's part of theirs.
pub(super) fn of(interpreter: &Interpreter, memory: Mebibytes, mut environment: Vec<(String, String)>) -> Stem {
    environment.push((STEM_VARIABLE.to_owned(), "1".to_owned()));
    Stem {
        program: launch::managed_program(interpreter, memory, None),
        environment,
        forks: interpreter.language == Language::Python,
    }
}

/// Whether a function with these variables may be run by a runtime that was booted without them.
pub(super) fn fits(stem: &Stem, language: Language, variables: &BTreeMap<String, String>) -> bool {
    let own = match language {
        Language::Python => READ_BY_PYTHON,
        Language::Node => READ_BY_NODE,
    };
    let read_at_boot = |name: &str| READ_AT_BOOT.iter().chain(own).any(|begin| name.starts_with(begin));
    let booted_with = |name: &str| {
        let found = stem.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    variables.iter().all(|(name, value)| match name.as_str() {
        EXEC_WRAPPER => value.is_empty(),
        name => !read_at_boot(name) || booted_with(name) == Some(value.as_str()),
    })
}

/// Whether the code brings shared libraries where only the dynamic loader looks for them (`LD_LIBRARY_PATH` names the
/// code's root and its `lib`). A loader that has booted without these folders believes for ever that they do not exist.
pub(super) fn brings_libraries(tree: &Path) -> bool {
    if tree.join("lib").is_dir() {
        return true;
    }
    fs::read_dir(tree).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(b"lib") && name.windows(3).any(|part| part == b".so")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem() -> Stem {
        Stem {
            program: Vec::new(),
            environment: vec![("LANG".to_owned(), "en_US.UTF-8".to_owned())],
            forks: false,
        }
    }

    #[test]
    fn what_is_read_at_boot_decides() {
        let fits = |language, name: &str, value: &str| {
            let variables = [(name.to_owned(), value.to_owned())].into();
            fits(&stem(), language, &variables)
        };
        use Language::{Node, Python};
        for (language, name, value, expected) in [
            (Python, "STAGE", "test", true),
            (Python, "TZ", "Asia/Seoul", true),
            (Python, "LANG", "en_US.UTF-8", true),
            (Python, "LANG", "ko_KR.UTF-8", false),
            (Python, "LD_PRELOAD", "/var/task/x.so", false),
            (Python, "PYTHONUNBUFFERED", "1", false),
            (Python, "NODE_OPTIONS", "--enable-source-maps", true),
            (Node, "NODE_OPTIONS", "--enable-source-maps", false),
            (Node, "PYTHONPATH", "x", true),
            (Node, "AWS_LAMBDA_EXEC_WRAPPER", "/opt/wrap", false),
            (Node, "AWS_LAMBDA_EXEC_WRAPPER", "", true),
        ] {
            assert_eq!(fits(language, name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn libraries_for_the_loader_are_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("app.py"), "").unwrap();
        fs::write(dir.path().join("_x.cpython-311-x86_64-linux-gnu.so"), "").unwrap();
        assert!(!brings_libraries(dir.path()));
        fs::write(dir.path().join("libfoo.so.3"), "").unwrap();
        assert!(brings_libraries(dir.path()));
        let other = tempfile::tempdir().unwrap();
        fs::create_dir(other.path().join("lib")).unwrap();
        assert!(brings_libraries(other.path()));
    }
}
