//! Runtimes: what a `func.yaml` asks for, what this host has, what a revision names.

use sonagi_ports::{Interpreter, Interpreters, Language};

/// A runtime as revisions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime<'a> {
    /// An interpreter of the host, of this version.
    Managed(Language, &'a str),
    /// A program of the function's own.
    Native,
}

/// The name of programs of a function's own.
pub(crate) const NATIVE: &str = "native";
/// Versions that are taken first where a function asks for none.
const FAVORITES: [(Language, &str); 2] = [(Language::Python, "3.11"), (Language::Node, "20")];

impl<'a> Runtime<'a> {
    /// The runtime of a revision.
    pub(crate) fn of(name: &'a str) -> Option<Self> {
        if name == NATIVE {
            return Some(Self::Native);
        }
        let version = |rest: &'a str| rest.starts_with(|c: char| c.is_ascii_digit()).then_some(rest);
        if let Some(rest) = name.strip_prefix("python") {
            return Some(Self::Managed(Language::Python, version(rest)?));
        }
        Some(Self::Managed(Language::Node, version(name.strip_prefix("node")?)?))
    }
}

/// The name that a revision gets for an interpreter.
pub(crate) fn name_of(interpreter: &Interpreter) -> String {
    let mut parts = interpreter.version.split('.');
    let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    match interpreter.language {
        Language::Python => format!("python{major}.{minor}"),
        Language::Node => format!("node{major}"),
    }
}

/// What a `func.yaml` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A language, of this version if it says one.
    Language(Language, String),
    /// A program that the folder brings.
    Native,
}

/// Reads the runtime of a `func.yaml`. Some languages compile to a program; whoever uploads brings it.
/// Source: fnproject/cli 0.6.63, `langs`.
pub(crate) fn asked(runtime: &str) -> Option<Asked> {
    if let Some(version) = runtime.strip_prefix("python") {
        return numeric(version).then(|| Asked::Language(Language::Python, version.to_owned()));
    }
    if let Some(version) = runtime.strip_prefix("node") {
        return numeric(version).then(|| Asked::Language(Language::Node, version.to_owned()));
    }
    let compiled = runtime.strip_prefix("go").or_else(|| runtime.strip_prefix("rust"));
    (runtime == NATIVE || compiled.is_some_and(numeric)).then_some(Asked::Native)
}

fn numeric(version: &str) -> bool {
    version.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// The interpreter for a language and version. `supplied` says which have the platform's FDK: they come first where no
/// version is asked for.
pub(crate) fn choose(
    interpreters: &dyn Interpreters,
    language: Language,
    version: &str,
    supplied: impl Fn(&Interpreter) -> bool,
) -> Option<Interpreter> {
    if !version.is_empty() && version != "3" {
        return interpreters.find(language, version);
    }
    let (_, favorite) = FAVORITES.into_iter().find(|(known, _)| *known == language)?;
    let favored = interpreters.find(language, favorite);
    let all = interpreters
        .all()
        .into_iter()
        .filter(|found| found.language == language);
    favored.into_iter().chain(all).reduce(|best, other| {
        if supplied(&best) || !supplied(&other) {
            best
        } else {
            other
        }
    })
}

/// The runtimes of this host, for people.
pub(crate) fn available(interpreters: &dyn Interpreters) -> String {
    let mut names: Vec<String> = interpreters.all().iter().map(name_of).collect();
    names.dedup();
    names.push("go (a program built ahead, ./func)".to_owned());
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_read() {
        assert_eq!(
            Runtime::of("python3.11"),
            Some(Runtime::Managed(Language::Python, "3.11"))
        );
        assert_eq!(Runtime::of("node20"), Some(Runtime::Managed(Language::Node, "20")));
        assert_eq!(Runtime::of("native"), Some(Runtime::Native));
        for bad in ["python", "nodejs", "java", ""] {
            assert_eq!(Runtime::of(bad), None, "{bad}");
        }
        for (text, expected) in [
            ("python", Some(Asked::Language(Language::Python, String::new()))),
            ("python3.9", Some(Asked::Language(Language::Python, "3.9".to_owned()))),
            ("node", Some(Asked::Language(Language::Node, String::new()))),
            ("node18", Some(Asked::Language(Language::Node, "18".to_owned()))),
            ("go", Some(Asked::Native)),
            ("go1.24", Some(Asked::Native)),
            ("java17", None),
            ("docker", None),
            ("pythonista", None),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }
}
