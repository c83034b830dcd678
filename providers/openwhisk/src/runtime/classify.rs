//! From an action's answer to how its activation ended, and the envelope in which a session hands that to the invoker.
//! Source: apache/openwhisk (commit 1fae641), `ActivationResponse.scala` (`processInitResponse`, `processRunResponse`)
//! and `Messages.scala`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How an activation ended; the numbers are those of `statusCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Success,
    ApplicationError,
    DeveloperError,
    InternalError,
}

impl Status {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ApplicationError => 1,
            Self::DeveloperError => 2,
            Self::InternalError => 3,
        }
    }

    /// The text in records.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ApplicationError => "application error",
            Self::DeveloperError => "action developer error",
            Self::InternalError => "whisk internal error",
        }
    }
}

/// How an activation ended, and with what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) result: Value,
}

impl Verdict {
    pub(crate) fn error(status: Status, error: impl Into<Value>) -> Self {
        Self {
            status,
            result: json!({ "error": error.into() }),
        }
    }

    pub(crate) fn developer(error: impl Into<Value>) -> Self {
        Self::error(Status::DeveloperError, error)
    }
}

/// What an answer to a run means; `length` is that of the whole body, `limit` the longest allowed.
pub(crate) fn run(status: u16, body: &[u8], length: usize, limit: usize) -> Verdict {
    if length > limit {
        let kept = String::from_utf8_lossy(body);
        return Verdict::error(
            Status::ApplicationError,
            format!(
                "The action produced a response that exceeded the allowed length: {length} > {limit} bytes. The \
                 truncated response was: {kept}"
            ),
        );
    }
    let parsed = serde_json::from_slice::<Value>(body);
    let invalid = || {
        Verdict::developer(format!(
            "The action did not produce a valid JSON or JSON Array response: {}",
            String::from_utf8_lossy(body)
        ))
    };
    match parsed {
        Ok(Value::Object(mut object)) => match (status, object.get_mut("error")) {
            (200, None) => Verdict {
                status: Status::Success,
                result: Value::Object(object),
            },
            (200, Some(error)) => Verdict::error(Status::ApplicationError, error.take()),
            (_, Some(error)) => Verdict::developer(error.take()),
            (_, None) => invalid(),
        },
        Ok(result @ Value::Array(_)) if status == 200 => Verdict {
            status: Status::Success,
            result,
        },
        Ok(_) | Err(_) => invalid(),
    }
}

/// What an answer to an initialization means; `None`: it went well.
pub(crate) fn init(status: u16, body: &[u8]) -> Option<Verdict> {
    if status == 200 {
        return None;
    }
    let error = serde_json::from_slice::<Map<String, Value>>(body)
        .ok()
        .and_then(|mut object| object.remove("error"));
    Some(Verdict::developer(error.unwrap_or_else(|| {
        Value::String(format!(
            "The action failed during initialization: {}",
            String::from_utf8_lossy(body)
        ))
    })))
}

/// What a session tells the invoker, beside the outcome that the engine knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) status: Status,
    /// Initialization, where this activation caused it, milliseconds.
    pub(crate) init_ms: Option<i64>,
    /// When initialization or the run began, milliseconds since the epoch.
    pub(crate) begun: i64,
    /// When it was over.
    pub(crate) ended: i64,
    pub(crate) result: Value,
}

impl Envelope {
    pub(crate) fn seal(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(crate) fn open(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The texts of [`Verdict`]s that no answer gives.
pub(crate) mod texts {
    pub(crate) const GONE: &str = "The action did not produce a valid response and exited unexpectedly.";
    pub(crate) const GONE_AT_INIT: &str = "The action did not initialize and exited unexpectedly.";
    pub(crate) const COMMAND_EXITED: &str = "command exited";
    pub(crate) const MEMORY: &str = "The action exhausted its memory and was aborted.";

    pub(crate) fn timed_out(limit_ms: u64) -> String {
        format!("The action exceeded its time limits of {limit_ms} milliseconds.")
    }

    pub(crate) fn timed_out_at_init(limit_ms: u64) -> String {
        format!("The action exceeded its time limits of {limit_ms} milliseconds during initialization.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: Status, result: Value) {
        let verdict = run(status, body.as_bytes(), body.len(), 100);
        assert_eq!(
            verdict,
            Verdict {
                status: expected,
                result
            },
            "{status} {body}"
        );
    }

    #[test]
    fn answers_are_classed_as_upstream_does() {
        use Status::{ApplicationError, DeveloperError, Success};
        let invalid = |body: &str| {
            let text = format!("The action did not produce a valid JSON or JSON Array response: {body}");
            json!({ "error": text })
        };
        check(200, "{\"a\":1}", Success, json!({ "a": 1 }));
        check(200, "[1]", Success, json!([1]));
        check(
            200,
            "{\"a\":1,\"error\":{\"x\":2}}",
            ApplicationError,
            json!({ "error": { "x": 2 } }),
        );
        check(200, "{\"error\":null}", ApplicationError, json!({ "error": null }));
        for body in ["null", "1", "\"x\"", "{", ""] {
            check(200, body, DeveloperError, invalid(body));
        }
        check(502, "{\"error\":\"x\"}", DeveloperError, json!({ "error": "x" }));
        check(502, "{}", DeveloperError, invalid("{}"));
        check(502, "[1]", DeveloperError, invalid("[1]"));
        let long = run(200, b"abc", 101, 100);
        assert_eq!(long.status, ApplicationError);
        let text = "The action produced a response that exceeded the allowed length: 101 > 100 bytes. The truncated \
                    response was: abc";
        assert_eq!(long.result, json!({ "error": text }));
    }

    #[test]
    fn failed_initializations_say_why() {
        assert_eq!(init(200, b""), None);
        assert_eq!(init(502, b"{\"error\":\"x\"}"), Some(Verdict::developer("x")));
        assert_eq!(
            init(500, b"y"),
            Some(Verdict::developer("The action failed during initialization: y"))
        );
    }
}
