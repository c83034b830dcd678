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
    /// Other words for the provider.
    pub nicknames: &'static [&'static str],
    /// Names under which a Python module offers its entry point, best first.
    pub python_names: &'static [&'static str],
    /// Names under which a JavaScript module offers its entry point, best first.
    pub node_names: &'static [&'static str],
    /// Whether a JavaScript function is an entry point without being exported.
    pub bare_functions: bool,
    /// How runtimes are named.
    naming: Naming,
    /// A file that says that a folder is of this dialect, with a word in it.
    pub mark: Option<(&'static str, &'static str)>,
    /// How functions of it are recognized.
    pub told: Told,
    /// The versions of Python and Node that the platform takes where a function asks for none; empty: the newest.
    pub favorites: [&'static str; 2],
}

/// How functions of a dialect are recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By their code.
    ByCode,
    /// By files that describe them, any of these.
    ByFile(&'static [&'static str]),
}

/// How a dialect names runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// `python3.11`, `nodejs20.x`.
    Joined,
    /// `python:3.11`, `nodejs:20`.
    Colon,
    /// `python3.11`, `node20`.
    Short,
}

/// All dialects, the one that wins an even choice first.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        provider: "aws",
        title: "an AWS Lambda function",
        own_runtime: "provided.al2023",
        own_program: "bootstrap",
        nicknames: &[],
        python_names: &["lambda_handler", "handler"],
        node_names: &["handler", "lambdaHandler"],
        bare_functions: false,
        naming: Naming::Joined,
        mark: None,
        told: Told::ByCode,
        favorites: ["", ""],
    },
    Dialect {
        provider: "openwhisk",
        title: "an OpenWhisk action",
        own_runtime: "actionloop:1",
        own_program: "exec",
        nicknames: &["ow", "whisk"],
        python_names: &["main"],
        node_names: &["main"],
        bare_functions: true,
        naming: Naming::Colon,
        mark: Some(("manifest.yaml", "packages:")),
        told: Told::ByCode,
        favorites: ["3.11", "20"],
    },
    Dialect {
        provider: "fn",
        title: "an Fn function",
        own_runtime: "go",
        own_program: "func",
        nicknames: &["fnproject", "oracle"],
        python_names: &[],
        node_names: &[],
        bare_functions: false,
        naming: Naming::Short,
        mark: None,
        told: Told::ByFile(&["func.yaml", "func.yml", "func.json"]),
        favorites: ["3.11", "20"],
    },
];

impl Dialect {
    /// The name of a runtime for this version of a language.
    pub fn runtime(&self, language: Language, version: &str) -> String {
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
        match (self.naming, language) {
            (Naming::Joined, Language::Python) => format!("python{major}.{minor}"),
            (Naming::Joined, Language::Node) => format!("nodejs{major}.x"),
            (Naming::Colon, Language::Python) => format!("python:{major}.{minor}"),
            (Naming::Colon, Language::Node) => format!("nodejs:{major}"),
            (Naming::Short, Language::Python) => format!("python{major}.{minor}"),
            (Naming::Short, Language::Node) => format!("node{major}"),
        }
    }

    /// The version that the platform takes of a language where a function asks for none; empty: the newest.
    pub const fn favorite(&self, language: Language) -> &'static str {
        match language {
            Language::Python => self.favorites[0],
            Language::Node => self.favorites[1],
        }
    }

    /// The language of a runtime of this name, and its version as far as the name has it.
    pub fn language(&self, runtime: &str) -> Option<(Language, String)> {
        // `default` names no version: the newest will do.
        let version = |rest: &str| rest.trim_start_matches(':').trim_start_matches("default").to_owned();
        if let Some(rest) = runtime.strip_prefix("python") {
            return Some((Language::Python, version(rest)));
        }
        let rest = runtime
            .strip_prefix("nodejs")
            .or_else(|| runtime.strip_prefix("node"))?;
        let rest = rest.trim_end_matches(".x");
        Some((Language::Node, version(rest)))
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
