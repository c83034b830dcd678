//! The dialects that this command line reads: one per provider, all that it knows about each in one table.

/// A provider's way of writing functions, as far as this command line reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The provider's short name, for `--as`.
    pub provider: &'static str,
    /// What such a function is called.
    pub title: &'static str,
    /// The runtime of programs that are their own runtime.
    pub own_runtime: &'static str,
    /// The name such a program must have.
    pub own_program: &'static str,
}

/// All dialects, the one that wins an even choice first.
pub const DIALECTS: &[Dialect] = &[Dialect {
    provider: "aws",
    title: "an AWS Lambda function",
    own_runtime: "provided.al2023",
    own_program: "bootstrap",
}];

impl Dialect {
    /// The name of a runtime for this version of a language.
    pub fn runtime(&self, language: Language, version: &str) -> String {
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
        match language {
            Language::Python => format!("python{major}.{minor}"),
            Language::Node => format!("nodejs{major}.x"),
        }
    }

    /// The language of a runtime of this name, and its version as far as the name has it.
    pub fn language(&self, runtime: &str) -> Option<(Language, String)> {
        if let Some(version) = runtime.strip_prefix("python") {
            return Some((Language::Python, version.to_owned()));
        }
        let version = runtime.strip_prefix("nodejs")?.trim_end_matches(".x");
        Some((Language::Node, version.to_owned()))
    }
}

/// A language whose interpreter the platform lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript under Node.js.
    Node,
}

impl Language {
    /// Its name in the native API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}
