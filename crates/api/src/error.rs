//! How the native API says no.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of refusal it is. Clients decide by this, never by text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Something in the request is wrong (400).
    Invalid,
    /// No token, or a wrong one (401).
    Unauthorized,
    /// A browser's page, or a foreign host name, where no token is asked for (403).
    Forbidden,
    /// What the request names does not exist (404).
    NotFound,
    /// The path does not know this method (405).
    MethodNotAllowed,
    /// It is in the way of something else (409).
    Conflict,
    /// The body is larger than the limit (413).
    TooLarge,
    /// A limit is reached; later it may work (429).
    Throttled,
    /// The platform failed (500).
    Platform,
    /// The platform is stopping, or its disk is full (503).
    Unavailable,
    /// A code of a newer platform.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Throttled => 429,
            Self::Platform | Self::Unknown => 500,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Throttled => "throttled",
            Self::Platform => "platform",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        })
    }
}

/// The body of a refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The refusal.
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Its kind.
    pub code: ErrorCode,
    /// A fragment for people, with the operands.
    pub message: String,
    /// What to do about it, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_text_form_and_tomorrows_are_understood() {
        for code in [
            ErrorCode::Invalid,
            ErrorCode::NotFound,
            ErrorCode::MethodNotAllowed,
            ErrorCode::TooLarge,
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
        assert_eq!(
            serde_json::from_str::<ErrorCode>("\"of_tomorrow\"").unwrap(),
            ErrorCode::Unknown
        );
        let body: ErrorDocument = serde_json::from_str(r#"{"error":{"code":"invalid","message":"m"}}"#).unwrap();
        assert_eq!(body.error.hint, None);
    }
}
