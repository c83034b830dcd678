//! The platform itself: what runs, how it is set, whether the host has what it needs.

use serde::{Deserialize, Serialize};

/// What runs at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the platform.
    pub version: String,
    /// Its address, as it was told to itself.
    pub endpoint: String,
    /// Short names of the providers it serves.
    pub providers: Vec<String>,
    /// The namespace meant where none is named.
    pub default_namespace: Option<String>,
    /// Functions in all namespaces.
    pub functions: u64,
    /// Language interpreters that functions may use, best first in each language.
    pub interpreters: Vec<Interpreter>,
}

/// A language interpreter of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its language, for instance `python`.
    pub language: String,
    /// Its version, for instance `3.11.7`.
    pub version: String,
    /// Its path on the host.
    pub program: String,
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The configuration file.
    File,
    /// Nobody set it.
    Default,
}

/// One setting of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, as the flag without dashes.
    pub name: String,
    /// Its value, in the form that the flag takes.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// The platform's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// All of them, in a fixed order.
    pub settings: Vec<Setting>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Something works less well, or not at all, but most does.
    Warning,
    /// Functions cannot run.
    Failure,
}

/// One thing that the platform needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it ended.
    pub state: CheckState,
    /// What was found.
    pub found: String,
    /// What to do about it, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What the platform found out about its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}
