//! The exit codes of `sonagi`, all in one place. They are stable: scripts may rely on them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// The platform failed, or something unexpected happened.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// The request was understood and refused: invalid, not allowed, in conflict, over a limit.
    Refused = 4,
    /// The function ran and failed.
    FunctionFailed = 5,
    /// No platform answers.
    Unreachable = 6,
    /// The project could not be read or built.
    Build = 7,
}

/// The same for people, shown by `sonagi --help`.
pub const HELP: &str = "\
Exit codes:
  0  it did what was asked
  1  the platform failed, or something unexpected happened
  2  the command line is wrong
  3  what was named does not exist
  4  refused: invalid, not allowed, in conflict, over a limit
  5  the function ran and failed
  6  no platform answers
  7  the project could not be read or built";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::FunctionFailed,
            Exit::Unreachable,
            Exit::Build,
        ];
        for exit in all {
            assert!(HELP.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
