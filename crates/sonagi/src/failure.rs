//! Why a command did not do what was asked: an exit code, a message with its causes, and a hint where there is a fix.

use std::error::Error;
use std::fmt;

use sonagi_api::{ClientError, ErrorBody, ErrorCode};

use crate::exit::Exit;

/// What commands return.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    /// What went wrong, causes included; empty: there is nothing to say (the reader of the output went away, or what
    /// there is to say was said).
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// A failure about which everything is said.
    pub const fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: String::new(),
            hint: None,
        }
    }

    /// The command line is wrong in a way that its grammar does not see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error with everything that caused it.
    pub fn caused(exit: Exit, what: impl fmt::Display, cause: &dyn Error) -> Self {
        Self::new(exit, format!("{what}: {}", chain(cause)))
    }

    /// Another hint for failures with this exit code.
    #[must_use]
    pub fn hint_if(self, exit: Exit, hint: impl Into<String>) -> Self {
        if self.exit == exit { self.hint(hint) } else { self }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error's text with its causes', left out where one repeats the other.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn exit_of(body: &ErrorBody) -> Exit {
    match body.code {
        ErrorCode::NotFound => Exit::NotFound,
        ErrorCode::Invalid
        | ErrorCode::Unauthorized
        | ErrorCode::Forbidden
        | ErrorCode::MethodNotAllowed
        | ErrorCode::Conflict
        | ErrorCode::TooLarge
        | ErrorCode::Throttled => Exit::Refused,
        ErrorCode::Platform | ErrorCode::Unavailable | ErrorCode::Unknown => Exit::Failure,
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = chain(&error);
        match error {
            ClientError::Refused { body, .. } => Self {
                exit: exit_of(&body),
                message: body.message,
                hint: body.hint,
            },
            ClientError::Unreachable { .. } => Self::new(Exit::Unreachable, text)
                .hint("start the platform with `sonagi up`, or name another with --server"),
            ClientError::Endpoint { .. } | ClientError::Token => Self::new(Exit::Usage, text),
            ClientError::Document(_) => Self::new(Exit::Refused, text),
            ClientError::Broken { .. } | ClientError::Foreign { .. } | ClientError::TooLong => {
                Self::new(Exit::Failure, text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_their_words_and_get_their_exit_code() {
        for (code, exit) in [
            (ErrorCode::NotFound, Exit::NotFound),
            (ErrorCode::Invalid, Exit::Refused),
            (ErrorCode::Throttled, Exit::Refused),
            (ErrorCode::Platform, Exit::Failure),
        ] {
            let body = ErrorBody {
                code,
                message: "m".to_owned(),
                hint: Some("h".to_owned()),
            };
            let failure = Failure::from(ClientError::Refused {
                status: http::StatusCode::BAD_REQUEST,
                body,
            });
            assert_eq!(
                (failure.exit, failure.message.as_str(), failure.hint.as_deref()),
                (exit, "m", Some("h"))
            );
        }
    }
}
