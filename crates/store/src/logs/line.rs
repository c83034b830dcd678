//! A line as it is stored: one JSON object, so that whatever a function prints stays one line and within its bounds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sonagi_model::{FunctionId, InstanceId, InvocationId, Timestamp};
use sonagi_ports::{LogLine, LogSource};

/// Version of the format.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Stored<'a> {
    /// Format.
    v: u32,
    /// Time, microseconds since the epoch.
    t: Timestamp,
    /// Label of the revision.
    #[serde(borrow)]
    l: Cow<'a, str>,
    /// Instance.
    n: InstanceId,
    /// Invocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<InvocationId>,
    /// Source.
    s: LogSource,
    /// Text.
    #[serde(borrow)]
    x: Cow<'a, str>,
    /// Cut off, or lines were left out here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    c: bool,
}

/// Appends a line and its end.
pub(super) fn encode(line: &LogLine, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let stored = Stored {
        v: FORMAT,
        t: line.time,
        l: Cow::Borrowed(&line.label),
        n: line.instance,
        i: line.invocation,
        s: line.source,
        x: Cow::Borrowed(&line.text),
        c: line.truncated,
    };
    serde_json::to_writer(&mut *out, &stored)?;
    out.push(b'\n');
    Ok(())
}

/// A stored line without its end; `None`: it was cut off when a process ended, or is of a newer format.
pub(super) fn decode(function: FunctionId, text: &[u8]) -> Option<LogLine> {
    let stored: Stored<'_> = serde_json::from_slice(text).ok()?;
    (stored.v == FORMAT).then(|| LogLine {
        time: stored.t,
        function,
        label: stored.l.into_owned(),
        instance: stored.n,
        invocation: stored.i,
        source: stored.s,
        text: stored.x.into_owned(),
        truncated: stored.c,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yesterdays_lines_are_read_and_written_the_same() {
        let text = br#"{"v":1,"t":1767225600000000,"l":"3","n":"ins_0197e3c5d4c87a1e9f0a3b2c1d0e4f5d","i":"0197e3c5-d4c8-7a1e-9f0a-3b2c1d0e4f5a","s":"platform","x":"a\u001b[0m\n\"","c":true}"#;
        let function = FunctionId::generate();
        let line = decode(function, text).unwrap();
        assert_eq!(
            (line.text.as_str(), line.truncated, line.function),
            ("a\u{1b}[0m\n\"", true, function)
        );
        let mut out = Vec::new();
        encode(&line, &mut out).unwrap();
        assert_eq!(out, [&text[..], b"\n"].concat());
        assert_eq!(decode(function, &text[..60]), None);
    }
}
