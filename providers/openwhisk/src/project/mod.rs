//! Folders that a `manifest.yaml` describes: packages, actions, sequences, triggers, rules and APIs in one go, as wskdeploy
//! would make them. Reading and planning are pure; what is planned is done by the same requests that clients send.
//! Source: apache/openwhisk-wskdeploy 1.2.0, `specification/html`, `parsers/manifest_parser.go`, `parsers/yamlparser.go`.

mod apply;
mod code;
mod inputs;
mod node;
mod packages;
mod plan;
mod variables;

/// A manifest cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub(crate) struct ProjectError {
    /// The file, and the place in it.
    at: String,
    problem: String,
    /// What to do about it; may be empty.
    pub(crate) hint: String,
}

impl ProjectError {
    fn new(at: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}
